// Softmax over keys that come in parts, with the weighted sum of their values (online softmax).
// A group of lanes has a key or a value together, kChannels channels in each lane.
#pragma once

#include <cfloat>

#include "cuda/common.cuh"

namespace llm::cuda {

constexpr int kChannels = 8;  // of a lane

__device__ __forceinline__ float exp_of(float x) { return exp2f(x * kLog2E); }

// The softmax over a part of the keys, before it is divided by `total`.
struct Partial {
  float top = -FLT_MAX, total = 0;
  float sum[kChannels] = {};

  // To a maximum that is not below the present one.
  __device__ __forceinline__ void raise(float to) {
    const float factor = exp_of(top - to);
    top = to;
    total *= factor;
#pragma unroll
    for (float& x : sum) x *= factor;
  }
  __device__ __forceinline__ void add(float score, const float (&value)[kChannels]) {
    const float weight = exp_of(score - top);
    total += weight;
#pragma unroll
    for (int i = 0; i < kChannels; ++i) sum[i] += weight * value[i];
  }
  __device__ __forceinline__ void merge(Partial other) {
    const float both = fmaxf(top, other.top);
    raise(both);
    other.raise(both);
    total += other.total;
#pragma unroll
    for (int i = 0; i < kChannels; ++i) sum[i] += other.sum[i];
  }
};

template <int kLanes>
__device__ __forceinline__ float group_sum(float x) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(~0u, x, offset);
  return x;
}

// The groups of a warp become one, in every group.
template <int kLanes>
__device__ __forceinline__ void merge_warp(Partial& partial) {
#pragma unroll
  for (int offset = kLanes; offset < kWarp; offset *= 2) {
    Partial other;
    other.top = __shfl_xor_sync(~0u, partial.top, offset);
    other.total = __shfl_xor_sync(~0u, partial.total, offset);
#pragma unroll
    for (int i = 0; i < kChannels; ++i) {
      other.sum[i] = __shfl_xor_sync(~0u, partial.sum[i], offset);
    }
    partial.merge(other);
  }
}

}  // namespace llm::cuda
