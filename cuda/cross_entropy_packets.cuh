// What the kernels of cross_entropy.cu do with a row: exponentials, their sum over a block, the
// loss and the gradient.
//
// All exponents are to base 2, "shift" is what a part of a row subtracts from them:
//   e^x = 2^(x log2(e) - shift) 2^shift
// is one multiply-add (which rounds once, so that large logits lose nothing) and one instruction of
// the special unit. Each thread subtracts its own largest exponent; sums with different shifts are
// scaled to a common one before they are added.
#pragma once

#include "cuda/packet.cuh"

namespace llm::cuda {

constexpr int32_t kIgnoredTarget = -100;
// Where maxima start: finite, so that the difference of two is never inf - inf.
constexpr float kLowestLogit = -1e38f;

struct CrossEntropy {
  float* losses;
  void* dlogits;
  const void* logits;
  const int32_t* targets;
  const float* gradient_scale;
  int64_t rows;
  int vocab, padded;
};

__device__ __forceinline__ float exp_shifted(float logit, float shift) {
  return exp2_fast(fmaf(logit, kLog2E, -shift));
}

template <typename T>
__device__ __forceinline__ float top_of(const FullPacket<T>& x) {
  if constexpr (sizeof(T) == 4) {
    return fmaxf(fmaxf(x[0], x[1]), fmaxf(x[2], x[3]));
  } else {
    const __nv_bfloat162* pairs = reinterpret_cast<const __nv_bfloat162*>(x.words);
    const __nv_bfloat162 top = __hmax2(__hmax2(pairs[0], pairs[1]), __hmax2(pairs[2], pairs[3]));
    return fmaxf(__low2float(top), __high2float(top));
  }
}

// The packet at `column`, where columns from `vocab` on become -inf.
template <typename T>
__device__ __forceinline__ FullPacket<T> without_padding(const FullPacket<T>& x, int column,
                                                         int vocab) {
  constexpr int kSize = Vector<T>::kSize;
  if (column + kSize <= vocab) return x;
  float values[kSize];
#pragma unroll
  for (int i = 0; i < kSize; ++i) values[i] = column + i < vocab ? x[i] : -INFINITY;
  return pack<T>(values);
}

// Added pair by pair.
template <typename T>
__device__ __forceinline__ float sum_of_exponentials(const FullPacket<T>& x, float shift) {
  constexpr int kSize = Vector<T>::kSize;
  float sums[kSize];
#pragma unroll
  for (int i = 0; i < kSize; ++i) sums[i] = exp_shifted(x[i], shift);
#pragma unroll
  for (int half = kSize / 2; half > 0; half /= 2) {
#pragma unroll
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

// A sum of exponentials is sum * 2^shift.
struct ShiftedSum {
  float shift, sum;
};

__device__ __forceinline__ ShiftedSum warp_total(const ShiftedSum& part) {
  const float shift = warp_max(part.shift);
  return {shift, warp_sum(part.sum * exp2_fast(part.shift - shift))};
}

// Of all threads, for every thread, which all have read the row before any writes to it behind the
// call. `shared`: one per warp.
template <int kThreads>
__device__ __forceinline__ ShiftedSum block_total(const ShiftedSum& part, ShiftedSum* shared) {
  constexpr int kWarps = kThreads / kWarp;
  const ShiftedSum warp = warp_total(part);
  if (kWarps == 1) {
    __syncwarp();
    return warp;
  }
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = warp;
  __syncthreads();
  const int lane = threadIdx.x % kWarp;
  return warp_total(lane < kWarps ? shared[lane] : ShiftedSum{kLowestLogit * kLog2E, 0});
}

// log(sum of e^logit) - target_logit. The target's exponent is taken with the same factor as the
// others: the rounding of log2(e) cancels.
__device__ __forceinline__ float row_loss(const ShiftedSum& total, float target_logit) {
  constexpr double kLn2 = 0.69314718055994531;
  const double exponent = total.shift - static_cast<double>(target_logit) * kLog2E;
  return static_cast<float>(kLn2 * (exponent + log2(static_cast<double>(total.sum))));
}

// Makes a row's gradient from its logits.
struct RowGradient {
  float factor;  // gradient_scale / sum
  float shift;
  float scale;
  int target, vocab;

  __device__ __forceinline__ float at(float logit, int column) const {
    if (column >= vocab) return 0;  // also where the row is NaN
    const float value = exp_shifted(logit, shift) * factor;
    return column == target ? value - scale : value;
  }
  template <typename T>
  __device__ __forceinline__ FullPacket<T> at(const FullPacket<T>& x, int column) const {
    constexpr int kSize = Vector<T>::kSize;
    float values[kSize];
    if (column + kSize > vocab || static_cast<unsigned>(target - column) < kSize) {
#pragma unroll
      for (int i = 0; i < kSize; ++i) values[i] = at(x[i], column + i);
    } else {
#pragma unroll
      for (int i = 0; i < kSize; ++i) values[i] = exp_shifted(x[i], shift) * factor;
    }
    return pack<T>(values);
  }
};

}  // namespace llm::cuda
