// GELU in its tanh form as a function of one number; see gelu.cu for the arithmetic.
#pragma once

#include "cuda/common.cuh"

namespace llm::cuda {

constexpr float kSqrt2OverPi = 0.797884560802865356f;
constexpr float kCubic = 0.044715f;
// exp(-2u) = 2^(x (kLinearExponent + kCubicExponent x^2))
constexpr float kLinearExponent =
    static_cast<float>(-2 * 0.797884560802865356 * 1.44269504088896341);
constexpr float kCubicExponent =
    static_cast<float>(-2 * 0.797884560802865356 * 0.044715 * 1.44269504088896341);

// 1/t; as with exp2_fast a subnormal result becomes 0, which no caller can tell from the truth in a
// sum with 1.
__device__ __forceinline__ float reciprocal_approximate(float t) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(t));
  return result;
}

__device__ __forceinline__ float gelu(float x) {
  const float exponent = x * fmaf(kCubicExponent, x * x, kLinearExponent);
  return x * reciprocal_approximate(1 + exp2_fast(exponent));
}

}  // namespace llm::cuda
