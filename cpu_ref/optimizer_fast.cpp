#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "backend/dtype.h"
#include "cpu_ref/optimizer.h"
#include "cpu_ref/threads.h"
#include "cpu_ref/vector_math.h"

namespace llm::cpu_ref {
namespace {

constexpr int64_t kFastSumBlock = 16384;
typedef float HalfFloats __attribute__((vector_size(16)));
typedef double Doubles __attribute__((vector_size(32)));
constexpr int64_t kDoubles = 4;  // lanes

double block_sum_of_squares(const float* x, int64_t count) {
  constexpr int kSums = 4;  // independent sums hide the latency of an addition
  Doubles sum[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kDoubles <= count; i += kSums * kDoubles) {
    for (int n = 0; n < kSums; ++n) {
      HalfFloats part;
      std::memcpy(&part, x + i + n * kDoubles, sizeof part);
      const Doubles value = __builtin_convertvector(part, Doubles);
      sum[n] += value * value;
    }
  }
  const Doubles lanes = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  double total = 0;
  for (int lane = 0; lane < kDoubles; ++lane) total += lanes[lane];
  for (; i < count; ++i) total += static_cast<double>(x[i]) * x[i];
  return total;
}

// The numbers of a step as the inner loop uses them.
struct StepFactors {
  explicit StepFactors(const AdamWStep& step)
      : keep1(step.beta1),
        keep2(step.beta2),
        take1(static_cast<float>(1 - static_cast<double>(step.beta1))),
        take2(static_cast<float>(1 - static_cast<double>(step.beta2))),
        inverse1(static_cast<float>(1 / (1 - std::pow(double{step.beta1}, step.updates)))),
        inverse2(static_cast<float>(1 / (1 - std::pow(double{step.beta2}, step.updates)))),
        gradient_scale(step.gradient_scale),
        learning_rate(step.learning_rate),
        epsilon(step.epsilon) {}
  float keep1, keep2, take1, take2, inverse1, inverse2, gradient_scale, learning_rate, epsilon;
};

Floats square_root(Floats x) {
  Floats result;
  for (int i = 0; i < kLanes; ++i) result[i] = std::sqrt(x[i]);
  return result;
}

void update_lanes(float* params, float* m, float* v, const float* grads, float decay,
                  const StepFactors& factors) {
  const Floats g = load(grads) * factors.gradient_scale;
  const Floats first = load(m) * factors.keep1 + g * factors.take1;
  const Floats second = load(v) * factors.keep2 + g * g * factors.take2;
  const Floats old = load(params);
  const Floats direction =
      first * factors.inverse1 / (square_root(second * factors.inverse2) + factors.epsilon);
  store(m, first);
  store(v, second);
  store(params, old - factors.learning_rate * (direction + decay * old));
}

void update_chunk(float* params, float* m, float* v, const float* grads, int64_t count, float decay,
                  const StepFactors& factors) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    update_lanes(params + i, m + i, v + i, grads + i, decay, factors);
  }
  if (i == count) return;
  const int64_t rest = count - i;
  float tail[4][kLanes] = {};
  std::copy_n(params + i, rest, tail[0]);
  std::copy_n(m + i, rest, tail[1]);
  std::copy_n(v + i, rest, tail[2]);
  std::copy_n(grads + i, rest, tail[3]);
  update_lanes(tail[0], tail[1], tail[2], tail[3], decay, factors);
  std::copy_n(tail[0], rest, params + i);
  std::copy_n(tail[1], rest, m + i);
  std::copy_n(tail[2], rest, v + i);
}

}  // namespace

double sum_of_squares_fast(const float* x, int64_t count, Threads threads) {
  const int64_t blocks = (count + kFastSumBlock - 1) / kFastSumBlock;
  std::vector<double> partial(static_cast<size_t>(blocks));
  parallel_ranges(blocks, threads, 4, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t at = block * kFastSumBlock;
      partial[static_cast<size_t>(block)] =
          block_sum_of_squares(x + at, std::min(kFastSumBlock, count - at));
    }
  });
  double total = 0;
  for (double value : partial) total += value;
  return total;
}

void adamw_update_fast(float* params, uint16_t* low, float* m, float* v, const float* grads,
                       const float* chunk_decay, int64_t count, int64_t chunk,
                       const AdamWStep& step, Threads threads) {
  const StepFactors factors(step);
  const int64_t chunks = (count + chunk - 1) / chunk;
  parallel_ranges(chunks, threads, rows_per_thread(chunk), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      if (chunk_decay[n] < 0) continue;
      const int64_t at = n * chunk, size = std::min(chunk, count - at);
      update_chunk(params + at, m + at, v + at, grads + at, size, chunk_decay[n], factors);
      if (!low) continue;
      for (int64_t i = at; i < at + size; ++i) low[i] = f32_to_bf16(params[i]);
    }
  });
}

}  // namespace llm::cpu_ref
