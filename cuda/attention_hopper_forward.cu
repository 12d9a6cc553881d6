// Fused attention, forward, in bf16 on Hopper: out = softmax(scale q k^T) v, and the log of the sum
// of exponentials of each row.
//
// Cost. Per 64 queries x 128 keys of a head of D = 64: 2 products of 256 cycles of the tensor
// cores, and 8192 exponentials, 512 cycles of the special function units at 16 a cycle. So neither
// may ever wait for the other: a multiprocessor needs several warpgroups in different phases.
//
// Work split. A warpgroup (4 warps) owns 64 queries and walks the key blocks of 128, the diagonal
// one first. Scores of a block: 64 accumulators a thread; rounded to bf16 they are, without
// leaving the registers, the first operand of the product with v. D = 64: a block of 2
// warpgroups, 128 registers a thread, so that 2 blocks = 4 warpgroups share a multiprocessor: while
// one takes exponentials, others multiply, and one block's start and end hide behind the other's
// work. D > 64: one block of 2 warpgroups, which by their larger number of registers can take the
// exponentials of some keys while the products with v of others are under way.
// There is no producer warp, which would take registers: one warp of those that multiply orders the
// copies (TMA) into the buffers of the block before. Blocks are numbered head by head (the keys
// stay in L2), long query tiles first.
//
// Rounding. Scores and softmax in f32; probabilities, relative to the largest score so far, to
// bf16 for the product with v (the sum takes them unrounded); out is divided by the sum in f32 and
// rounded once.
//
// Bytes: q, k, v read, out written once from and to device memory; k and v once per query tile
// from L2.
#include <algorithm>

#include "cuda/attention_hopper.h"
#include "cuda/attention_hopper_tiles.cuh"
#include "cuda/kernel_launch.cuh"

namespace llm::cuda {
namespace {

constexpr int kKeys = 128;  // of a key block

struct ForwardMaps {
  CUtensorMap q, k, v, out;
};

struct ForwardSizes {
  int Tq, Tk, H, KV;
  int tiles;  // of queries
  float scale;
  float* lse;  // (B, H, Tq) or null
};

#ifdef LLM_HOPPER

template <int kD, int kGroups, int kStages>
struct ForwardShared {
  bf16 q[kGroups][tile_elements(64, kD)];  // later out
  bf16 k[kStages][tile_elements(kKeys, kD)];
  bf16 v[kStages][tile_elements(kKeys, kD)];
  uint64_t q_full, k_full[kStages], v_full[kStages];
  uint64_t k_empty[kStages], v_empty[kStages];
};

// A tile of queries, and the key blocks that it needs: block blocks - 1 first.
struct ForwardTile {
  int batch, head, key_head, first_query, blocks;
};

template <int kGroups, bool kCausal>
__device__ __forceinline__ ForwardTile forward_tile(const ForwardSizes& sizes) {
  const int tile = sizes.tiles - 1 - static_cast<int>(blockIdx.x % sizes.tiles);
  const int head = static_cast<int>(blockIdx.x / sizes.tiles);
  ForwardTile at;
  at.batch = head / sizes.H;
  at.head = head % sizes.H;
  at.key_head = at.head / (sizes.H / sizes.KV);
  at.first_query = tile * 64 * kGroups;
  const int keys =
      kCausal ? min(sizes.Tk, at.first_query + 64 * kGroups + sizes.Tk - sizes.Tq) : sizes.Tk;
  at.blocks = (keys + kKeys - 1) / kKeys;
  return at;
}

// One thread orders key block `block` of k or v into a buffer.
template <int kD>
__device__ __forceinline__ void load_keys(bf16* to, const CUtensorMap* map, uint64_t* full,
                                          const ForwardTile& tile, int block) {
  barrier_expect(full, tile_bytes(kKeys, kD));
  load_tile<kKeys, kD>(to, map, full, block * kKeys, tile.key_head, tile.batch);
}

template <int kD, int kGroups, int kStages>
__device__ __forceinline__ void forward_start(ForwardShared<kD, kGroups, kStages>& shared,
                                              const ForwardMaps& maps, const ForwardTile& tile) {
  barrier_init(&shared.q_full, 1);
  for (int stage = 0; stage < kStages; ++stage) {
    barrier_init(&shared.k_full[stage], 1);
    barrier_init(&shared.v_full[stage], 1);
    barrier_init(&shared.k_empty[stage], 4 * kGroups);
    barrier_init(&shared.v_empty[stage], 4 * kGroups);
  }
  barrier_init_fence();
  barrier_expect(&shared.q_full, kGroups * tile_bytes(64, kD));
  for (int group = 0; group < kGroups; ++group) {
    load_tile<64, kD>(shared.q[group], &maps.q, &shared.q_full, tile.first_query + 64 * group,
                      tile.head, tile.batch);
  }
  for (int stage = 0; stage < min(kStages, tile.blocks); ++stage) {
    const int block = tile.blocks - 1 - stage;
    load_keys<kD>(shared.k[stage], &maps.k, &shared.k_full[stage], tile, block);
    load_keys<kD>(shared.v[stage], &maps.v, &shared.v_full[stage], tile, block);
  }
}

// What a lane keeps of its two rows (l / 4 and 8 further down) while it walks the keys.
struct RowState {
  float top[2] = {-INFINITY, -INFINITY};  // the largest score
  float sum[2] = {0, 0};                  // of the lane's own columns' probabilities
};

// The rows' largest scores with those of another block, and what was summed relative to smaller
// ones scaled down. In a masked block, row r of the lane sees the columns below limit[r]. Leaves in
// base[r] what is to be subtracted from scaled scores.
template <int kN, int kD, bool kMasked>
__device__ __forceinline__ void raise_tops(float (&base)[2], float (&o)[kD / 2], RowState& state,
                                           float (&s)[kN / 2], const int (&limit)[2],
                                           float scale_log2) {
  // Two maxima a row in turns: a single one would be a chain of 32 dependent instructions.
  float top[2][2] = {{state.top[0], -INFINITY}, {state.top[1], -INFINITY}};
#pragma unroll
  for (int i = 0; i < kN / 8; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      float& score = s[4 * i + e];
      if (kMasked && 8 * i + e % 2 >= limit[e / 2]) score = -INFINITY;
      top[e / 2][i % 2] = fmaxf(top[e / 2][i % 2], score);
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float largest = quad_max(fmaxf(top[r][0], top[r][1]));
    // A row that has seen no key yet: 0 in place of -inf - -inf.
    base[r] = kMasked && largest == -INFINITY ? 0 : largest * scale_log2;
    const float factor = exp2_fast(fmaf(state.top[r], scale_log2, -base[r]));
    state.top[r] = largest;
    state.sum[r] *= factor;
#pragma unroll
    for (int i = 0; i < kD / 8; ++i) {
      o[4 * i + 2 * r] *= factor;
      o[4 * i + 2 * r + 1] *= factor;
    }
  }
}

// o += p v, p the bf16 probabilities of a block's scores, kChunk keys at a time: while the tensor
// cores multiply those of one chunk, the next one's exponentials are taken. The last products are
// still under way at the end. `full`: v's barrier, whose phase of this parity has to end first.
template <int kN, int kChunk, int kD>
__device__ __forceinline__ void issue_probabilities(float (&o)[kD / 2],
                                                    uint32_t (&p)[kN / kChunk][kChunk / 4],
                                                    RowState& state, const float (&s)[kN / 2],
                                                    const float (&base)[2], float scale_log2,
                                                    uint64_t v, uint64_t* full, int phase) {
#pragma unroll
  for (int chunk = 0; chunk < kN / kChunk; ++chunk) {
#pragma unroll
    for (int i = 0; i < kChunk / 8; ++i) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int e = chunk * (kChunk / 2) + 4 * i + 2 * r;
        const float p0 = exp2_fast(fmaf(s[e], scale_log2, -base[r]));
        const float p1 = exp2_fast(fmaf(s[e + 1], scale_log2, -base[r]));
        state.sum[r] += p0 + p1;
        p[chunk][2 * i + r] = pack_bf16(p0, p1);
      }
    }
    if (chunk == 0) barrier_wait(full, phase);
    issue_values<kChunk, kD>(o, p[chunk], advance(v, chunk * kChunk * kPanelRowBytes));
    wgmma_commit();
  }
}

template <int kD, int kGroups, int kStages, bool kCausal, int kChunk>
struct ForwardWalk {
  using Shared = ForwardShared<kD, kGroups, kStages>;
  Shared& shared;
  const ForwardMaps& maps;
  const ForwardTile& tile;
  float scale_log2;
  uint64_t q;
  int warp;
  int iteration, stage, phase;

  __device__ __forceinline__ void release(uint64_t* empty) const {
    if (threadIdx.x % kWarp == 0) barrier_arrive(&empty[stage]);
  }
  // One warp refills the buffers of the iteration before this one, which the others are done with
  // by now or soon. (All its lanes wait: the compiler would take everything after a wait of one
  // thread for different in each, and keep no descriptor in uniform registers.)
  __device__ __forceinline__ void refill() const {
    const int next = iteration - 1 + kStages;
    if (warp != 0 || iteration == 0 || next >= tile.blocks) return;
    const bool lead = threadIdx.x == 0;
    const int at = stage == 0 ? kStages - 1 : stage - 1, then = stage == 0 ? phase ^ 1 : phase;
    const int block = tile.blocks - 1 - next;
    barrier_wait(&shared.k_empty[at], then);
    if (lead) load_keys<kD>(shared.k[at], &maps.k, &shared.k_full[at], tile, block);
    barrier_wait(&shared.v_empty[at], then);
    if (lead) load_keys<kD>(shared.v[at], &maps.v, &shared.v_full[at], tile, block);
  }
  // A key block that no query of this warpgroup sees. It waits all the same: a barrier may not get
  // two phases ahead of anybody.
  __device__ __forceinline__ void skip() const {
    refill();
    barrier_wait(&shared.k_full[stage], phase);
    release(shared.k_empty);
    barrier_wait(&shared.v_full[stage], phase);
    release(shared.v_empty);
  }
  template <int kN, bool kMasked>
  __device__ __forceinline__ void step(float (&o)[kD / 2], RowState& state,
                                       const int (&limit)[2]) const {
    float s[kN / 2];
    constexpr int kPart = kChunk < kN ? kChunk : kN;
    uint32_t p[kN / kPart][kPart / 4];
    barrier_wait(&shared.k_full[stage], phase);
    issue_scores<kN, kD, 64, kKeys>(s, q, descriptor_of_rows(shared.k[stage]));
    refill();
    wgmma_wait<0>();
    hold_registers(s);
    release(shared.k_empty);
    float base[2];
    raise_tops<kN, kD, kMasked>(base, o, state, s, limit, scale_log2);
    issue_probabilities<kN, kPart, kD>(o, p, state, s, base, scale_log2,
                                       descriptor_of_columns(shared.v[stage], kKeys),
                                       &shared.v_full[stage], phase);
    wgmma_wait<0>();
    hold_registers(o);
#pragma unroll
    for (int i = 0; i < kN / kPart; ++i) hold_registers(p[i]);
    release(shared.v_empty);
  }
  __device__ __forceinline__ void next() {
    ++iteration;
    if (++stage == kStages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

// Divides by the sums and writes out (through the warpgroup's q, which nobody needs any more) and
// lse. `row`: the lane's first.
template <int kD, class Shared>
__device__ __forceinline__ void forward_finish(Shared& shared, const ForwardMaps& maps,
                                               const ForwardSizes& sizes, const ForwardTile& tile,
                                               const float (&o)[kD / 2], const RowState& state,
                                               int row) {
  const int group = threadIdx.x / kWarpgroup;
  float factor[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float sum = quad_sum(state.sum[r]);
    factor[r] = 1 / sum;
    if (sizes.lse && threadIdx.x % 4 == 0 && row + 8 * r < sizes.Tq) {
      const int64_t head = static_cast<int64_t>(tile.batch) * sizes.H + tile.head;
      sizes.lse[head * sizes.Tq + row + 8 * r] = state.top[r] * sizes.scale + logf(sum);
    }
  }
  store_rows<kD>(&maps.out, shared.q[group], o, factor[0], factor[1], tile.first_query + 64 * group,
                 sizes.Tq, tile.head, tile.batch);
  tma_store_wait();
}

#endif  // LLM_HOPPER

template <int kD, int kGroups, int kStages, int kBlocksPerProcessor, bool kCausal, int kChunk>
__global__
__launch_bounds__(kGroups* kWarpgroup, kBlocksPerProcessor) void attention_hopper_forward_kernel(
    const __grid_constant__ ForwardMaps maps, const ForwardSizes sizes) {
#ifdef LLM_HOPPER
  using Shared = ForwardShared<kD, kGroups, kStages>;
  extern __shared__ __align__(1024) char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const ForwardTile tile = forward_tile<kGroups, kCausal>(sizes);
  if (threadIdx.x == 0) forward_start(shared, maps, tile);
  __syncthreads();

  const int warp = __shfl_sync(~0u, threadIdx.x / kWarp, 0), group = warp / 4;
  const int lane = threadIdx.x % kWarp;
  const int first_row = tile.first_query + 64 * group;
  const int row = first_row + threadIdx.x % kWarpgroup / kWarp * 16 + lane / 4;
  const int shift = sizes.Tk - sizes.Tq;  // causal: row i sees keys up to i + shift
  // The warpgroup's keys end here, and from here on some row sees less than the whole block.
  const int end = kCausal ? min(sizes.Tk, first_row + 64 + shift) : sizes.Tk;
  const int masked_from = kCausal ? min(sizes.Tk, first_row + shift + 1) : sizes.Tk;
  const int row_end[2] = {kCausal ? min(sizes.Tk, row + shift + 1) : sizes.Tk,
                          kCausal ? min(sizes.Tk, row + shift + 9) : sizes.Tk};

  float o[kD / 2];
#pragma unroll
  for (int i = 0; i < kD / 2; ++i) o[i] = 0;
  RowState state;
  ForwardWalk<kD, kGroups, kStages, kCausal, kChunk> walk{
      shared, maps, tile, sizes.scale * kLog2E, descriptor_of_rows(shared.q[group]), warp, 0, 0, 0};
  barrier_wait(&shared.q_full, 0);
  for (; walk.iteration < tile.blocks; walk.next()) {
    const int first_key = (tile.blocks - 1 - walk.iteration) * kKeys;
    if (first_key + kKeys <= masked_from) break;
    const int columns = first_key + lane % 4 * 2;
    const int limit[2] = {row_end[0] - columns, row_end[1] - columns};
    if (first_key >= end) {
      walk.skip();
    } else if (first_key + kKeys / 2 >= end) {
      walk.template step<kKeys / 2, true>(o, state, limit);
    } else {
      walk.template step<kKeys, true>(o, state, limit);
    }
  }
  const int no_limit[2] = {kKeys, kKeys};
  for (; walk.iteration < tile.blocks; walk.next()) {
    walk.template step<kKeys, false>(o, state, no_limit);
  }
  forward_finish<kD>(shared, maps, sizes, tile, o, state, row);
#else
  __trap();
#endif
}

template <int kD, int kGroups, int kStages, int kBlocksPerProcessor, int kChunk>
void launch(const AttentionForward& tensors, const AttentionProblem& problem, cudaStream_t stream) {
  const int64_t B = problem.B, H = problem.H, KV = problem.KV;
  ForwardMaps maps;
  const bool good = make_head_map(&maps.q, tensors.q, problem, H, problem.Tq, 64) &&
                    make_head_map(&maps.out, tensors.out, problem, H, problem.Tq, 64) &&
                    make_head_map(&maps.k, tensors.k, problem, KV, problem.Tk, kKeys) &&
                    make_head_map(&maps.v, tensors.v, problem, KV, problem.Tk, kKeys);
  const int64_t tiles = ceil_div(problem.Tq, 64 * kGroups);
  const ForwardSizes sizes{static_cast<int>(problem.Tq),
                           static_cast<int>(problem.Tk),
                           static_cast<int>(H),
                           static_cast<int>(KV),
                           static_cast<int>(tiles),
                           problem.scale,
                           tensors.lse};
  const auto kernel =
      problem.mask == Mask::causal
          ? attention_hopper_forward_kernel<kD, kGroups, kStages, kBlocksPerProcessor, true, kChunk>
          : attention_hopper_forward_kernel<kD, kGroups, kStages, kBlocksPerProcessor, false,
                                            kChunk>;
  // As ForwardShared: q, the stages of k and v, and room for the barriers.
  const size_t bytes = kGroups * tile_bytes(64, kD) + 2 * kStages * tile_bytes(kKeys, kD) + 256;
  allow_shared_memory(kernel, static_cast<int>(bytes));
  kernel<<<static_cast<unsigned>(tiles * H * B), kGroups * kWarpgroup,
           good ? bytes : kRefusedLaunch, stream>>>(maps, sizes);
}

}  // namespace

bool attention_hopper_forward_supports(const AttentionProblem& problem) {
  const bool size = problem.D == 64 || problem.D == 80 || problem.D == 96 || problem.D == 128;
  const bool mask =
      problem.mask == Mask::full || (problem.mask == Mask::causal && problem.Tq <= problem.Tk);
  const int64_t most = INT_MAX / 2;
  return size && mask && problem.Tk > 0 && problem.scale > 0 && problem.dropout_rate == 0 &&
         !problem.query_offsets && problem.Tq < most && problem.Tk < most &&
         problem.B * problem.H <= most / ceil_div(std::max(problem.Tq, problem.Tk), 64);
}

void attention_hopper_forward(const AttentionForward& tensors, const AttentionProblem& problem,
                              cudaStream_t stream) {
  if (problem.B == 0 || problem.H == 0 || problem.Tq == 0) return;
  if (problem.D == 64) launch<64, 2, 3, 2, kKeys>(tensors, problem, stream);
  if (problem.D == 80) launch<80, 2, 2, 1, 32>(tensors, problem, stream);
  if (problem.D == 96) launch<96, 2, 2, 1, 32>(tensors, problem, stream);
  if (problem.D == 128) launch<128, 2, 2, 1, 32>(tensors, problem, stream);
}

}  // namespace llm::cuda
