// The first kernel of attention's backward pass on Hopper: dq, and the numbers per query that the
// second one needs. See attention_hopper_backward.cu.
//
// A warpgroup owns 64 queries and walks blocks of 64 keys, the diagonal one first:
//   S = q k^T, dP = dout v^T (both 64 x 64, 32 accumulators a thread each),
//   P = exp2(S scale log2(e) - lse log2(e)), dS = P * (dP - delta), dq += dS k,
// dS going into the last product from registers. D = 64: blocks of 2 warpgroups with 128 registers
// a thread, 2 blocks to a multiprocessor, so that 4 warpgroups are in different phases. D > 64: one
// block of 2, and dS k of a key block runs while the next one's exponentials are taken.
// As in the forward pass, one warp of those that multiply orders the copies of k and v.
// delta, the row sum of dout * out, is made here at the start, from device memory.
#pragma once

#include "cuda/attention_hopper_tiles.cuh"

namespace llm::cuda {

struct QueryGradientMaps {
  CUtensorMap dq, q, dout, k, v;
};

struct BackwardSizes {
  int Tq, Tk, H, KV;
  int query_tiles;  // of the first kernel
  int padded;       // Tq, to a multiple of the second kernel's query block
  int key_blocks;   // of the second kernel
  int units;        // of the second kernel: what is given to blocks
  bool paired;      // a unit is two key blocks
  float scale;
  const float* lse;  // (B, H, Tq)
  Heads dout, out;
  // (B, H, padded / kQueries, 2, kQueries): lse log2(e), delta. Queries from Tq on: infinity, 0.
  float* rows;
};

// Where a query's first number in `rows` is; the second is kQueries further on.
template <int kQueries>
__device__ __forceinline__ int64_t row_index(const BackwardSizes& sizes, int64_t head, int query) {
  return (head * sizes.padded + query / kQueries * kQueries) * 2 + query % kQueries;
}

#ifdef LLM_HOPPER

constexpr int kStepKeys = 64;

template <int kD, int kGroups, int kStages>
struct QueryGradientShared {
  bf16 q[kGroups][tile_elements(64, kD)];  // later dq
  bf16 dout[kGroups][tile_elements(64, kD)];
  bf16 k[kStages][tile_elements(kStepKeys, kD)];
  bf16 v[kStages][tile_elements(kStepKeys, kD)];
  uint64_t queries_full, full[kStages], empty[kStages];
};

// A tile of queries, and the key blocks that it needs: block blocks - 1 first.
struct QueryTile {
  int batch, head, key_head, first_query, blocks;
};

template <int kGroups, bool kCausal>
__device__ __forceinline__ QueryTile query_tile(const BackwardSizes& sizes) {
  const int tile = sizes.query_tiles - 1 - static_cast<int>(blockIdx.x % sizes.query_tiles);
  const int head = static_cast<int>(blockIdx.x / sizes.query_tiles);
  QueryTile at;
  at.batch = head / sizes.H;
  at.head = head % sizes.H;
  at.key_head = at.head / (sizes.H / sizes.KV);
  at.first_query = tile * 64 * kGroups;
  const int keys =
      kCausal ? min(sizes.Tk, at.first_query + 64 * kGroups + sizes.Tk - sizes.Tq) : sizes.Tk;
  at.blocks = (keys + kStepKeys - 1) / kStepKeys;
  return at;
}

template <int kD>
__device__ __forceinline__ void load_keys_and_values(bf16* k, bf16* v, uint64_t* full,
                                                     const QueryGradientMaps& maps,
                                                     const QueryTile& tile, int block) {
  barrier_expect(full, 2 * tile_bytes(kStepKeys, kD));
  const int row = block * kStepKeys;
  load_tile<kStepKeys, kD>(k, &maps.k, full, row, tile.key_head, tile.batch);
  load_tile<kStepKeys, kD>(v, &maps.v, full, row, tile.key_head, tile.batch);
}

template <int kD, int kGroups, int kStages>
__device__ __forceinline__ void query_gradient_start(
    QueryGradientShared<kD, kGroups, kStages>& shared, const QueryGradientMaps& maps,
    const QueryTile& tile) {
  barrier_init(&shared.queries_full, 1);
  for (int stage = 0; stage < kStages; ++stage) {
    barrier_init(&shared.full[stage], 1);
    barrier_init(&shared.empty[stage], 4 * kGroups);
  }
  barrier_init_fence();
  barrier_expect(&shared.queries_full, 2 * kGroups * tile_bytes(64, kD));
  for (int group = 0; group < kGroups; ++group) {
    const int row = tile.first_query + 64 * group;
    load_tile<64, kD>(shared.q[group], &maps.q, &shared.queries_full, row, tile.head, tile.batch);
    load_tile<64, kD>(shared.dout[group], &maps.dout, &shared.queries_full, row, tile.head,
                      tile.batch);
  }
  for (int stage = 0; stage < min(kStages, tile.blocks); ++stage) {
    load_keys_and_values<kD>(shared.k[stage], shared.v[stage], &shared.full[stage], maps, tile,
                             tile.blocks - 1 - stage);
  }
}

// lse log2(e) and delta of one of the lane's rows, also written for the second kernel. The row's
// four lanes share the work: every fourth vector of 8 columns each.
template <int kD, int kQueries>
__device__ __forceinline__ float2 query_numbers(const BackwardSizes& sizes, const QueryTile& tile,
                                                int query) {
  const int64_t head = static_cast<int64_t>(tile.batch) * sizes.H + tile.head;
  float lse = INFINITY, delta = 0;
  if (query < sizes.Tq) {
    lse = sizes.lse[head * sizes.Tq + query] * kLog2E;
    const auto at = [&](const Heads& heads) {
      return static_cast<const bf16*>(heads.data) + tile.batch * heads.batch + query * heads.row +
             tile.head * heads.head;
    };
    const bf16 *dout = at(sizes.dout), *out = at(sizes.out);
#pragma unroll
    for (int c = 0; c < (kD / 8 + 3) / 4; ++c) {
      const int column = (4 * c + threadIdx.x % 4) * 8;
      if (kD % 32 != 0 && column >= kD) break;
      const Vector<bf16> a = load(dout + column), b = load(out + column);
#pragma unroll
      for (int i = 0; i < 8; ++i) delta = fmaf(to_float(a.at[i]), to_float(b.at[i]), delta);
    }
  }
  delta = quad_sum(delta);
  if (threadIdx.x % 4 == 0 && query < sizes.padded) {
    float* row = sizes.rows + row_index<kQueries>(sizes, head, query);
    row[0] = lse;
    row[kQueries] = delta;
  }
  return make_float2(lse, delta);
}

// p = exp2(s scale - lse), 0 where row r does not see a column: those from limit[r] on.
template <bool kMasked>
__device__ __forceinline__ void query_probabilities(float (&s)[kStepKeys / 2],
                                                    const float2 (&numbers)[2],
                                                    const int (&limit)[2], float scale_log2) {
#pragma unroll
  for (int i = 0; i < kStepKeys / 8; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      float& x = s[4 * i + e];
      x = exp2_fast(fmaf(x, scale_log2, -numbers[e / 2].x));
      if (kMasked && 8 * i + e % 2 >= limit[e / 2]) x = 0;
    }
  }
}

// kChunk 0: a block's dS k is added while the next block is under way. Otherwise it is added at
// once, kChunk keys at a time, the next ones being made while the tensor cores multiply.
template <int kD, int kGroups, int kStages, int kChunk>
struct QueryGradientWalk {
  static constexpr bool kOverlap = kChunk == 0;
  QueryGradientShared<kD, kGroups, kStages>& shared;
  const QueryGradientMaps& maps;
  const QueryTile& tile;
  float scale_log2;
  float2 numbers[2];
  uint64_t q, dout;
  int warp;
  int iteration, stage, phase;

  __device__ __forceinline__ void release(int at) const {
    if (threadIdx.x % kWarp == 0) barrier_arrive(&shared.empty[at]);
  }
  // One warp refills the buffer of kLag iterations ago, which the others are done with by now or
  // soon. (All its lanes wait: the compiler would take everything after a wait of one thread for
  // different in each, and keep no descriptor in uniform registers.)
  __device__ __forceinline__ void refill() const {
    constexpr int kLag = kOverlap ? 2 : 1;
    const int next = iteration - kLag + kStages;
    if (warp != 0 || iteration < kLag || next >= tile.blocks) return;
    const int at = stage < kLag ? stage - kLag + kStages : stage - kLag;
    barrier_wait(&shared.empty[at], stage < kLag ? phase ^ 1 : phase);
    if (threadIdx.x != 0) return;
    load_keys_and_values<kD>(shared.k[at], shared.v[at], &shared.full[at], maps, tile,
                             tile.blocks - 1 - next);
  }
  // A key block that no query of this warpgroup sees. It waits all the same: a barrier may not get
  // two phases ahead of anybody.
  __device__ __forceinline__ void skip() const {
    refill();
    barrier_wait(&shared.full[stage], phase);
    release(stage);
  }
  // A key block. With kOverlap, ds comes with the previous block's and leaves with this one's.
  // Everything is waited for at the end: the compiler would not keep products under way across the
  // loop.
  template <bool kFirst, bool kMasked>
  __device__ __forceinline__ void step(float (&dq)[kD / 2], uint32_t (&ds)[kStepKeys / 4],
                                       const int (&limit)[2]) const {
    const int previous = stage == 0 ? kStages - 1 : stage - 1;
    float s[kStepKeys / 2], dp[kStepKeys / 2];
    barrier_wait(&shared.full[stage], phase);
    issue_scores<kStepKeys, kD, 64, kStepKeys>(s, q, descriptor_of_rows(shared.k[stage]));
    issue_scores<kStepKeys, kD, 64, kStepKeys>(dp, dout, descriptor_of_rows(shared.v[stage]));
    constexpr bool kWithPrevious = kOverlap && !kFirst;
    if (kWithPrevious) add(dq, ds, previous);
    refill();
    wgmma_wait<kWithPrevious ? 2 : 1>();
    hold_registers(s);
    query_probabilities<kMasked>(s, numbers, limit, scale_log2);
    compute_before_wait(s[kStepKeys / 2 - 1]);
    wgmma_wait<kWithPrevious ? 1 : 0>();
    hold_registers(dp);
    if constexpr (!kOverlap) {
      add_in_chunks(dq, s, dp);
    } else {
#pragma unroll
      for (int i = 0; i < kStepKeys / 2; ++i) dp[i] = s[i] * (dp[i] - numbers[i % 4 / 2].y);
      if (kWithPrevious) compute_before_wait(dp[kStepKeys / 2 - 1]);
      if (kWithPrevious) finish(dq, ds, previous);
      pack(ds, dp, 0);
    }
  }
  // dq += ds k, kChunk keys at a time.
  __device__ __forceinline__ void add_in_chunks(float (&dq)[kD / 2],
                                                const float (&s)[kStepKeys / 2],
                                                float (&dp)[kStepKeys / 2]) const {
    constexpr int kChunks = kStepKeys / kChunk;
    const uint64_t k = descriptor_of_columns(shared.k[stage], kStepKeys);
    uint32_t parts[kChunks][kChunk / 4];
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
#pragma unroll
      for (int i = 0; i < kChunk / 2; ++i) {
        const int at = chunk * (kChunk / 2) + i;
        dp[at] = s[at] * (dp[at] - numbers[i % 4 / 2].y);
      }
      pack(parts[chunk], dp, chunk * kChunk / 2);
      issue_values<kChunk, kD>(dq, parts[chunk], advance(k, chunk * kChunk * kPanelRowBytes));
      wgmma_commit();
    }
    wgmma_wait<0>();
    hold_registers(dq);
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) hold_registers(parts[chunk]);
    release(stage);
  }
  // dq += ds k, begun and waited for.
  __device__ __forceinline__ void add(float (&dq)[kD / 2], uint32_t (&ds)[kStepKeys / 4],
                                      int at) const {
    issue_values<kStepKeys, kD>(dq, ds, descriptor_of_columns(shared.k[at], kStepKeys));
    wgmma_commit();
  }
  __device__ __forceinline__ void finish(float (&dq)[kD / 2], uint32_t (&ds)[kStepKeys / 4],
                                         int at) const {
    wgmma_wait<0>();
    hold_registers(dq);
    hold_registers(ds);
    release(at);
  }
  __device__ __forceinline__ void next() {
    ++iteration;
    if (++stage == kStages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

#endif  // LLM_HOPPER

template <int kD, int kGroups, int kStages, int kBlocksPerProcessor, int kChunk, int kQueries,
          bool kCausal>
__global__ __launch_bounds__(
    kGroups* kWarpgroup,
    kBlocksPerProcessor) void attention_hopper_query_gradient_kernel(const __grid_constant__
                                                                         QueryGradientMaps maps,
                                                                     const BackwardSizes sizes) {
#ifdef LLM_HOPPER
  extern __shared__ __align__(1024) char memory[];
  auto& shared = *reinterpret_cast<QueryGradientShared<kD, kGroups, kStages>*>(memory);
  const QueryTile tile = query_tile<kGroups, kCausal>(sizes);
  if (threadIdx.x == 0) query_gradient_start(shared, maps, tile);
  const int warp = __shfl_sync(~0u, threadIdx.x / kWarp, 0), group = warp / 4;
  const int lane = threadIdx.x % kWarp;
  const int first_row = tile.first_query + 64 * group;
  const int row = first_row + threadIdx.x % kWarpgroup / kWarp * 16 + lane / 4;
  QueryGradientWalk<kD, kGroups, kStages, kChunk> walk{
      shared,
      maps,
      tile,
      sizes.scale * kLog2E,
      {query_numbers<kD, kQueries>(sizes, tile, row),
       query_numbers<kD, kQueries>(sizes, tile, row + 8)},
      descriptor_of_rows(shared.q[group]),
      descriptor_of_rows(shared.dout[group]),
      warp,
      0,
      0,
      0};
  __syncthreads();

  const int shift = sizes.Tk - sizes.Tq;  // causal: row i sees keys up to i + shift
  // The warpgroup's keys end here, and from here on some row sees less than the whole block.
  const int end = kCausal ? min(sizes.Tk, first_row + 64 + shift) : sizes.Tk;
  const int masked_from = kCausal ? min(sizes.Tk, first_row + shift + 1) : sizes.Tk;
  const int row_end[2] = {kCausal ? min(sizes.Tk, row + shift + 1) : sizes.Tk,
                          kCausal ? min(sizes.Tk, row + shift + 9) : sizes.Tk};
  const auto limit_at = [&](int iteration, int r) {
    return row_end[r] - (tile.blocks - 1 - iteration) * kStepKeys - lane % 4 * 2;
  };
  float dq[kD / 2];
  uint32_t ds[kStepKeys / 4];
#pragma unroll
  for (int i = 0; i < kD / 2; ++i) dq[i] = 0;
  barrier_wait(&shared.queries_full, 0);
  while (walk.iteration + 1 < tile.blocks &&
         (tile.blocks - 1 - walk.iteration) * kStepKeys >= end) {
    walk.skip();
    walk.next();
  }
  const int limit[2] = {limit_at(walk.iteration, 0), limit_at(walk.iteration, 1)};
  walk.template step<true, true>(dq, ds, limit);
  walk.next();
  for (; walk.iteration < tile.blocks; walk.next()) {
    if ((tile.blocks - walk.iteration) * kStepKeys <= masked_from) break;
    const int limit[2] = {limit_at(walk.iteration, 0), limit_at(walk.iteration, 1)};
    walk.template step<false, true>(dq, ds, limit);
  }
  for (; walk.iteration < tile.blocks; walk.next()) {
    walk.template step<false, false>(dq, ds, limit);
  }
  const int last = (tile.blocks - 1) % kStages;
  if (kChunk == 0) {
    walk.add(dq, ds, last);
    walk.finish(dq, ds, last);
  }
  store_rows<kD>(&maps.dq, shared.q[group], dq, sizes.scale, sizes.scale, first_row, sizes.Tq,
                 tile.head, tile.batch);
  tma_store_wait();
#else
  __trap();
#endif
}

}  // namespace llm::cuda
