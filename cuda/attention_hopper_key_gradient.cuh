// The second kernel of attention's backward pass on Hopper: dk and dv. See
// attention_hopper_backward.cu.
//
// A warpgroup owns 64 keys and walks blocks of kQueries queries, all transposed, so that P and dS
// leave the registers only into the products, as their first operands:
//   S^T = k q^T, dP^T = v dout^T, P^T = exp2(S^T scale log2(e) - lse log2(e)),
//   dS^T = P^T * (dP^T - delta), dv += P^T dout, dk += dS^T q.
// dk, dv, S and dP take 192 registers a thread at D = 64 and 128 queries (at D = 128 and 64), so
// there are 2 such warpgroups to a multiprocessor, with 128 keys between them, and one thread that
// orders copies; its warpgroup gives its registers to the others. While one warpgroup takes
// exponentials the other multiplies: per 64 keys x 128 queries 1024 cycles of the tensor cores
// stand against 512 of the special function units.
//
// One block per multiprocessor stays for the whole launch and takes units of work, its copies
// running ahead into the next unit. A unit of causal attention is a short and a long key block of a
// head, so that all units are alike; where that makes too few units, single blocks, long ones
// first. Which block takes which unit is fixed, and nothing is shared: repeatable to the bit.
#pragma once

#include "cuda/attention_hopper_query_gradient.cuh"

namespace llm::cuda {

struct KeyGradientMaps {
  CUtensorMap dk, dv, k, v, q, dout;
};

#ifdef LLM_HOPPER

template <int kD, int kGroups, int kQueries, int kStages, int kBuffers>
struct KeyGradientShared {
  bf16 k[kBuffers][kGroups][tile_elements(64, kD)];  // later dk
  bf16 v[kBuffers][kGroups][tile_elements(64, kD)];  // later dv
  bf16 q[kStages][tile_elements(kQueries, kD)];
  bf16 dout[kStages][tile_elements(kQueries, kD)];
  float rows[kStages][2][kQueries];  // lse log2(e), delta
  uint64_t keys_full[kBuffers], keys_empty[kBuffers], full[kStages], empty[kStages];
};

// A key block, and the query blocks that see it.
struct KeyTile {
  int batch, key_head, first_key, first_block, blocks;
  bool none;
};

// The block's turn-th key block; false after the last.
template <int kGroups, int kQueries, bool kCausal>
__device__ __forceinline__ bool key_tile(KeyTile& at, const BackwardSizes& sizes, int turn) {
  const int unit = blockIdx.x + (sizes.paired ? turn / 2 : turn) * gridDim.x;
  if (unit >= sizes.units) return false;
  const int pairs = (sizes.key_blocks + 1) / 2, heads = sizes.units / sizes.key_blocks;
  const int head = sizes.paired ? unit / pairs : unit % heads;
  int block = sizes.paired ? unit % pairs : unit / heads;
  at.none = false;
  if (sizes.paired && turn % 2) {
    at.none = sizes.key_blocks - 1 - block == block;
    block = sizes.key_blocks - 1 - block;
  }
  at.batch = head / sizes.KV;
  at.key_head = head % sizes.KV;
  at.first_key = block * 64 * kGroups;
  at.first_block = kCausal ? max(0, at.first_key - (sizes.Tk - sizes.Tq)) / kQueries : 0;
  at.blocks = sizes.padded / kQueries;
  return true;
}

// The lane that orders all copies, ahead of the warpgroups as far as there are buffers.
template <int kD, int kGroups, int kQueries, int kStages, int kBuffers, bool kCausal>
__device__ __forceinline__ void key_gradient_copies(
    KeyGradientShared<kD, kGroups, kQueries, kStages, kBuffers>& shared,
    const KeyGradientMaps& maps, const BackwardSizes& sizes) {
  int buffer = 0, buffer_phase = 0, stage = 0, phase = 0;
  KeyTile tile;
  for (int turn = 0; key_tile<kGroups, kQueries, kCausal>(tile, sizes, turn); ++turn) {
    if (tile.none) continue;
    barrier_wait(&shared.keys_empty[buffer], buffer_phase ^ 1);
    uint64_t* keys_full = &shared.keys_full[buffer];
    barrier_expect(keys_full, 2 * kGroups * tile_bytes(64, kD));
    for (int group = 0; group < kGroups; ++group) {
      const int row = tile.first_key + 64 * group;
      load_tile<64, kD>(shared.k[buffer][group], &maps.k, keys_full, row, tile.key_head,
                        tile.batch);
      load_tile<64, kD>(shared.v[buffer][group], &maps.v, keys_full, row, tile.key_head,
                        tile.batch);
    }
    if (++buffer == kBuffers) buffer = 0, buffer_phase ^= 1;
    const int share = sizes.H / sizes.KV;
    for (int head = tile.key_head * share; head < (tile.key_head + 1) * share; ++head) {
      for (int block = tile.first_block; block < tile.blocks; ++block) {
        const int row = block * kQueries;
        uint64_t* full = &shared.full[stage];
        barrier_wait(&shared.empty[stage], phase ^ 1);
        barrier_expect(full, 2 * tile_bytes(kQueries, kD) + sizeof(shared.rows[stage]));
        load_tile<kQueries, kD>(shared.q[stage], &maps.q, full, row, head, tile.batch);
        load_tile<kQueries, kD>(shared.dout[stage], &maps.dout, full, row, head, tile.batch);
        const int64_t in_batch = static_cast<int64_t>(tile.batch) * sizes.H + head;
        bulk_load(shared.rows[stage], sizes.rows + row_index<kQueries>(sizes, in_batch, row),
                  sizeof(shared.rows[stage]), full);
        if (++stage == kStages) stage = 0, phase ^= 1;
      }
    }
  }
}

// p = exp2(s scale - lse) for a chunk of kChunk queries, 0 where a query does not see a key: row r
// is seen from column limit[r] on. `lse` starts at the lane's first column.
template <int kChunk, int kCount, bool kMasked>
__device__ __forceinline__ void key_probabilities(float (&s)[kCount], int chunk, const float* lse,
                                                  const int (&limit)[2], float scale_log2) {
#pragma unroll
  for (int step = 0; step < kChunk / 8; ++step) {
    const int i = chunk * (kChunk / 8) + step;
    const float2 two = *reinterpret_cast<const float2*>(lse + 8 * i);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      float& x = s[4 * i + e];
      x = exp2_fast(fmaf(x, scale_log2, e % 2 ? -two.y : -two.x));
      if (kMasked && 8 * i + e % 2 < limit[e / 2]) x = 0;
    }
  }
}

// dp becomes ds = p (dp - delta). `delta` starts at the lane's first column.
template <int kChunk, int kCount>
__device__ __forceinline__ void key_score_gradients(float (&dp)[kCount], const float (&p)[kCount],
                                                    int chunk, const float* delta) {
#pragma unroll
  for (int step = 0; step < kChunk / 8; ++step) {
    const int i = chunk * (kChunk / 8) + step;
    const float2 two = *reinterpret_cast<const float2*>(delta + 8 * i);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      dp[4 * i + e] = p[4 * i + e] * (dp[4 * i + e] - (e % 2 ? two.y : two.x));
    }
  }
}

template <int kD, int kGroups, int kQueries, int kStages, int kBuffers>
struct KeyGradientWalk {
  KeyGradientShared<kD, kGroups, kQueries, kStages, kBuffers>& shared;
  const BackwardSizes& sizes;
  int first_key;   // of the warpgroup
  int first_seen;  // the first query that sees one of its keys
  int stage, phase;
  int block, heads_left;  // where it is: the query block, and heads after this one

  // Each lane for itself, as each has read lse and delta.
  __device__ __forceinline__ void release(int at) const { barrier_arrive(&shared.empty[at]); }
  // Gives the last tile's k and v buffer back; by now its stores have read it.
  __device__ __forceinline__ void give_back(uint64_t* stored) const {
    if (threadIdx.x % kWarpgroup != 0 || !stored) return;
    tma_store_wait();
    barrier_arrive(stored);
  }
  __device__ __forceinline__ void move(const KeyTile& tile) {
    if (++stage == kStages) stage = 0, phase ^= 1;
    if (++block == tile.blocks) block = tile.first_block, --heads_left;
  }
  // From here to the next block that sees one of the warpgroup's keys, which is then in shared
  // memory. False if there is none.
  __device__ __forceinline__ bool seek(const KeyTile& tile) {
    for (; heads_left >= 0; move(tile)) {
      barrier_wait(&shared.full[stage], phase);
      if (block * kQueries + kQueries > first_seen) return true;
      release(stage);
    }
    return false;
  }
};

// The queries of a block from kFrom on. kChunk 0: their probabilities and score gradients are made
// first and multiplied then. Otherwise kChunk queries at a time: while the tensor cores multiply
// one chunk, the next one is made; that takes more registers.
template <int kD, int kQueries, int kFrom, int kChunk, bool kMasked, class Walk>
__device__ __forceinline__ void key_step(float (&dk)[kD / 2], float (&dv)[kD / 2], const Walk& walk,
                                         uint64_t k, uint64_t v, const int (&limit)[2]) {
  constexpr int kN = kQueries - kFrom, kPart = kChunk > 0 ? kChunk : kN, kParts = kN / kPart;
  constexpr int kPartBytes = kPart * kPanelRowBytes, kFromBytes = kFrom * kPanelRowBytes;
  auto& shared = walk.shared;
  const int stage = walk.stage;
  const bf16 *q = shared.q[stage], *dout = shared.dout[stage];
  const float* rows = shared.rows[stage][0] + kFrom + threadIdx.x % 4 * 2;
  float s[kN / 2], dp[kN / 2];
  uint32_t p[kParts][kPart / 4], ds[kParts][kPart / 4];
  issue_scores<kN, kD, 64, kQueries>(s, k, advance(descriptor_of_rows(q), kFromBytes));
  issue_scores<kN, kD, 64, kQueries>(dp, v, advance(descriptor_of_rows(dout), kFromBytes));
  wgmma_wait<1>();
  hold_registers(s);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    key_probabilities<kPart, kN / 2, kMasked>(s, part, rows, limit, walk.sizes.scale * kLog2E);
    if (kChunk == 0) break;
    pack(p[part], s, part * kPart / 2);
    issue_values<kPart, kD>(
        dv, p[part],
        advance(descriptor_of_columns(dout, kQueries), kFromBytes + part * kPartBytes));
    wgmma_commit();
  }
  if (kChunk == 0) compute_before_wait(s[kN / 2 - 1]);
  wgmma_wait<kChunk == 0 ? 0 : kParts>();
  hold_registers(dp);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    const int at = kFromBytes + part * kPartBytes;
    key_score_gradients<kPart>(dp, s, part, rows + kQueries);
    if (kChunk == 0) pack(p[part], s, 0);
    pack(ds[part], dp, part * kPart / 2);
    if (kChunk == 0) {
      issue_values<kPart, kD>(dv, p[part], advance(descriptor_of_columns(dout, kQueries), at));
    }
    issue_values<kPart, kD>(dk, ds[part], advance(descriptor_of_columns(q, kQueries), at));
    wgmma_commit();
  }
  wgmma_wait<0>();
  hold_registers(dk);
  hold_registers(dv);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    hold_registers(p[part]);
    hold_registers(ds[part]);
  }
  walk.release(stage);
}

// One key block: dk and dv of the warpgroup's 64 keys. `stored`: the barrier of the buffer that is
// to be given back after the first step, or null.
template <int kD, int kQueries, int kChunk, bool kCausal, class Walk>
__device__ __forceinline__ void key_gradients(float (&dk)[kD / 2], float (&dv)[kD / 2], Walk& walk,
                                              const KeyTile& tile, uint64_t* stored, uint64_t k,
                                              uint64_t v) {
  // Where only the later half of a block of 128 queries sees the keys, that half is enough.
  constexpr int kHalf = kQueries == 128 ? 64 : 0;
  const int lane = threadIdx.x % kWarp, shift = walk.sizes.Tk - walk.sizes.Tq;
  const int key = walk.first_key + threadIdx.x % kWarpgroup / kWarp * 16 + lane / 4;
#pragma unroll
  for (int i = 0; i < kD / 2; ++i) dk[i] = dv[i] = 0;
  for (; walk.seek(tile); walk.move(tile)) {
    const int first_query = walk.block * kQueries;
    const int seen = key - shift - first_query - lane % 4 * 2;
    if (kCausal && kHalf > 0 && walk.first_seen >= first_query + kHalf) {
      const int limit[2] = {seen - kHalf, seen - kHalf + 8};
      key_step<kD, kQueries, kHalf, kChunk, true>(dk, dv, walk, k, v, limit);
    } else if (kCausal && first_query + shift < walk.first_key + 63) {
      const int limit[2] = {seen, seen + 8};
      key_step<kD, kQueries, 0, kChunk, true>(dk, dv, walk, k, v, limit);
    } else {
      const int limit[2] = {0, 0};
      key_step<kD, kQueries, 0, kChunk, false>(dk, dv, walk, k, v, limit);
    }
    walk.give_back(stored);
    stored = nullptr;
  }
  walk.give_back(stored);
}

// A warpgroup's work: all units of its block. The stores of a key block's dk and dv read shared
// memory while the next key block is begun; then its buffer is given back.
template <int kD, int kGroups, int kQueries, int kStages, int kBuffers, int kChunk, bool kCausal>
__device__ __forceinline__ void key_gradient_tiles(
    KeyGradientShared<kD, kGroups, kQueries, kStages, kBuffers>& shared,
    const KeyGradientMaps& maps, const BackwardSizes& sizes, int group) {
  KeyGradientWalk<kD, kGroups, kQueries, kStages, kBuffers> walk{shared, sizes, 0, 0, 0, 0, 0, 0};
  int buffer = 0, buffer_phase = 0;
  KeyTile tile;
  uint64_t* stored = nullptr;
  for (int turn = 0; key_tile<kGroups, kQueries, kCausal>(tile, sizes, turn); ++turn) {
    if (tile.none) continue;
    float dk[kD / 2], dv[kD / 2];
    walk.first_key = tile.first_key + 64 * group;
    walk.first_seen = kCausal ? max(0, walk.first_key - (sizes.Tk - sizes.Tq)) : 0;
    walk.block = tile.first_block;
    walk.heads_left = sizes.H / sizes.KV - 1;
    bf16 *k = shared.k[buffer][group], *v = shared.v[buffer][group];
    barrier_wait(&shared.keys_full[buffer], buffer_phase);
    key_gradients<kD, kQueries, kChunk, kCausal>(dk, dv, walk, tile, stored, descriptor_of_rows(k),
                                                 descriptor_of_rows(v));
    store_rows<kD>(&maps.dv, v, dv, 1, 1, walk.first_key, sizes.Tk, tile.key_head, tile.batch);
    store_rows<kD>(&maps.dk, k, dk, sizes.scale, sizes.scale, walk.first_key, sizes.Tk,
                   tile.key_head, tile.batch);
    stored = &shared.keys_empty[buffer];
    if (++buffer == kBuffers) buffer = 0, buffer_phase ^= 1;
  }
  if (threadIdx.x % kWarpgroup == 0) tma_store_wait();
}

#endif  // LLM_HOPPER

template <int kD, int kGroups, int kQueries, int kStages, int kBuffers, int kChunk, bool kCausal>
__global__ __launch_bounds__(
    (kGroups + 1) * kWarpgroup,
    1) void attention_hopper_key_gradient_kernel(const __grid_constant__ KeyGradientMaps maps,
                                                 const BackwardSizes sizes) {
#ifdef LLM_HOPPER
  extern __shared__ __align__(1024) char memory[];
  auto& shared =
      *reinterpret_cast<KeyGradientShared<kD, kGroups, kQueries, kStages, kBuffers>*>(memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kBuffers; ++i) {
      barrier_init(&shared.keys_full[i], 1);
      barrier_init(&shared.keys_empty[i], kGroups);
    }
    for (int i = 0; i < kStages; ++i) {
      barrier_init(&shared.full[i], 1);
      barrier_init(&shared.empty[i], kGroups * kWarpgroup);
    }
    barrier_init_fence();
  }
  __syncthreads();
  // 3 x 168 registers for the threads of three warpgroups, given out anew.
  const int group = __shfl_sync(~0u, threadIdx.x / kWarpgroup, 0);
  if (group == kGroups) {
    give_registers<24>();
    if (threadIdx.x == kGroups * kWarpgroup) {
      key_gradient_copies<kD, kGroups, kQueries, kStages, kBuffers, kCausal>(shared, maps, sizes);
    }
  } else {
    take_registers<kGroups == 2 ? 240 : 160>();
    key_gradient_tiles<kD, kGroups, kQueries, kStages, kBuffers, kChunk, kCausal>(shared, maps,
                                                                                  sizes, group);
  }
#else
  __trap();
#endif
}

}  // namespace llm::cuda
