// The weights' way into a multiprocessor: a ring of stages in shared memory that one warp fills and
// the others empty.
//
// Every multiprocessor has the same share of the rows of each matrix all the time. The filling warp
// goes through its rows of all matrices of all layers in the order of their use and waits for
// nothing but free stages: weights do not depend on what is computed, so memory is read on while
// the others wait for each other. A stage holds a tile of up to 16 rows, and of long rows a slice.
//
// Rows lie an odd multiple of 64 bytes apart, so that the 8 lanes that read 64 bytes of two
// neighbouring rows at a time meet all banks once.
#pragma once

#include "cuda/hopper.cuh"
#include "cuda/packet.cuh"
#include "cuda/transformer_decode.h"

namespace llm::cuda {

constexpr int kStageBytes = 25600;  // 16 rows of 25 steps
constexpr int kStepBytes = 64;      // of a row: what four lanes read at once
constexpr int kTilePairs = 8;

// `count` things dealt to `parts` as evenly as possible.
struct Deal {
  int parts, least, more;  // the first `more` parts have one more than `least`

  __host__ __device__ int begin(int part) const { return part * least + min_of(part, more); }
  __host__ __device__ int size(int part) const { return least + (part < more); }

 private:
  static __host__ __device__ int min_of(int a, int b) { return a < b ? a : b; }
};
inline Deal deal(int count, int parts) {
  return {parts, parts == 0 ? 0 : count / parts, parts == 0 ? 0 : count % parts};
}

// How a share of a matrix's rows goes through the ring. Rows come in pairs.
struct SharePlan {
  Deal tiles;   // pairs of rows per tile
  Deal slices;  // steps per slice
};

// A matrix of `pairs` pairs of rows on `processors` multiprocessors.
struct MatrixPlan {
  Deal shares;
  SharePlan by_size[2];  // of the smaller shares and of those with one more pair

  __device__ const SharePlan& share(int processor) const {
    return by_size[processor < shares.more];
  }
};

inline SharePlan plan_share(int pairs, int steps) {
  const int tiles = (pairs + kTilePairs - 1) / kTilePairs;
  if (tiles == 0) return {deal(0, 0), deal(steps, 1)};
  const int rows = 2 * ((pairs + tiles - 1) / tiles);
  int most = kStageBytes / kStepBytes / rows;  // steps of a slice; an even number takes one more
  most -= most % 2 == 0;
  return {deal(pairs, tiles), deal(steps, (steps + most - 1) / most)};
}
inline MatrixPlan plan_matrix(int rows, int row_bytes, int processors) {
  const Deal shares = deal(rows / 2, processors);
  const int steps = row_bytes / kStepBytes;
  return {shares, {plan_share(shares.least, steps), plan_share(shares.least + 1, steps)}};
}

#ifdef LLM_HOPPER

__host__ __device__ constexpr int row_stride(int steps) { return (steps | 1) * kStepBytes; }

struct Ring {
  uint64_t* full;   // per stage: filled by TMA
  uint64_t* empty;  // per stage: one arrival per emptying warp
  char* memory;     // (stages, kStageBytes)
  int stages;
  int stage = 0, parity = 0;

  __device__ __forceinline__ char* data() const { return memory + stage * kStageBytes; }
  __device__ __forceinline__ void advance() {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
};

// bulk_load of what nobody reads again before the caches have forgotten it.
__device__ __forceinline__ void bulk_load_once(void* to, const void* from, int bytes,
                                               uint64_t* barrier, uint64_t policy) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1], %2, [%3], %4;" ::"r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(barrier)), "l"(policy)
      : "memory");
}

// The share of one matrix; called by all lanes of the filling warp.
__device__ __forceinline__ void fill_ring(Ring& ring, const MatrixPlan& matrix, const void* weight,
                                          int row_bytes, uint64_t policy) {
  const int lane = threadIdx.x % kWarp, processor = blockIdx.x;
  const SharePlan& plan = matrix.share(processor);
  const char* from = static_cast<const char*>(weight) +
                     (int64_t{2} * matrix.shares.begin(processor) + lane) * row_bytes;
  for (int tile = 0; tile < plan.tiles.parts; ++tile) {
    const int rows = 2 * plan.tiles.size(tile);
    int offset = 0;
    for (int slice = 0; slice < plan.slices.parts; ++slice) {
      const int steps = plan.slices.size(slice), bytes = steps * kStepBytes;
      barrier_wait(ring.empty + ring.stage, ring.parity ^ 1);
      if (lane == 0) barrier_expect(ring.full + ring.stage, rows * bytes);
      __syncwarp();
      if (lane < rows) {
        bulk_load_once(ring.data() + lane * row_stride(steps), from + offset, bytes,
                       ring.full + ring.stage, policy);
      }
      offset += bytes;
      ring.advance();
    }
    from += int64_t{rows} * row_bytes;
  }
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
