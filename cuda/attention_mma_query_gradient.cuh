// The gradient of the queries on tensor cores; see attention_mma_backward.cu.
//
// As in the forward pass a block has 128 queries of one head (64 where the head is large) and walks
// over the tiles of keys and values that they see. Per step of kStepKeys keys a warp makes
// S = Q K^T and dout V^T, from them dS, rounded to bf16, and dQ += dS K.
//
// Before that a block makes delta = rowsum(dout * out) of its queries, in f32, and leaves it with
// lse for the kernel that makes dK and dV. So it does with the dropout mask, a bit per probability:
// making it takes as long as the products.
#pragma once

#include <cmath>

#include "cuda/attention_tile.cuh"

namespace llm::cuda {

// What the backward pass needs to know of a query, (B, H, Tq) of them: P = 2^(S scale log2(e) -
// lse), dS = P * (kept * (dout V^T) - delta). Both gradients of S get the factor of dropout last,
// so delta is divided by it here. A query that sees no key has lse = infinity: P = 0.
struct QueryStatistics {
  float lse, delta;
};

// What the first kernel leaves for the second.
struct BackwardScratch {
  QueryStatistics* statistics;  // (B, H, Tq)
  // (B, H, Tq, kept_bytes): which probabilities of a query are kept. In the 4 bytes of 32 keys,
  // counted from the start of the segment, key 16 g + 4 c + n is bit 4 g + n of byte c: what one
  // lane makes is one byte.
  uint8_t* kept;
  int64_t kept_bytes;
};

// kKeys: of a tile. kHoldRows: the fragments of q and dout stay in registers. kBlocks: per
// multiprocessor.
template <int kHeadSize, int kRowTilesOfWarp, int kKeysOfTile, int kKeysOfStep, bool kHoldRows,
          int kBlocksOfProcessor = 2>
struct QueryGradientShape {
  static constexpr int D = kHeadSize, kRowTiles = kRowTilesOfWarp;
  static constexpr int kKeys = kKeysOfTile, kStepKeys = kKeysOfStep;
  static_assert(kStepKeys == 32, "a byte of the dropout mask");
  static constexpr bool kHold = kHoldRows;
  static constexpr int kBlocks = kBlocksOfProcessor;
  static constexpr int kQueries = kTileWarps * 16 * kRowTiles;
  static constexpr int kTileBytes = kKeys * kRowBytes<D>, kStageBytes = 2 * kTileBytes;
  static constexpr int kQueryBytes = kQueries * kRowBytes<D>;
  static constexpr int kQueryOffset = 2 * kStageBytes;
  static constexpr int kStatisticsOffset = kQueryOffset + 2 * kQueryBytes;
  static constexpr int kSharedBytes = kStatisticsOffset + kQueries * 8;
};

// delta of a block's queries. A thread has a query, or two threads have half of one each: they take
// their part of out into registers before dout has arrived in shared memory.
template <typename Shape>
class DeltaMaker {
 public:
  // out, lse: from the segment's first query
  __device__ __forceinline__ DeltaMaker(const HeadRows& out, const float* lse, int first, int end)
      : row_(first + place()), valid_(row_ < end) {
    if (!valid_) return;
    lse_ = lse[row_];
    const bf16* row = out.data + int64_t{row_} * out.stride + part() * kPieces * 8;
#pragma unroll
    for (int n = 0; n < kPieces; ++n) out_[n] = load(row + 8 * n);
  }
  // dout: tile in shared memory   to: of the segment's first query
  __device__ __forceinline__ void make(QueryStatistics* shared, QueryStatistics* to,
                                       const char* dout, float factor) {
    const bf16* row =
        reinterpret_cast<const bf16*>(dout + place() * kRowBytes<Shape::D>) + part() * kPieces * 8;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kPieces; ++n) {
      const Vector<bf16> y = load(row + 8 * n);
#pragma unroll
      for (int k = 0; k < 8; ++k) sum = fmaf(to_float(out_[n].at[k]), to_float(y.at[k]), sum);
    }
    if (kThreads == 2) sum += __shfl_xor_sync(~0u, sum, 1);
    QueryStatistics statistics{INFINITY, 0};
    if (valid_ && lse_ != -INFINITY) statistics = {lse_ * kLog2E, sum / factor};
    if (part() != 0) return;
    shared[place()] = statistics;
    if (valid_) to[row_] = statistics;
  }

 private:
  static constexpr int kThreads = kTileThreads / Shape::kQueries;  // per query
  static constexpr int kPieces = Shape::D / 8 / kThreads;
  __device__ static int place() { return threadIdx.x / kThreads; }
  __device__ static int part() { return threadIdx.x % kThreads; }

  int row_;
  bool valid_;
  float lse_ = 0;
  Vector<bf16> out_[kPieces] = {};
};

// scores become dS (without scale and the factor of dropout). gradients: dout V^T
template <typename Shape, bool kDropout>
__device__ __forceinline__ void score_gradients(
    float (&scores)[Shape::kRowTiles][Shape::kStepKeys / 8][4],
    const float (&gradients)[Shape::kRowTiles][Shape::kStepKeys / 8][4],
    const QueryStatistics (&statistics)[Shape::kRowTiles][2], float scale, uint64_t kept) {
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < Shape::kStepKeys / 8; ++n) {
#pragma unroll
      for (int x = 0; x < 4; ++x) {
        const QueryStatistics& row = statistics[m][x / 2];
        float gradient = gradients[m][n][x];
        if (kDropout && !is_kept(kept, Shape::kStepKeys / 16, m, n, x)) gradient = 0;
        const float probability = exp2_fast(fmaf(scores[m][n][x], scale, -row.lse));
        scores[m][n][x] = probability * (gradient - row.delta);
      }
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void hide_gradients(
    float (&scores)[Shape::kRowTiles][Shape::kStepKeys / 8][4], int first_key,
    const int (&ends)[Shape::kRowTiles][2]) {
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < Shape::kStepKeys / 8; ++n) {
#pragma unroll
      for (int x = 0; x < 4; ++x) {
        if (first_key + key_of_column(n, x) >= ends[m][x / 2]) scores[m][n][x] = 0;
      }
    }
  }
}

// Leaves the dropout mask of 32 keys from first_key on; first, end: the warp's rows.
template <typename Shape>
__device__ __forceinline__ void store_kept(uint8_t* to, int64_t row_bytes, int first, int end,
                                           int first_key, uint64_t kept) {
  const int lane = threadIdx.x % kWarp;
  to += (first + lane / 4) * row_bytes + first_key / 8 + lane % 4;
#pragma unroll
  for (int n = 0; n < 2 * Shape::kRowTiles; ++n, to += 8 * row_bytes) {
    if (first + 8 * n + lane / 4 < end) *to = static_cast<uint8_t>(kept >> 8 * n);
  }
}

template <typename Shape, bool kDropout>
__global__ void __launch_bounds__(kTileThreads, Shape::kBlocks)
    attention_mma_query_gradient_kernel(AttentionBackward tensors, BackwardScratch scratch,
                                        AttentionProblem problem, ProbabilityDropout dropout,
                                        int tiles) {
  constexpr int D = Shape::D, kRowTiles = Shape::kRowTiles, kKeys = Shape::kKeys;
  constexpr int kStepKeys = Shape::kStepKeys;
  extern __shared__ int4 shared_words[];
  char* shared = reinterpret_cast<char*>(shared_words);
  const uint32_t stages = shared_address(shared), queries = stages + Shape::kQueryOffset;

  const BlockPlace block = place_of_block(tiles, problem.H);
  const int h = block.head, g = key_head_of(problem, h);
  const Tile place = tile_at(problem.query_offsets, problem.sequences, block.batch,
                             tiles - 1 - block.tile, Shape::kQueries);  // the longest first
  const Segment segment = segment_at(problem, place.segment);
  const int64_t b = segment.batch;
  const int first = place.begin, end = min(first + Shape::kQueries, segment.query_count);
  if (first >= end) return;
  const HeadRows key_rows = rows_of_head(tensors.k, b, segment.key_begin, g);
  const HeadRows value_rows = rows_of_head(tensors.v, b, segment.key_begin, g);
  const auto copy_keys = [&](int stage, int key) {
    const uint32_t to = stages + stage * Shape::kStageBytes;
    copy_tile<D, kKeys, ColumnOrder>(to, key_rows, key, segment.key_count);
    copy_tile<D, kKeys, ColumnOrder>(to + Shape::kTileBytes, value_rows, key, segment.key_count);
  };
  copy_tile<D, Shape::kQueries, NaturalOrder>(
      queries, rows_of_head(tensors.q, b, segment.query_begin, h), first, end);
  copy_tile<D, Shape::kQueries, NaturalOrder>(queries + Shape::kQueryBytes,
                                              rows_of_head(tensors.dout, b, segment.query_begin, h),
                                              first, end);
  copy_keys(0, 0);
  const int64_t row0 = (b * problem.H + h) * problem.Tq + segment.query_begin;
  DeltaMaker<Shape> delta(rows_of_head(tensors.out, b, segment.query_begin, h), tensors.lse + row0,
                          first, end);

  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int own = first + warp * 16 * kRowTiles, own_end = min(own + 16 * kRowTiles, end);
  const int block_end = visible_keys(problem, segment, end - 1).end;
  const int any_end = own < end ? visible_keys(problem, segment, own_end - 1).end : 0;
  const int all_end = visible_keys(problem, segment, own).end;
  uint64_t stream = 0, element = 0;
  if (kDropout) {
    stream = dropout.stream(b);
    element = probability_element(problem, h, segment.query_begin + own + lane / 4,
                                  segment.key_begin + lane % 4 * 4);
  }
  const float scale = problem.scale * kLog2E;

  copy_async_wait_all();
  __syncthreads();
  QueryStatistics* shared_statistics =
      reinterpret_cast<QueryStatistics*>(shared + Shape::kStatisticsOffset);
  delta.make(shared_statistics, scratch.statistics + row0,
             shared + Shape::kQueryOffset + Shape::kQueryBytes, dropout.factor);
  __syncthreads();
  QueryStatistics statistics[kRowTiles][2];
  int ends[kRowTiles][2];
  float sums[kRowTiles][D / 8][4];
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = own + 16 * m + 8 * half + lane / 4;
      statistics[m][half] = shared_statistics[row - first];
      ends[m][half] = visible_keys(problem, segment, row).end;
    }
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
#pragma unroll
      for (int x = 0; x < 4; ++x) sums[m][n][x] = 0;
    }
  }
  const uint32_t rows = queries + warp * 16 * kRowTiles * kRowBytes<D> + left_offset<D>();
  const LeftRows<D, kRowTiles, Shape::kHold> query(rows), gradient(rows + Shape::kQueryBytes);

  for (int key = 0, stage = 0; key < block_end; key += kKeys, stage ^= 1) {
    copy_async_wait_all();
    __syncthreads();  // the stage has arrived, and all have left the other one
    if (key + kKeys < block_end) copy_keys(stage ^ 1, key + kKeys);
#pragma unroll 1
    for (int step = 0; step < kKeys && key + step < any_end; step += kStepKeys) {
      const uint32_t keys = stages + stage * Shape::kStageBytes + step * kRowBytes<D>;
      float scores[kRowTiles][kStepKeys / 8][4], gradients[kRowTiles][kStepKeys / 8][4];
      multiply_rows(scores, query, keys + right_offset<D>());
      multiply_rows(gradients, gradient, keys + Shape::kTileBytes + right_offset<D>());
      uint64_t kept = 0;
      if (kDropout) {
        kept = keeps_columns<kRowTiles, kStepKeys / 16>(dropout, stream, element + key + step,
                                                        problem.Tk);
        store_kept<Shape>(scratch.kept + row0 * scratch.kept_bytes, scratch.kept_bytes, own, end,
                          key + step, kept);
      }
      score_gradients<Shape, kDropout>(scores, gradients, statistics, scale, kept);
      if (key + step + kStepKeys > all_end) hide_gradients<Shape>(scores, key + step, ends);
      uint32_t weights[kRowTiles][kStepKeys / 16][4];
      round_results(weights, scores);
      add_products<D>(sums, weights, keys + left_offset<D>());
    }
  }
  __syncthreads();
  float factors[kRowTiles][2];
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
    factors[m][0] = factors[m][1] = problem.scale * dropout.factor;
  }
  store_rows<D, kRowTiles, NaturalOrder>(rows_of_head(tensors.dq, b, segment.query_begin, h), own,
                                         end, sums, factors,
                                         shared + warp * 16 * kRowTiles * kRowBytes<D>);
}

}  // namespace llm::cuda
