// Rows of a matrix times the activations of all sequences, for transformer_decode.
//
// A step is 64 bytes of a row. Four lanes (a "quad") hold a step of one row, 16 bytes each, so a
// warp reads a step of 8 rows, twice for the 16 rows of a tile. The warps divide a stage's steps
// among each other, and at the end of a tile add up in shared memory, in the order of the warps.
//
// bf16: two tensor core products of 16 x 8 x 16 a step, columns being sequences; up to 8 cost the
// same. Which of the step's columns is which index of the product does not matter as long as rows
// and activations agree, so that lane `quad` takes its 16 bytes for the indices 2 quad, 2 quad + 1
// and those 8 further of both products. What a sequence gets does not depend on the others.
// f32: fused multiply-add.
#pragma once

#include "cuda/decode_ring.cuh"

namespace llm::cuda {

constexpr int kDecodeWarps = 8;  // that compute; one more fills the ring
constexpr int kDecodeThreads = kDecodeWarps * kWarp;
constexpr int kBatchTiles = 4;  // added up at a time
constexpr int kBatchRows = kBatchTiles * 2 * kTilePairs;

#ifdef LLM_HOPPER

__device__ __forceinline__ void computing_barrier() {
  __syncwarp();
  named_barrier(1, kDecodeThreads);
}

// The activations of kS sequences in shared memory.
struct Activations {
  char* data;
  int stride;  // bytes from a sequence to the next, an odd multiple of 64
};

__device__ __forceinline__ void tensor_product(float (&sum)[4], uint32_t a0, uint32_t a1,
                                               uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// What a warp has of the products of 16 rows with kS sequences.
template <typename T, int kS>
struct TileSums;

template <int kS>
struct TileSums<bf16, kS> {
  float even[4] = {}, odd[4] = {};

  // low: of row lane / 4, high: 8 rows further on.   x: a step of the first sequence
  __device__ __forceinline__ void add(uint4 low, uint4 high, const char* x, int stride) {
    const int row = threadIdx.x % kWarp / 4, quad = threadIdx.x % 4;
    uint4 b = make_uint4(0, 0, 0, 0);
    if (row < kS) b = *reinterpret_cast<const uint4*>(x + row * stride + quad * 16);
    tensor_product(even, low.x, high.x, low.y, high.y, b.x, b.y);
    tensor_product(odd, low.z, high.z, low.w, high.w, b.z, b.w);
  }
  // to: (kS, kBatchRows), at the tile's first row
  __device__ __forceinline__ void store(float* to, int rows) const {
    const int row = threadIdx.x % kWarp / 4, quad = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int s = 2 * quad + i;
      if (s >= kS) continue;
      if (row < rows) to[s * kBatchRows + row] = even[i] + odd[i];
      if (row + 8 < rows) to[s * kBatchRows + row + 8] = even[i + 2] + odd[i + 2];
    }
  }
};

template <int kS>
struct TileSums<float, kS> {
  float sum[2][kS] = {};

  __device__ __forceinline__ void add(uint4 low, uint4 high, const char* x, int stride) {
    const int quad = threadIdx.x % 4;
#pragma unroll
    for (int s = 0; s < kS; ++s) {
      const uint4 b = *reinterpret_cast<const uint4*>(x + s * stride + quad * 16);
      add_product(sum[0][s], low, b);
      add_product(sum[1][s], high, b);
    }
  }
  __device__ __forceinline__ void store(float* to, int rows) const {
    const int row = threadIdx.x % kWarp / 4, quad = threadIdx.x % 4;
#pragma unroll
    for (int s = 0; s < kS; ++s) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float all = sum[half][s] + __shfl_xor_sync(~0u, sum[half][s], 1);
        all += __shfl_xor_sync(~0u, all, 2);
        if (quad == s % 4 && row + 8 * half < rows) to[s * kBatchRows + row + 8 * half] = all;
      }
    }
  }

 private:
  static __device__ __forceinline__ void add_product(float& to, uint4 a, uint4 b) {
    to = fmaf(__uint_as_float(a.x), __uint_as_float(b.x), to);
    to = fmaf(__uint_as_float(a.y), __uint_as_float(b.y), to);
    to = fmaf(__uint_as_float(a.z), __uint_as_float(b.z), to);
    to = fmaf(__uint_as_float(a.w), __uint_as_float(b.w), to);
  }
};

// Elements 2 pair and 2 pair + 1 of a vector of the model; zeros where there is none.
template <typename T>
__device__ __forceinline__ float2 load_pair(const void* vector, int pair) {
  if (vector == nullptr) return make_float2(0, 0);
  if constexpr (sizeof(T) == 4) {
    return __ldg(static_cast<const float2*>(vector) + pair);
  } else {
    const uint32_t both = __ldg(static_cast<const uint32_t*>(vector) + pair);
    return make_float2(__uint_as_float(both << 16), __uint_as_float(both & 0xffff0000u));
  }
}

// One tile out of the ring.
template <typename T, int kS>
__device__ __forceinline__ TileSums<T, kS> multiply_tile(Ring& ring, const OwnPlan& plan, int rows,
                                                         const Activations& x) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, row = lane / 4;
  const int quad_bytes = lane % 4 * 16;
  TileSums<T, kS> sums;
  int offset = 0;
  for (int slice = 0; slice < plan.slices; ++slice) {
    const int steps = plan.slice_steps(slice), stride = row_stride(steps);
    const int first = steps * warp / kDecodeWarps, last = steps * (warp + 1) / kDecodeWarps;
    const char* low = ring.data() + row * stride + quad_bytes;
    const char* high = low + 8 * stride;
    barrier_wait(ring.full + ring.stage, ring.parity);
#pragma unroll 2
    for (int step = first; step < last; ++step) {
      uint4 a = make_uint4(0, 0, 0, 0), b = a;
      if (row < rows) a = *reinterpret_cast<const uint4*>(low + step * kStepBytes);
      if (row + 8 < rows) b = *reinterpret_cast<const uint4*>(high + step * kStepBytes);
      sums.add(a, b, x.data + offset + step * kStepBytes, x.stride);
    }
    __syncwarp();
    if (lane == 0) barrier_arrive(ring.empty + ring.stage);
    ring.advance();
    offset += steps * kStepBytes;
  }
  return sums;
}

// The bias of a thread's first pair, asked for long before it is needed.
template <typename T, int kS>
__device__ __forceinline__ float2 ask_bias(const OwnPlan& plan, const void* bias) {
  const int pair = threadIdx.x / kS;
  return pair < plan.pairs ? load_pair<T>(bias, plan.pair_begin + pair) : make_float2(0, 0);
}

// Calls finish(i, pair, s, a, b) with the sums of rows 2 pair and 2 pair + 1 (of the whole matrix)
// and sequence s, bias included, for all of this multiprocessor's and the first `live` sequences;
// i = kS (pair - first pair) + s, always in the same thread.   first_bias: of ask_bias
//   sums: (kDecodeWarps, kS, kBatchRows)
// The activations may be overwritten behind this, and `sums` behind a barrier.
template <typename T, int kS, typename Finish>
__device__ __forceinline__ void multiply(Ring& ring, const OwnPlan& shared_plan, const void* bias,
                                         float2 first_bias, const Activations& x, float* sums,
                                         int live, Finish&& finish) {
  const OwnPlan plan = shared_plan;
  const int warp = threadIdx.x / kWarp;
  int pair_begin = plan.pair_begin, done = 0;
  for (int tile = 0; tile < plan.tiles;) {
    int pairs = 0;
    for (int in_batch = 0; in_batch < kBatchTiles && tile < plan.tiles; ++in_batch) {
      const int rows = 2 * plan.tile_pairs(tile);
      multiply_tile<T, kS>(ring, plan, rows, x)
          .store(sums + warp * kS * kBatchRows + 2 * pairs, rows);
      pairs += rows / 2;
      ++tile;
    }
    computing_barrier();
    for (int i = threadIdx.x; i < pairs * kS; i += kDecodeThreads) {
      const int pair = i / kS, s = i % kS;
      const bool first = done == 0 && i < kDecodeThreads;
      float2 sum = first ? first_bias : load_pair<T>(bias, pair_begin + pair);
#pragma unroll
      for (int w = 0; w < kDecodeWarps; ++w) {
        const float2 part =
            *reinterpret_cast<const float2*>(sums + (w * kS + s) * kBatchRows + 2 * pair);
        sum.x += part.x;
        sum.y += part.y;
      }
      if (s < live) finish(done + i, pair_begin + pair, s, sum.x, sum.y);
    }
    pair_begin += pairs;
    done += pairs * kS;
    if (tile < plan.tiles) computing_barrier();
  }
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
