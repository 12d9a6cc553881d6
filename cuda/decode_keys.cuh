// Cached keys and values of one head as a warp reads them, for the attention of transformer_decode.
#pragma once

#include "cuda/common.cuh"
#include "cuda/transformer_decode.h"

namespace llm::cuda {

// 128 bytes of each of a warp's cached keys and of their values: the channels of a head come in
// parts of that size. Eight lanes have a key together, 16 bytes each, so that a load goes to few
// cache lines: lane l has that part of keys l / 8, 4 + l / 8, ...
template <typename T>
struct CachedPart {
  static constexpr int kChannels = 128 / sizeof(T);
  static constexpr int kEach = 16 / sizeof(T);  // of a lane
  static constexpr int kKeys = 8;               // of a lane
  uint4 key[kKeys], value[kKeys];

  // Of keys that lie at row `row` of lane `key`.   from: at the lane's channels of the part
  static __device__ __forceinline__ void load(uint4 (&to)[kKeys], const T* from, int row,
                                              int row_bytes, bool given) {
    const int group = threadIdx.x % kWarp / 8;
#pragma unroll
    for (int i = 0; i < kKeys; ++i) {
      const char* at = reinterpret_cast<const char*>(from) +
                       int64_t{__shfl_sync(~0u, row, 4 * i + group)} * row_bytes;
      to[i] = make_uint4(0, 0, 0, 0);
      if (given) to[i] = __ldcg(reinterpret_cast<const uint4*>(at));
    }
  }
  // query: the lane's channels
  __device__ __forceinline__ void add_products(float (&sum)[kKeys], const float* query) const {
    float q[kEach];
#pragma unroll
    for (int i = 0; i < kEach / 4; ++i) {
      const float4 four = reinterpret_cast<const float4*>(query)[i];
      q[4 * i] = four.x, q[4 * i + 1] = four.y, q[4 * i + 2] = four.z, q[4 * i + 3] = four.w;
    }
#pragma unroll
    for (int n = 0; n < kKeys; ++n) {
      float channels[kEach];
      unpack(channels, key[n]);
#pragma unroll
      for (int i = 0; i < kEach; ++i) sum[n] = fmaf(q[i], channels[i], sum[n]);
    }
  }
  // The sum over the lane's keys of its channels of the values, times the weight of the key, which
  // lane 8 (l / 8) + n has for key number n of lane l.
  __device__ __forceinline__ void add_weighted(float (&sum)[kEach], float weight) const {
    const int first = threadIdx.x % kWarp & 24;
#pragma unroll
    for (int n = 0; n < kKeys; ++n) {
      const float w = __shfl_sync(~0u, weight, first + n);
      float channels[kEach];
      unpack(channels, value[n]);
#pragma unroll
      for (int i = 0; i < kEach; ++i) sum[i] = fmaf(w, channels[i], sum[i]);
    }
  }

 private:
  static __device__ __forceinline__ void unpack(float (&to)[kEach], const uint4& packed) {
    const uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(T) == 4) {
        to[i] = __uint_as_float(words[i]);
      } else {
        to[2 * i] = __uint_as_float(words[i] << 16);
        to[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
      }
    }
  }
};

// Halves the numbers of a lane: those of the lanes whose number has bit `apart` and those of the
// others are added up, and a lane keeps the upper half of the sums if it has the bit.
template <int kCount>
__device__ __forceinline__ void halve(float (&x)[kCount], int count, int apart) {
  const bool upper = threadIdx.x & apart;
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) {
    if (i >= count / 2) break;
    const float keep = upper ? x[i + count / 2] : x[i], give = upper ? x[i] : x[i + count / 2];
    x[i] = keep + __shfl_xor_sync(~0u, give, apart);
  }
}

// Where the cached tokens of a sequence lie.
struct CachedTokens {
  const int32_t* blocks;  // of the sequence
  int shift;              // a block has 2^shift tokens

  // Of a position, in tokens of the cache.
  __device__ __forceinline__ int row(int position) const {
    return (__ldg(blocks + (position >> shift)) << shift) + (position & ((1 << shift) - 1));
  }
};
__device__ __forceinline__ CachedTokens cached_tokens(const TransformerDecode& decode, int s) {
  return {decode.block_table + s * decode.max_blocks, decode.block_shift};
}

}  // namespace llm::cuda
