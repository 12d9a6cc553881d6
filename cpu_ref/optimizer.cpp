#include "cpu_ref/optimizer.h"

#include <cmath>
#include <vector>

#include "backend/dtype.h"
#include "cpu_ref/threads.h"

namespace llm::cpu_ref {
namespace {

constexpr int64_t kSumBlock = 16384;

template <typename Term>
double sum_of(const float* x, int64_t count, Threads threads, const Term& term) {
  const int64_t blocks = (count + kSumBlock - 1) / kSumBlock;
  std::vector<double> partial(static_cast<size_t>(blocks));
  parallel_ranges(blocks, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t stop = std::min(count, (block + 1) * kSumBlock);
      double total = 0;
      for (int64_t i = block * kSumBlock; i < stop; ++i) total += term(static_cast<double>(x[i]));
      partial[static_cast<size_t>(block)] = total;
    }
  });
  double total = 0;
  for (double value : partial) total += value;
  return total;
}

}  // namespace

double sum(const float* x, int64_t count, Threads threads) {
  return sum_of(x, count, threads, [](double value) { return value; });
}

double sum_of_squares(const float* x, int64_t count, Threads threads) {
  return sum_of(x, count, threads, [](double value) { return value * value; });
}

void adamw_update(float* params, uint16_t* low, float* m, float* v, const float* grads,
                  const float* chunk_decay, int64_t count, int64_t chunk, const AdamWStep& step,
                  Threads threads) {
  const double beta1 = step.beta1, beta2 = step.beta2, rate = step.learning_rate;
  const double correction1 = 1 - std::pow(beta1, step.updates);
  const double correction2 = 1 - std::pow(beta2, step.updates);
  parallel_ranges(count, threads, kGrainElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double decay = chunk_decay[i / chunk];
      if (decay < 0) continue;
      const double g = static_cast<double>(grads[i]) * step.gradient_scale;
      m[i] = static_cast<float>(beta1 * m[i] + (1 - beta1) * g);
      v[i] = static_cast<float>(beta2 * v[i] + (1 - beta2) * g * g);
      const double direction = m[i] / correction1 / (std::sqrt(v[i] / correction2) + step.epsilon);
      params[i] = static_cast<float>(params[i] - rate * (direction + decay * params[i]));
      if (low) low[i] = f32_to_bf16(params[i]);
    }
  });
}

}  // namespace llm::cpu_ref
