// The gradients of the keys and values on tensor cores; see attention_mma_backward.cu.
//
// A block has 128 keys of one head (64 where the head is large), 32 per warp, and walks over the
// tiles of queries that see them, for each query head of the group. Keys are the rows of all
// products, so that nothing passes between warps: per step of 16 queries a warp makes S^T = K Q^T
// and V dout^T, from them P^T and dS^T, rounded to bf16 in registers, and dV += P^T dout,
// dK += dS^T Q.
#pragma once

#include "cuda/attention_mma_query_gradient.cuh"

namespace llm::cuda {

// kQueries: of a tile. kHoldKeys, kHoldValues: fragments stay in registers.
template <int kHeadSize, int kRowTilesOfWarp, int kQueriesOfTile, bool kHoldKeys, bool kHoldValues,
          int kBlocksOfProcessor = 2>
struct KeyGradientShape {
  static constexpr int D = kHeadSize, kRowTiles = kRowTilesOfWarp, kQueries = kQueriesOfTile;
  static constexpr int kBlocks = kBlocksOfProcessor;
  static constexpr bool kHoldK = kHoldKeys, kHoldV = kHoldValues;
  static constexpr int kKeys = kTileWarps * 16 * kRowTiles;
  // A stage: q, dout, statistics, dropout mask.
  static constexpr int kTileBytes = kQueries * kRowBytes<D>;
  static constexpr int kStatisticsOffset = 2 * kTileBytes;
  static constexpr int kKeptOffset = kStatisticsOffset + kQueries * 8;
  static constexpr int kStageBytes = 2 * kTileBytes + kQueries * 8 + kQueries * kKeys / 8;
  static constexpr int kKeyBytes = kKeys * kRowBytes<D>;
  static constexpr int kKeyOffset = 2 * kStageBytes;
  static constexpr int kSharedBytes = kKeyOffset + 2 * kKeyBytes;
};

// Which probabilities of a lane's 2 * kRowTiles consecutive keys and its 4 of 16 queries are kept:
// bit 4 (2 column tile + query % 2) + key. rows: the first query's part of the mask, kKeys bits
// per query; see BackwardScratch.
template <typename Shape>
__device__ __forceinline__ uint32_t kept_of_queries(const uint32_t* rows) {
  constexpr int kWords = Shape::kKeys / 32;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int row = lane / 4, key = (warp * 16 + row * 2) * Shape::kRowTiles;
  const int shift = key % 16 / 4 * 8 + key % 32 / 16 * 4 + key % 4;
  rows += lane % 4 * 2 * kWords + key / 32;
  uint32_t kept = 0;
#pragma unroll
  for (int query = 0; query < 4; ++query) {
    kept |= (rows[(query / 2 * 8 + query % 2) * kWords] >> shift & 15) << 4 * query;
  }
  return kept;
}

// Turns S^T and V dout^T into the fragments of P^T (with dropout) and dS^T. Row `key` of the
// lane's (first_key + 2 row tile + half) is seen by queries from key + shift on.
template <int kRowTiles, bool kDropout>
__device__ __forceinline__ void weigh(uint32_t (&weights)[kRowTiles][1][4],
                                      uint32_t (&dscores)[kRowTiles][1][4],
                                      float (&scores)[kRowTiles][2][4],
                                      float (&gradients)[kRowTiles][2][4],
                                      const QueryStatistics* statistics, float scale, uint32_t kept,
                                      bool hide, int last_key) {
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    // Queries 8 n + 2 pair and the next.
    const float4 two = *reinterpret_cast<const float4*>(statistics + 8 * n + threadIdx.x % 4 * 2);
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int x = 0; x < 4; ++x) {
        const float lse = x % 2 ? two.z : two.x, delta = x % 2 ? two.w : two.y;
        const int key = 2 * m + x / 2, query = 2 * n + x % 2;
        float probability = exp2_fast(fmaf(scores[m][n][x], scale, -lse));
        if (hide && key > last_key + 8 * n + x % 2) probability = 0;
        float weight = probability, gradient = gradients[m][n][x];
        if (kDropout && !(kept >> (4 * query + key) & 1)) weight = gradient = 0;
        scores[m][n][x] = weight;
        gradients[m][n][x] = probability * (gradient - delta);
      }
    }
  }
  round_results(weights, scores);
  round_results(dscores, gradients);
}

template <typename Shape, bool kDropout>
__global__ void __launch_bounds__(kTileThreads, Shape::kBlocks)
    attention_mma_key_gradient_kernel(AttentionBackward tensors, BackwardScratch scratch,
                                      AttentionProblem problem, ProbabilityDropout dropout,
                                      int tiles) {
  constexpr int D = Shape::D, kRowTiles = Shape::kRowTiles, kQueries = Shape::kQueries;
  using Order = RowOrder<kRowTiles>;
  extern __shared__ int4 shared_words[];
  char* shared = reinterpret_cast<char*>(shared_words);
  const uint32_t stages = shared_address(shared), keys = stages + Shape::kKeyOffset;

  const BlockPlace block = place_of_block(tiles, problem.KV);
  const int g = block.head, group = static_cast<int>(problem.H / problem.KV);
  const Tile place = tile_at(problem.key_offsets, problem.sequences, block.batch, block.tile,
                             Shape::kKeys);  // the first keys are seen by the most queries
  const Segment segment = segment_at(problem, place.segment);
  const int64_t b = segment.batch;
  const int first = place.begin, end = min(first + Shape::kKeys, segment.key_count);
  if (first >= end) return;

  // The walk: query heads h of the group, and of each the queries from query0 on that see a key.
  const int query0 = seeing_queries(problem, segment, first).begin;
  const int h_end = query0 < segment.query_count ? (g + 1) * group : g * group;
  const auto copy_queries = [&](int stage, int h, int query) {
    const uint32_t to = stages + stage * Shape::kStageBytes;
    copy_tile<D, kQueries, NaturalOrder>(to, rows_of_head(tensors.q, b, segment.query_begin, h),
                                         query, segment.query_count);
    copy_tile<D, kQueries, NaturalOrder>(to + Shape::kTileBytes,
                                         rows_of_head(tensors.dout, b, segment.query_begin, h),
                                         query, segment.query_count);
    if (threadIdx.x < kQueries) {
      const bool valid = query + threadIdx.x < segment.query_count;
      const int64_t row =
          (b * problem.H + h) * problem.Tq + segment.query_begin + query + threadIdx.x;
      copy_async_8(to + Shape::kStatisticsOffset + threadIdx.x * 8, scratch.statistics + row,
                   valid);
      if constexpr (kDropout) {
        // The first kernel left the words of 32 keys up to the last key that the query sees; bits
        // behind that are not looked at.
        constexpr int kWords = Shape::kKeys / 32;
        const int seen = visible_keys(problem, segment, query + threadIdx.x).end - first;
        const uint32_t kept = to + Shape::kKeptOffset + threadIdx.x * kWords * 4;
        const uint8_t* from = scratch.kept + row * scratch.kept_bytes + first / 8;
#pragma unroll
        for (int word = 0; word < kWords; ++word) {
          if (valid && 32 * word < seen) copy_async_4(kept + 4 * word, from + 4 * word);
        }
      }
    }
  };
  copy_tile<D, Shape::kKeys, Order>(keys, rows_of_head(tensors.k, b, segment.key_begin, g), first,
                                    end);
  copy_tile<D, Shape::kKeys, Order>(keys + Shape::kKeyBytes,
                                    rows_of_head(tensors.v, b, segment.key_begin, g), first, end);
  if (g * group < h_end) copy_queries(0, g * group, query0);

  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int own = first + warp * 16 * kRowTiles;        // the warp's first key
  const int lane_key = own + lane / 4 * 2 * kRowTiles;  // the lane's first key
  const bool causal = problem.mask != Mask::full;
  const int shift = segment.key_count - segment.query_count;  // query i sees keys <= i + shift
  const float scale = problem.scale * kLog2E;
  float key_sums[kRowTiles][D / 8][4], value_sums[kRowTiles][D / 8][4];
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
#pragma unroll
      for (int x = 0; x < 4; ++x) key_sums[m][n][x] = value_sums[m][n][x] = 0;
    }
  }
  copy_async_wait_all();
  __syncthreads();
  const uint32_t rows = keys + warp * 16 * kRowTiles * kRowBytes<D> + left_offset<D>();
  const LeftRows<D, kRowTiles, Shape::kHoldK> key_rows(rows);
  const LeftRows<D, kRowTiles, Shape::kHoldV> value_rows(rows + Shape::kKeyBytes);

  for (int h = g * group, query = query0, stage = 0; h < h_end; stage ^= 1) {
    copy_async_wait_all();
    __syncthreads();  // the stage has arrived, and all have left the other one
    const bool last = query + kQueries >= segment.query_count;
    const int next_h = h + last, next_query = last ? query0 : query + kQueries;
    if (next_h < h_end) copy_queries(stage ^ 1, next_h, next_query);
    // Steps before this one see none of the warp's keys.
    const int skip = causal ? max(own - shift - query, 0) / 16 * 16 : 0;
    const char* stage_data = shared + stage * Shape::kStageBytes;
    const int steps = min(kQueries, segment.query_count - query);
#pragma unroll 1
    for (int step = skip; step < steps; step += 16) {
      const uint32_t tile = stages + stage * Shape::kStageBytes + step * kRowBytes<D>;
      float scores[kRowTiles][2][4], gradients[kRowTiles][2][4];
      multiply_rows(scores, key_rows, tile + right_offset<D>());
      multiply_rows(gradients, value_rows, tile + Shape::kTileBytes + right_offset<D>());
      const int lane_query = query + step + lane % 4 * 2;
      uint32_t kept = 0;
      if (kDropout) {
        kept = kept_of_queries<Shape>(
            reinterpret_cast<const uint32_t*>(stage_data + Shape::kKeptOffset) +
            step * Shape::kKeys / 32);
      }
      uint32_t weights[kRowTiles][1][4], dscores[kRowTiles][1][4];
      weigh<kRowTiles, kDropout>(weights, dscores, scores, gradients,
                                 reinterpret_cast<const QueryStatistics*>(
                                     shared + stage * Shape::kStageBytes + 2 * Shape::kTileBytes) +
                                     step,
                                 scale, kept,
                                 causal && own + 16 * kRowTiles - 1 > query + step + shift,
                                 lane_query + shift - lane_key);
      add_products<D>(value_sums, weights, tile + Shape::kTileBytes + left_offset<D>());
      add_products<D>(key_sums, dscores, tile + left_offset<D>());
    }
    h = next_h, query = next_query;
  }
  __syncthreads();
  float key_factors[kRowTiles][2], value_factors[kRowTiles][2];
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
    key_factors[m][0] = key_factors[m][1] = problem.scale * dropout.factor;
    value_factors[m][0] = value_factors[m][1] = dropout.factor;
  }
  // Each warp through its own keys' place, which the others are done with as well.
  char* staging = shared + Shape::kKeyOffset + warp * 16 * kRowTiles * kRowBytes<D>;
  store_rows<D, kRowTiles, Order>(rows_of_head(tensors.dk, b, segment.key_begin, g), own, end,
                                  key_sums, key_factors, staging);
  store_rows<D, kRowTiles, Order>(rows_of_head(tensors.dv, b, segment.key_begin, g), own, end,
                                  value_sums, value_factors, staging);
}

}  // namespace llm::cuda
