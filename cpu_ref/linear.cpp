#include "cpu_ref/linear.h"

#include "cpu_ref/threads.h"

namespace llm::cpu_ref {

void linear_forward(float* y, const float* x, const float* weight, const float* bias, int64_t rows,
                    int64_t in, int64_t out, Threads threads) {
  parallel_ranges(rows * out, threads, rows_per_thread(in), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* a = x + i / out * in;
      const float* b = weight + i % out * in;
      double sum = bias ? bias[i % out] : 0.0;
      for (int64_t c = 0; c < in; ++c) sum += static_cast<double>(a[c]) * b[c];
      y[i] = static_cast<float>(sum);
    }
  });
}

void linear_backward_input(float* dx, const float* dy, const float* weight, int64_t rows,
                           int64_t in, int64_t out, bool accumulate, Threads threads) {
  parallel_ranges(rows * in, threads, rows_per_thread(out), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / in, c = i % in;
      double sum = accumulate ? dx[i] : 0.0;
      for (int64_t o = 0; o < out; ++o) {
        sum += static_cast<double>(dy[row * out + o]) * weight[o * in + c];
      }
      dx[i] = static_cast<float>(sum);
    }
  });
}

void linear_backward_weight(float* dweight, const float* dy, const float* x, int64_t rows,
                            int64_t in, int64_t out, Threads threads) {
  parallel_ranges(out * in, threads, rows_per_thread(rows), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t o = i / in, c = i % in;
      double sum = dweight[i];
      for (int64_t row = 0; row < rows; ++row) {
        sum += static_cast<double>(dy[row * out + o]) * x[row * in + c];
      }
      dweight[i] = static_cast<float>(sum);
    }
  });
}

void linear_backward_bias(float* dbias, const float* dy, int64_t rows, int64_t out,
                          Threads threads) {
  parallel_ranges(out, threads, rows_per_thread(rows), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      double sum = dbias[o];
      for (int64_t row = 0; row < rows; ++row) sum += dy[row * out + o];
      dbias[o] = static_cast<float>(sum);
    }
  });
}

}  // namespace llm::cpu_ref
