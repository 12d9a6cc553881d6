// Rows of a matrix times the activations of all sequences, for transformer_decode.
//
// A step is 64 bytes of a row. Four lanes (a "quad") hold a step of one row, 16 bytes each, so a
// warp reads a step of 8 rows, twice for the 16 rows of a tile. The warps take the steps of a stage
// in turn, and at the end of a batch of tiles add up in shared memory, in the order of the warps.
// In bf16 the tiles of a batch are computed together: with so few steps for a warp, time is what
// one waits for the next instruction, and the tiles' instructions do not wait for each other.
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
constexpr int kBatchRows = kBatchTiles * 2 * kTilePairs;

#ifdef LLM_HOPPER

__device__ __forceinline__ void computing_barrier() {
  __syncwarp();
  named_barrier(1, kDecodeThreads);
}

// The activations of kS sequences in shared memory.
struct Activations {
  char* data;
  const char* zeros;  // 16 bytes
  int stride;         // bytes from a sequence to the next, an odd multiple of 64
};

__device__ __forceinline__ void tensor_product(float (&sum)[4], uint32_t a0, uint32_t a1,
                                               uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// What a warp has of the products of 16 rows with kS sequences. Rows and sequences that are none
// get numbers without meaning, which nobody reads: they do not get into others.
template <typename T, int kS>
struct TileSums;

template <int kS>
struct TileSums<bf16, kS> {
  float even[4] = {}, odd[4] = {};

  // low: of row lane / 4, high: 8 rows further on.   x: this lane's 16 bytes of a step
  __device__ __forceinline__ void add(uint4 low, uint4 high, uint4 x) {
    tensor_product(even, low.x, high.x, low.y, high.y, x.x, x.y);
    tensor_product(odd, low.z, high.z, low.w, high.w, x.z, x.w);
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

  // x: of sequence s
  __device__ __forceinline__ void add(uint4 low, uint4 high, uint4 x, int s) {
    add_product(sum[0][s], low, x);
    add_product(sum[1][s], high, x);
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

// Elements 2 pair and 2 pair + 1 of a vector of the model.
template <typename T>
__device__ __forceinline__ float2 load_pair(const void* vector, int pair) {
  if constexpr (sizeof(T) == 4) {
    return static_cast<const float2*>(vector)[pair];
  } else {
    const uint32_t both = static_cast<const uint32_t*>(vector)[pair];
    return make_float2(__uint_as_float(both << 16), __uint_as_float(both & 0xffff0000u));
  }
}

__device__ __forceinline__ uint4 load_shared(const char* from) {
  return *reinterpret_cast<const uint4*>(from);
}

// Where a thread reads and writes in a product; found before one waits for the activations.
struct ProductPlace {
  int row, x;   // its 16 bytes of the first of its rows in a stage, and of the activations
  float* sums;  // (kS, kBatchRows) of its warp
};

// sums: (kDecodeWarps, kS, kBatchRows)
template <int kS>
__device__ __forceinline__ ProductPlace product_place(const MatrixShare& share,
                                                      const Activations& x, float* sums) {
  const int lane = threadIdx.x % kWarp, row = lane / 4, quad_bytes = lane % 4 * 16;
  return {row * share.stride + quad_bytes, min(row, kS - 1) * x.stride + quad_bytes,
          sums + threadIdx.x / kWarp * kS * kBatchRows};
}

// kTiles tiles out of the ring; the last one has `last_rows` rows.   to: at the first tile's first
// row in place.sums
template <typename T, int kS, int kTiles>
__device__ __forceinline__ void multiply_tiles(Ring& ring, const MatrixShare& share,
                                               const ProductPlace& place, const Activations& x,
                                               int last_rows, float* to) {
  // Steps whose loads are under way together.
  constexpr int kAtOnce = sizeof(T) == 4 ? 1 : kTiles == 1 ? 4 : kTiles == 2 ? 3 : 2;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, row = lane / 4;
  const bool last_low = row < last_rows, last_high = row + 8 < last_rows;
  const int eight_rows = 8 * share.stride;
  TileSums<T, kS> sums[kTiles];
  const char* activations = x.data + (sizeof(T) == 2 ? place.x : lane % 4 * 16);
  // Lanes without a row or a sequence keep what they have: it does not get into others' sums.
  uint4 a[kAtOnce][kTiles] = {}, b[kAtOnce][kTiles] = {}, c[kAtOnce] = {};
#pragma unroll 1
  for (int left = share.steps; left > 0; left -= share.slice_steps) {
    const int steps = min(left, share.slice_steps);
    const char* data[kTiles];
    uint64_t* empty[kTiles];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      data[tile] = ring.data();
      empty[tile] = ring.empty + ring.stage;
      barrier_wait(ring.full + ring.stage, ring.parity);
      ring.advance();
    }
#pragma unroll 1
    for (int begin = warp; begin < steps; begin += kDecodeWarps * kAtOnce) {
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {  // what is behind the last step counts zero times
        const int step = begin + i * kDecodeWarps, at = min(step, steps - 1) * kStepBytes;
        if (sizeof(T) == 2 && row < kS) {
          c[i] = load_shared(step < steps ? activations + at : x.zeros);
        }
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          const char* from = data[tile] + place.row + at;
          if (tile < kTiles - 1 || last_low) a[i][tile] = load_shared(from);
          if (tile < kTiles - 1 || last_high) b[i][tile] = load_shared(from + eight_rows);
        }
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if constexpr (sizeof(T) == 2) {
#pragma unroll
          for (int tile = 0; tile < kTiles; ++tile) sums[tile].add(a[i][tile], b[i][tile], c[i]);
        } else {
#pragma unroll
          for (int s = 0; s < kS; ++s) {
            const uint4 of = load_shared(activations + s * x.stride + begin * kStepBytes);
#pragma unroll
            for (int tile = 0; tile < kTiles; ++tile) sums[tile].add(a[i][tile], b[i][tile], of, s);
          }
        }
      }
    }
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) barrier_arrive(empty[tile]);
    activations += steps * kStepBytes;
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    sums[tile].store(to + tile * 2 * kTilePairs, tile < kTiles - 1 ? 2 * kTilePairs : last_rows);
  }
}

// Calls finish(i, pair, a, b) with the sums of rows 2 pair and 2 pair + 1 of the share, bias
// included, for the sequence threadIdx.x % kS of the first `live`; i = kS pair + sequence, always
// in the same thread.   sums: (kDecodeWarps, kS, kBatchRows)   bias: of the share's rows, in shared
// memory, or null.   The activations may be overwritten behind this, and `sums` behind a barrier.
template <typename T, int kS, typename Finish>
__device__ __forceinline__ void multiply(Ring& ring, const MatrixShare& share,
                                         const ProductPlace& place, const void* bias,
                                         const Activations& x, float* sums, int live,
                                         Finish&& finish) {
  int done = 0;  // pairs
#pragma unroll 1
  for (int tile = 0; tile < share.tiles;) {
    const int last_rows = 2 * (share.pairs - (share.tiles - 1) * kTilePairs);
    if constexpr (kTilesAtOnce<T> == 1) {
#pragma unroll 1
      for (int i = 0; i < kBatchTiles && tile < share.tiles; ++i, ++tile) {
        multiply_tiles<T, kS, 1>(ring, share, place, x,
                                 tile == share.tiles - 1 ? last_rows : 2 * kTilePairs,
                                 place.sums + 2 * i * kTilePairs);
      }
    } else {
      const int count = share.tiles - tile;
      if (count == 1) {
        multiply_tiles<T, kS, 1>(ring, share, place, x, last_rows, place.sums);
      } else if (count == 2) {
        multiply_tiles<T, kS, 2>(ring, share, place, x, last_rows, place.sums);
      } else if (count == 3) {
        multiply_tiles<T, kS, 3>(ring, share, place, x, last_rows, place.sums);
      } else {
        multiply_tiles<T, kS, 4>(ring, share, place, x, count == 4 ? last_rows : 2 * kTilePairs,
                                 place.sums);
      }
      tile += kBatchTiles;
    }
    computing_barrier();
    static_assert(kBatchRows / 2 * kS <= kDecodeThreads);
    const int pair = done + threadIdx.x / kS, s = threadIdx.x % kS;
    const int next = min(share.pairs, done + kBatchTiles * kTilePairs);
    if (pair < next && s < live) {
      float2 sum = bias == nullptr ? make_float2(0, 0) : load_pair<T>(bias, pair);
      const float* from = sums + s * kBatchRows + threadIdx.x / kS * 2;
#pragma unroll
      for (int w = 0; w < kDecodeWarps; ++w) {
        const float2 part = *reinterpret_cast<const float2*>(from + w * kS * kBatchRows);
        sum.x += part.x;
        sum.y += part.y;
      }
      finish(pair * kS + s, pair, sum.x, sum.y);
    }
    done = next;
    if (tile < share.tiles) computing_barrier();
  }
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
