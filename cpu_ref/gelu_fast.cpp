#include "cpu_ref/gelu.h"
#include "cpu_ref/threads.h"
#include "cpu_ref/vector_math.h"

namespace llm::cpu_ref {
namespace {

constexpr float kTwiceSqrt2OverPi = 1.59576912160573071f;
constexpr float kCubicF = 0.044715f;

// 0.5 (1 + tanh(u)) = 1 / (1 + e^(-2u)), so that one exponential and one division do.
Floats decay_of(Floats x) { return exp(-kTwiceSqrt2OverPi * (x + kCubicF * (x * x * x))); }

Floats gelu(Floats x) { return x / (1.0f + decay_of(x)); }

// With s = 1 / (1 + e): d/dx (x s) = s + x s (1 - s) 2u', and s (1 - s) = e s^2 loses no digits.
Floats gelu_slope(Floats x) {
  const Floats e = decay_of(x);
  const Floats s = 1.0f / (1.0f + e);
  return s + x * (e * s * s) * (kTwiceSqrt2OverPi * (1.0f + 3 * kCubicF * (x * x)));
}

}  // namespace

void gelu_forward_range(float* y, const float* x, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, gelu(load(x + i)));
  if (i < count) store_part(y + i, gelu(load_part(x + i, count - i)), count - i);
}

void gelu_forward_fast(float* y, const float* x, int64_t count, Threads threads) {
  parallel_ranges(count, threads, kGrainElements, [&](int64_t begin, int64_t end) {
    gelu_forward_range(y + begin, x + begin, end - begin);
  });
}

void gelu_backward_fast(float* dx, const float* dy, const float* x, int64_t count,
                        Threads threads) {
  parallel_ranges(count, threads, kGrainElements, [&](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      store(dx + i, load(dy + i) * gelu_slope(load(x + i)));
    }
    if (i < end) {
      const int64_t rest = end - i;
      store_part(dx + i, load_part(dy + i, rest) * gelu_slope(load_part(x + i, rest)), rest);
    }
  });
}

}  // namespace llm::cpu_ref
