#include "cpu_ref/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "cpu_ref/threads.h"

namespace llm::cpu_ref {
namespace {

double log_sum_exp(const float* logits, int64_t vocab) {
  const double top = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (int64_t v = 0; v < vocab; ++v) sum += std::exp(logits[v] - top);
  return top + std::log(sum);
}

}  // namespace

void cross_entropy_forward(float* losses, const float* logits, const int32_t* targets, int64_t rows,
                           int64_t vocab, int64_t padded, Threads threads) {
  parallel_ranges(rows, threads, rows_per_thread(vocab), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* logit = logits + row * padded;
      losses[row] = targets[row] == kIgnoredTarget
                        ? 0.0f
                        : static_cast<float>(log_sum_exp(logit, vocab) - logit[targets[row]]);
    }
  });
}

void cross_entropy_backward(float* dlogits, const float* logits, const int32_t* targets,
                            int64_t rows, int64_t vocab, int64_t padded, float gradient_scale,
                            Threads threads) {
  parallel_ranges(rows, threads, rows_per_thread(vocab), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* logit = logits + row * padded;
      float* dlogit = dlogits + row * padded;
      if (targets[row] == kIgnoredTarget) {
        std::fill(dlogit, dlogit + padded, 0.0f);
        continue;
      }
      const double lse = log_sum_exp(logit, vocab);
      for (int64_t v = 0; v < vocab; ++v) {
        const double probability = std::exp(logit[v] - lse);
        dlogit[v] = static_cast<float>((probability - (v == targets[row])) * gradient_scale);
      }
      std::fill(dlogit + vocab, dlogit + padded, 0.0f);
    }
  });
}

}  // namespace llm::cpu_ref
