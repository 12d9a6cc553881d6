#include <algorithm>

#include "cpu_ref/linear.h"
#include "cpu_ref/threads.h"

#ifdef LLM_HAVE_OPENBLAS
#include <cblas.h>
#endif

namespace llm::cpu_ref {

#ifdef LLM_HAVE_OPENBLAS
namespace {

// Each of our threads calls OpenBLAS for its part of the result (the backend tells OpenBLAS to use
// one thread per call). Threads of its own beside those of OpenMP would fight for the same cores.
// Parts start at multiples of this many rows or columns, so that no tile of a kernel is cut.
constexpr int64_t kTile = 48;
constexpr int64_t kProductGrain = 1 << 16;  // multiply-adds that are worth a thread

int useful_threads(int64_t products, int threads) {
  return static_cast<int>(std::clamp<int64_t>(products / kProductGrain, 1, threads));
}

template <typename Body>
void parallel_tiles(int64_t count, int threads, const Body& body) {
  const int64_t tiles = (count + kTile - 1) / kTile;
  parallel_ranges(tiles, threads, 1, [&](int64_t begin, int64_t end) {
    body(begin * kTile, std::min(count, end * kTile));
  });
}

int size(int64_t value) { return static_cast<int>(value); }

}  // namespace

void linear_forward_fast(float* y, const float* x, const float* weight, const float* bias,
                         int64_t rows, int64_t in, int64_t out, int threads) {
  const auto part = [&](int64_t row, int64_t row_count, int64_t column, int64_t column_count) {
    if (bias) {
      for (int64_t r = row; r < row + row_count; ++r) {
        std::copy_n(bias + column, column_count, y + r * out + column);
      }
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, size(row_count), size(column_count),
                size(in), 1.0f, x + row * in, size(in), weight + column * in, size(in),
                bias ? 1.0f : 0.0f, y + row * out + column, size(out));
  };
  const int used = useful_threads(rows * in * out, threads);
  if (rows >= out) {
    parallel_tiles(rows, used,
                   [&](int64_t begin, int64_t end) { part(begin, end - begin, 0, out); });
  } else {
    parallel_tiles(out, used,
                   [&](int64_t begin, int64_t end) { part(0, rows, begin, end - begin); });
  }
}

void linear_backward_input_fast(float* dx, const float* dy, const float* weight, int64_t rows,
                                int64_t in, int64_t out, bool accumulate, int threads) {
  const auto part = [&](int64_t row, int64_t row_count, int64_t column, int64_t column_count) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size(row_count), size(column_count),
                size(out), 1.0f, dy + row * out, size(out), weight + column, size(in),
                accumulate ? 1.0f : 0.0f, dx + row * in + column, size(in));
  };
  const int used = useful_threads(rows * in * out, threads);
  if (rows >= in) {
    parallel_tiles(rows, used,
                   [&](int64_t begin, int64_t end) { part(begin, end - begin, 0, in); });
  } else {
    parallel_tiles(in, used,
                   [&](int64_t begin, int64_t end) { part(0, rows, begin, end - begin); });
  }
}

void linear_backward_weight_fast(float* dweight, const float* dy, const float* x, int64_t rows,
                                 int64_t in, int64_t out, int threads) {
  parallel_tiles(out, useful_threads(rows * in * out, threads), [&](int64_t begin, int64_t end) {
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, size(end - begin), size(in), size(rows),
                1.0f, dy + begin, size(out), x, size(in), 1.0f, dweight + begin * in, size(in));
  });
}

#else

void linear_forward_fast(float* y, const float* x, const float* weight, const float* bias,
                         int64_t rows, int64_t in, int64_t out, int threads) {
  linear_forward(y, x, weight, bias, rows, in, out, threads);
}

void linear_backward_input_fast(float* dx, const float* dy, const float* weight, int64_t rows,
                                int64_t in, int64_t out, bool accumulate, int threads) {
  linear_backward_input(dx, dy, weight, rows, in, out, accumulate, threads);
}

void linear_backward_weight_fast(float* dweight, const float* dy, const float* x, int64_t rows,
                                 int64_t in, int64_t out, int threads) {
  linear_backward_weight(dweight, dy, x, rows, in, out, threads);
}

#endif

void linear_backward_bias_fast(float* dbias, const float* dy, int64_t rows, int64_t out,
                               int threads) {
  // A thread owns columns and walks the rows, adding whole vectors.
  parallel_ranges(out, threads, rows_per_thread(rows), [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t o = begin; o < end; ++o) dbias[o] += dy[row * out + o];
    }
  });
}

}  // namespace llm::cpu_ref
