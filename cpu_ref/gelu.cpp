#include "cpu_ref/gelu.h"

#include <cmath>

#include "cpu_ref/threads.h"

namespace llm::cpu_ref {
namespace {

constexpr double kSqrt2OverPi = 0.79788456080286535588;
constexpr double kCubic = 0.044715;

}  // namespace

void gelu_forward(float* y, const float* x, int64_t count, Threads threads) {
  parallel_ranges(count, threads, kGrainElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double v = x[i];
      y[i] = static_cast<float>(0.5 * v * (1 + std::tanh(kSqrt2OverPi * (v + kCubic * v * v * v))));
    }
  });
}

void gelu_backward(float* dx, const float* dy, const float* x, int64_t count, Threads threads) {
  parallel_ranges(count, threads, kGrainElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double v = x[i];
      const double t = std::tanh(kSqrt2OverPi * (v + kCubic * v * v * v));
      const double slope = kSqrt2OverPi * (1 + 3 * kCubic * v * v);
      dx[i] = static_cast<float>(dy[i] * (0.5 * (1 + t) + 0.5 * v * (1 - t * t) * slope));
    }
  });
}

}  // namespace llm::cpu_ref
