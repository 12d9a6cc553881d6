// The weights' way into a multiprocessor: a ring of stages in shared memory that one warp fills and
// the others empty.
//
// Every multiprocessor has the same share of the rows of each matrix all the time. The filling warp
// goes through its rows of all matrices of all layers in the order of their use and waits for
// nothing but room, and once for the tasks of attention: weights do not depend on what is computed,
// so memory is read on while the others wait for each other. A stage holds a tile of up to 16 rows,
// and of long rows a slice; the tiles that are computed together lie slice by slice.
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
constexpr int kBatchTiles = 4;  // added up at a time
// Tiles that lie slice by slice in the ring, to be computed together.
template <typename T>
constexpr int kTilesAtOnce = sizeof(T) == 2 ? kBatchTiles : 1;

// `count` things dealt to `parts` as evenly as possible.
struct Deal {
  int parts, least, more;  // the first `more` parts have one more than `least`

  __host__ __device__ int begin(int part) const {
    return part * least + (part < more ? part : more);
  }
  __host__ __device__ int size(int part) const { return least + (part < more); }
};
inline Deal deal(int count, int parts) {
  return {parts, parts == 0 ? 0 : count / parts, parts == 0 ? 0 : count % parts};
}

// A multiprocessor's share of a matrix's rows, and how it goes through the ring.
struct MatrixShare {
  int pair_begin, pairs;   // rows come in pairs
  int tiles, tile_pairs;   // the last tile may have fewer
  int steps, slice_steps;  // of a row; the last slice may have fewer
  int stride;              // bytes from a row to the next in a stage
};

__host__ __device__ constexpr int row_stride(int steps) { return (steps | 1) * kStepBytes; }

// Rows by pairs dealt to multiprocessors.
struct MatrixPlan {
  Deal shares;
  int steps;  // of a row

  __device__ MatrixShare share(int processor) const {
    MatrixShare share{shares.begin(processor), shares.size(processor)};
    share.tiles = (share.pairs + kTilePairs - 1) / kTilePairs;
    share.tile_pairs = share.pairs < kTilePairs ? share.pairs : kTilePairs;
    share.steps = steps;
    int most = kStageBytes / kStepBytes / (2 * share.tile_pairs);
    most -= most % 2 == 0;  // an even number takes one more
    const int slices = (steps + most - 1) / most;
    share.slice_steps = (steps + slices - 1) / slices;
    share.stride = row_stride(share.slice_steps);
    return share;
  }
};

inline MatrixPlan plan_matrix(int rows, int row_bytes, int processors) {
  return {deal(rows / 2, processors), row_bytes / kStepBytes};
}

#ifdef LLM_HOPPER

struct Ring {
  uint64_t* full;   // per stage: filled by TMA
  uint64_t* empty;  // per stage: all computing threads arrive
  char* memory;     // (stages, kStageBytes)
  int stages;
  int stage = 0, parity = 0;

  __device__ __forceinline__ char* data() const { return memory + stage * kStageBytes; }
  __device__ __forceinline__ void advance() {
    const bool around = ++stage == stages;
    stage = around ? 0 : stage;
    parity ^= around;
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

// `bytes` bytes, a multiple of 16 as are the addresses; zeros where `from` is null. Called by all
// lanes of the filling warp, which must arrive at `barrier` behind it, for these bytes:
__device__ __forceinline__ int load_vector(char* to, const void* from, int bytes,
                                           uint64_t* barrier) {
  const int lane = threadIdx.x % kWarp;
  if (from != nullptr) {
    if (lane == 0) bulk_load(to, from, bytes, barrier);
    return bytes;
  }
  for (int i = lane; i < bytes / 16; i += kWarp) {
    reinterpret_cast<uint4*>(to)[i] = make_uint4(0, 0, 0, 0);
  }
  fence_async_proxy();
  return 0;
}

// The share of one matrix, `at_once` tiles slice by slice; called by all lanes of the filling warp.
__device__ __forceinline__ void fill_ring(Ring& ring, const MatrixShare& share, const void* weight,
                                          int at_once, uint64_t policy) {
  const int lane = threadIdx.x % kWarp, row_bytes = share.steps * kStepBytes;
  const char* rows =
      static_cast<const char*>(weight) + (int64_t{2} * share.pair_begin + lane) * row_bytes;
#pragma unroll 1
  for (int begin = 0; begin < share.tiles; begin += at_once) {
    const int end = min(begin + at_once, share.tiles);
#pragma unroll 1
    for (int step = 0; step < share.steps; step += share.slice_steps) {
      const int bytes = min(share.slice_steps, share.steps - step) * kStepBytes;
#pragma unroll 1
      for (int tile = begin; tile < end; ++tile) {
        const int first = 2 * tile * kTilePairs;
        const int count = min(2 * kTilePairs, 2 * share.pairs - first);
        barrier_wait(ring.empty + ring.stage, ring.parity ^ 1);
        if (lane == 0) barrier_expect(ring.full + ring.stage, count * bytes);
        __syncwarp();
        if (lane < count) {
          bulk_load_once(ring.data() + lane * share.stride,
                         rows + int64_t{first} * row_bytes + step * kStepBytes, bytes,
                         ring.full + ring.stage, policy);
        }
        ring.advance();
      }
    }
  }
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
