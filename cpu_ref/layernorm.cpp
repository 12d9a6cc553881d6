#include "cpu_ref/layernorm.h"

#include <cmath>

#include "cpu_ref/threads.h"

namespace llm::cpu_ref {
namespace {

void forward_row(float* y, float* mean, float* rstd, const float* x, const float* weight,
                 const float* bias, int64_t channels, float epsilon) {
  double sum = 0;
  for (int64_t c = 0; c < channels; ++c) sum += x[c];
  const double average = sum / static_cast<double>(channels);
  double squares = 0;
  for (int64_t c = 0; c < channels; ++c) squares += (x[c] - average) * (x[c] - average);
  const double variance = squares / static_cast<double>(channels);
  const double scale = 1.0 / std::sqrt(variance + epsilon);
  for (int64_t c = 0; c < channels; ++c) {
    y[c] = static_cast<float>((x[c] - average) * scale * weight[c] + (bias ? bias[c] : 0.0f));
  }
  if (mean) *mean = static_cast<float>(average);
  if (rstd) *rstd = static_cast<float>(scale);
}

// With n = (x - mean) rstd and g = dy weight: dx = rstd (g - mean(g) - n mean(g n)).
void backward_row(float* dx, const float* dy, const float* x, double mean, double rstd,
                  const float* weight, int64_t channels, bool accumulate) {
  double sum = 0, sum_normed = 0;
  for (int64_t c = 0; c < channels; ++c) {
    const double g = static_cast<double>(dy[c]) * weight[c];
    sum += g;
    sum_normed += g * (x[c] - mean) * rstd;
  }
  const double average = sum / static_cast<double>(channels);
  const double average_normed = sum_normed / static_cast<double>(channels);
  for (int64_t c = 0; c < channels; ++c) {
    const double g = static_cast<double>(dy[c]) * weight[c];
    const double value = rstd * (g - average - (x[c] - mean) * rstd * average_normed);
    dx[c] = static_cast<float>(accumulate ? dx[c] + value : value);
  }
}

}  // namespace

void layernorm_forward(float* y, float* mean, float* rstd, const float* x, const float* weight,
                       const float* bias, int64_t rows, int64_t channels, float epsilon,
                       Threads threads) {
  parallel_ranges(rows, threads, rows_per_thread(channels), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      forward_row(y + row * channels, mean ? mean + row : nullptr, rstd ? rstd + row : nullptr,
                  x + row * channels, weight, bias, channels, epsilon);
    }
  });
}

void layernorm_backward(float* dx, float* dweight, float* dbias, const float* dy, const float* x,
                        const float* mean, const float* rstd, const float* weight, int64_t rows,
                        int64_t channels, bool accumulate, Threads threads) {
  // The gradients of the parameters first: dx may overwrite dy. A thread owns columns, so that the
  // order of each sum is the order of the rows.
  if (dweight || dbias) {
    parallel_ranges(channels, threads, rows_per_thread(rows), [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        double sum_weight = 0, sum_bias = 0;
        for (int64_t row = 0; row < rows; ++row) {
          const double g = dy[row * channels + c];
          sum_weight += g * (static_cast<double>(x[row * channels + c]) - mean[row]) * rstd[row];
          sum_bias += g;
        }
        if (dweight) dweight[c] = static_cast<float>(dweight[c] + sum_weight);
        if (dbias) dbias[c] = static_cast<float>(dbias[c] + sum_bias);
      }
    });
  }
  if (!dx) return;
  parallel_ranges(rows, threads, rows_per_thread(channels), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      backward_row(dx + row * channels, dy + row * channels, x + row * channels, mean[row],
                   rstd[row], weight, channels, accumulate);
    }
  });
}

}  // namespace llm::cpu_ref
