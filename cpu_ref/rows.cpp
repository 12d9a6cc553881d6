#include "cpu_ref/rows.h"

#include <algorithm>

#include "cpu_ref/threads.h"

namespace llm::cpu_ref {

void scale_rows(float* y, const float* factors, int64_t rows, int64_t columns, Threads threads) {
  parallel_ranges(rows * columns, threads, kGrainElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] *= factors[i / columns];
  });
}

void zero_other_columns(float* x, int64_t rows, int64_t columns, int64_t begin, int64_t width,
                        Threads threads) {
  parallel_ranges(rows * columns, threads, kGrainElements, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t column = i % columns;
      if (column < begin || column >= begin + width) x[i] = 0;
    }
  });
}

void pool_forward(float* y, const float* x, const int32_t* begin, const int32_t* end, int64_t batch,
                  int64_t length, int64_t channels, Threads threads) {
  const int64_t grain = std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, length));
  parallel_ranges(batch * channels, threads, grain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t b = i / channels, c = i % channels;
      double sum = 0;
      for (int64_t t = begin[b]; t < end[b]; ++t) sum += x[(b * length + t) * channels + c];
      y[i] = end[b] > begin[b] ? static_cast<float>(sum / (end[b] - begin[b])) : 0.0f;
    }
  });
}

void pool_backward(float* dx, const float* dy, const int32_t* begin, const int32_t* end,
                   int64_t batch, int64_t length, int64_t channels, Threads threads) {
  parallel_ranges(batch * length * channels, threads, kGrainElements,
                  [&](int64_t first, int64_t last) {
                    for (int64_t i = first; i < last; ++i) {
                      const int64_t b = i / channels / length, t = i / channels % length;
                      const bool inside = t >= begin[b] && t < end[b];
                      const auto count = static_cast<float>(end[b] - begin[b]);
                      dx[i] = inside ? dy[b * channels + i % channels] / count : 0.0f;
                    }
                  });
}

}  // namespace llm::cpu_ref
