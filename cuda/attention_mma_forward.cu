// Attention forward on tensor cores (mma.sync, bf16 in, f32 sums); see attention_mma.h and
// backend.h. After Dao, "FlashAttention-2: faster attention with better parallelism and work
// partitioning", 2023.
//
// A block has 4 warps and 128 queries of one head, 32 per warp (half as many with dropout where the
// head is small). It walks over tiles of keys and
// values, of which the next is copied (cp.async) while the current one is worked on. Per tile a
// warp makes scores S = Q K^T, the online softmax with powers of 2 (scale * log2(e) goes into one
// multiply-add) relative to a reference that is at most 2^8 below the maximum, and sums += P V,
// with P straight from the registers of S. Sums of a row stay with the 4 lanes that hold it until
// the end. With a causal mask tiles that no query of the block, and then of the warp, sees are left
// out, and only those on the edge are masked element by element. Dropout: a lane has 4 consecutive
// keys of a query, so one Philox block each.
//
// Rounding: products of bf16 are summed in f32; P, relative to its reference, is rounded to bf16
// for the second product: each term is off by at most 2^-9 of itself, so out by at most 2^-9 sum |P
// v| / sum P beside its own rounding of 2^-9; the sum of P is made before the rounding. lse is f32.
//
// Bytes: q and out once, keys and values once per 128 queries from L2 (their blocks run side by
// side). Operations: 4 D per pair of query and key that sees it; the tensor cores are what limits,
// then the power of 2 (16 per cycle and multiprocessor).
#include <cmath>

#include "cuda/attention_mma.h"
#include "cuda/attention_tile.cuh"
#include "cuda/kernel_launch.cuh"

namespace llm::cuda {
namespace {

// kKeys: keys of a tile. kHoldQueries: the fragments of the queries stay in registers.
// kBlocks: per multiprocessor.
template <int kHeadSize, int kRowTilesOfWarp, int kKeysOfTile, bool kHoldQueries,
          int kBlocksOfProcessor = 2>
struct ForwardShape {
  static constexpr int D = kHeadSize, kRowTiles = kRowTilesOfWarp, kKeys = kKeysOfTile;
  static constexpr bool kHold = kHoldQueries;
  static constexpr int kBlocks = kBlocksOfProcessor;
  static constexpr int kQueries = kTileWarps * 16 * kRowTiles;
  static constexpr int kTileBytes = kKeys * kRowBytes<D>;
  static constexpr int kQueryBytes = kQueries * kRowBytes<D>;
  // Two stages of keys and values. Held queries pass through the second stage.
  static constexpr int kStageBytes = 2 * kTileBytes;
  static constexpr int kQueryOffset = kHold ? kStageBytes : 2 * kStageBytes;
  static constexpr int kSharedBytes =
      kHold && kQueryBytes <= kStageBytes ? 2 * kStageBytes : kQueryOffset + kQueryBytes;
};

// What a lane keeps of its 2 * kRowTiles rows. reference: a score, not scaled, that powers are
// relative to. total: this lane's share.
template <typename Shape>
struct ForwardState {
  float sums[Shape::kRowTiles][Shape::D / 8][4];
  float reference[Shape::kRowTiles][2], total[Shape::kRowTiles][2];
};

// Hides the scores of keys that a row does not see: key >= end of the row.
template <typename Shape>
__device__ __forceinline__ void hide_keys(float (&scores)[Shape::kRowTiles][Shape::kKeys / 8][4],
                                          int first_key, const int (&ends)[Shape::kRowTiles][2]) {
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < Shape::kKeys / 8; ++n) {
#pragma unroll
      for (int x = 0; x < 4; ++x) {
        if (first_key + key_of_column(n, x) >= ends[m][x / 2]) scores[m][n][x] = -INFINITY;
      }
    }
  }
}

// Moves the reference of each row to the maximum of its scores so far. tops: this lane's maxima.
template <typename Shape>
__device__ __forceinline__ void move_references(ForwardState<Shape>& state,
                                                const float (&tops)[Shape::kRowTiles][2],
                                                float scale) {
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float& reference = state.reference[m][half];
      float top = fmaxf(tops[m][half], __shfl_xor_sync(~0u, tops[m][half], 1));
      top = fmaxf(fmaxf(top, __shfl_xor_sync(~0u, top, 2)), reference);
      // No key seen yet: nothing to rescale.
      const float rescale = top == -INFINITY ? 1.0f : exp2_fast((reference - top) * scale);
      reference = top;
      state.total[m][half] *= rescale;
#pragma unroll
      for (int n = 0; n < Shape::D / 8; ++n) {
        state.sums[m][n][2 * half] *= rescale;
        state.sums[m][n][2 * half + 1] *= rescale;
      }
    }
  }
}

// Turns scores into powers of 2 relative to the reference of each row and adds them up. The
// reference moves, and with it totals and sums, only when a score of the warp lies more than 2^8
// above it: after the first tile hardly ever. scale: with log2(e).
template <typename Shape>
__device__ __forceinline__ void softmax_step(float (&scores)[Shape::kRowTiles][Shape::kKeys / 8][4],
                                             ForwardState<Shape>& state, float scale) {
  float tops[Shape::kRowTiles][2];
  bool move = false;
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = -INFINITY;
#pragma unroll
      for (int n = 0; n < Shape::kKeys / 8; ++n) {
        top = fmaxf(top, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
      }
      tops[m][half] = top;
      move |= (top - state.reference[m][half]) * scale > 8;
    }
  }
  if (__any_sync(~0u, move)) move_references(state, tops, scale);
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float reference = state.reference[m][half];
      const float base = reference == -INFINITY ? 0.0f : reference * scale;
      float total = 0;
#pragma unroll
      for (int n = 0; n < Shape::kKeys / 8; ++n) {
#pragma unroll
        for (int x = 2 * half; x < 2 * half + 2; ++x) {
          scores[m][n][x] = exp2_fast(fmaf(scores[m][n][x], scale, -base));
          total += scores[m][n][x];
        }
      }
      state.total[m][half] += total;
    }
  }
}

template <typename Shape>
__device__ __forceinline__ void drop_keys(float (&scores)[Shape::kRowTiles][Shape::kKeys / 8][4],
                                          uint64_t kept) {
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < Shape::kKeys / 8; ++n) {
#pragma unroll
      for (int x = 0; x < 4; ++x) {
        if (!is_kept(kept, Shape::kKeys / 16, m, n, x)) scores[m][n][x] = 0;
      }
    }
  }
}

// out = sums / total, lse = log of the total; first, end: the warp's rows of the segment.
template <typename Shape>
__device__ __forceinline__ void finish_rows(ForwardState<Shape>& state, const HeadRows& out,
                                            float* lse, int first, int end, float scale,
                                            float factor, char* staging) {
  const int lane = threadIdx.x % kWarp;
  float factors[Shape::kRowTiles][2];
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = state.total[m][half];
      total += __shfl_xor_sync(~0u, total, 1);
      total += __shfl_xor_sync(~0u, total, 2);
      factors[m][half] = total > 0 ? factor / total : 0.0f;
      const int row = first + 16 * m + 8 * half + lane / 4;
      if (lse && lane % 4 == 0 && row < end) {
        lse[row] = total > 0 ? fmaf(state.reference[m][half], scale, logf(total)) : -INFINITY;
      }
    }
  }
  store_rows<Shape::D, Shape::kRowTiles, NaturalOrder>(out, first, end, state.sums, factors,
                                                       staging);
}

template <typename Shape, bool kDropout>
__global__ void __launch_bounds__(kTileThreads, Shape::kBlocks)
    attention_mma_forward_kernel(AttentionForward tensors, AttentionProblem problem,
                                 ProbabilityDropout dropout, int tiles) {
  constexpr int D = Shape::D, kRowTiles = Shape::kRowTiles, kKeys = Shape::kKeys;
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
  copy_keys(0, 0);

  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int own = first + warp * 16 * kRowTiles, own_end = min(own + 16 * kRowTiles, end);
  int ends[kRowTiles][2];
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      ends[m][half] = visible_keys(problem, segment, own + 16 * m + 8 * half + lane / 4).end;
    }
  }
  // Keys that any query of the block, any of the warp, and all of the warp see.
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

  ForwardState<Shape> state;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
#pragma unroll
      for (int x = 0; x < 4; ++x) state.sums[m][n][x] = 0;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      state.reference[m][half] = -INFINITY;
      state.total[m][half] = 0;
    }
  }
  copy_async_wait_all();
  __syncthreads();
  const LeftRows<D, kRowTiles, Shape::kHold> left(queries + warp * 16 * kRowTiles * kRowBytes<D> +
                                                  left_offset<D>());
  for (int key = 0, stage = 0; key < block_end; key += kKeys, stage ^= 1) {
    copy_async_wait_all();
    __syncthreads();  // the stage has arrived, and all have left the other one
    const bool copies = key + kKeys < block_end;
    if (key >= any_end) {
      if (copies) copy_keys(stage ^ 1, key + kKeys);
      continue;
    }
    const uint32_t keys = stages + stage * Shape::kStageBytes;
    float scores[kRowTiles][kKeys / 8][4];
    multiply_rows(scores, left, keys + right_offset<D>());
    if (copies) copy_keys(stage ^ 1, key + kKeys);  // while the tensor cores are busy
    if (key + kKeys > all_end) hide_keys<Shape>(scores, key, ends);
    softmax_step(scores, state, scale);
    if (kDropout) {
      drop_keys<Shape>(
          scores, keeps_columns<kRowTiles, kKeys / 16>(dropout, stream, element + key, problem.Tk));
    }
    uint32_t weights[kRowTiles][kKeys / 16][4];
    round_results(weights, scores);
    add_products<D>(state.sums, weights, keys + Shape::kTileBytes + left_offset<D>());
  }
  __syncthreads();
  float* lse =
      tensors.lse ? tensors.lse + (b * problem.H + h) * problem.Tq + segment.query_begin : nullptr;
  finish_rows(state, rows_of_head(tensors.out, b, segment.query_begin, h), lse, own, end,
              problem.scale, dropout.factor, shared + warp * 16 * kRowTiles * kRowBytes<D>);
}

template <typename Shape, bool kDropout>
void launch_shape(const AttentionForward& tensors, const AttentionProblem& problem,
                  cudaStream_t stream) {
  const int64_t tiles = tiles_of_row(problem, problem.Tq, Shape::kQueries);
  const int64_t blocks = tiles * problem.H * problem.B;
  if (blocks == 0) return;
  const auto kernel = attention_mma_forward_kernel<Shape, kDropout>;
  allow_shared_memory(kernel, Shape::kSharedBytes);
  kernel<<<static_cast<unsigned>(blocks), kTileThreads, Shape::kSharedBytes, stream>>>(
      tensors, problem, probability_dropout(problem), static_cast<int>(tiles));
}

template <typename Shape, typename DropoutShape = Shape>
void launch(const AttentionForward& tensors, const AttentionProblem& problem, cudaStream_t stream) {
  static_assert(Shape::kSharedBytes <= 99 * 1024 && DropoutShape::kSharedBytes <= 99 * 1024,
                "what every card from 8.0 on has");
  if (problem.dropout_rate > 0) return launch_shape<DropoutShape, true>(tensors, problem, stream);
  launch_shape<Shape, false>(tensors, problem, stream);
}

}  // namespace

bool attention_mma_supports(const AttentionProblem& problem) {
  const int64_t D = problem.D;
  return (D == 64 || D == 80 || D == 96 || D == 128) && problem.mask != Mask::window &&
         problem.scale > 0;
}

void attention_mma_forward(const AttentionForward& tensors, const AttentionProblem& problem,
                           cudaStream_t stream) {
  if (problem.D == 64) {
    // With dropout the integer units are busy as well, and more warps hide their latency.
    return launch<ForwardShape<64, 2, 64, true>, ForwardShape<64, 1, 32, true, 4>>(tensors, problem,
                                                                                   stream);
  }
  if (problem.D == 80) return launch<ForwardShape<80, 2, 64, false>>(tensors, problem, stream);
  if (problem.D == 96) return launch<ForwardShape<96, 2, 64, false>>(tensors, problem, stream);
  launch<ForwardShape<128, 2, 32, false>>(tensors, problem, stream);
}

}  // namespace llm::cuda
