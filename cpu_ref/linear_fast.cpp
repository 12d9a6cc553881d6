#include <algorithm>

#include "cpu_ref/gelu.h"
#include "cpu_ref/linear.h"
#include "cpu_ref/threads.h"
#include "cpu_ref/vector_math.h"

#ifdef LLM_HAVE_OPENBLAS
#include <cblas.h>
#endif

namespace llm::cpu_ref {
namespace {

// A rectangle of the result.
struct Part {
  int64_t row, rows, column, columns;
};

// --- Few rows: every weight is read once, so the product is as fast as the memory

constexpr int64_t kFewRows = 8;   // more are faster by OpenBLAS
constexpr int64_t kRowGroup = 4;  // rows at a time

// y[r, column] for kRows rows and one column: dot products that share the weight's row.
template <int kRows>
void few_rows_column(float* y, const float* x, const float* weight, float bias, int64_t in,
                     int64_t out) {
  Floats sum[kRows][2] = {};
  int64_t c = 0;
  for (; c + 2 * kLanes <= in; c += 2 * kLanes) {
    const Floats first = load(weight + c), second = load(weight + c + kLanes);
    for (int r = 0; r < kRows; ++r) {
      sum[r][0] += first * load(x + r * in + c);
      sum[r][1] += second * load(x + r * in + c + kLanes);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    float total = sum_lanes(sum[r][0] + sum[r][1]);
    for (int64_t i = c; i < in; ++i) total += weight[i] * x[r * in + i];
    y[r * out] = total + bias;
  }
}

void few_rows_forward(float* y, const float* x, const float* weight, const float* bias, int64_t in,
                      int64_t out, const Part& part) {
  using Body = void (*)(float*, const float*, const float*, float, int64_t, int64_t);
  constexpr Body kBodies[kRowGroup] = {few_rows_column<1>, few_rows_column<2>, few_rows_column<3>,
                                       few_rows_column<4>};
  for (int64_t o = part.column; o < part.column + part.columns; ++o) {
    for (int64_t row = part.row; row < part.row + part.rows; row += kRowGroup) {
      const Body body = kBodies[std::min(kRowGroup, part.row + part.rows - row) - 1];
      body(y + row * out + o, x + row * in, weight + o * in, bias ? bias[o] : 0.0f, in, out);
    }
  }
}

// --- Many rows: OpenBLAS. Each of our threads calls it for its part of the result (the backend
// tells it to use one thread per call): threads of its own beside ours would fight for
// the same cores.

// Parts start at multiples of this many rows or columns, so that no tile of a kernel is cut.
constexpr int64_t kTile = 48;

// Splits a (rows, columns) result along its longer side.
template <typename Body>
void parallel_parts(int64_t rows, int64_t columns, int64_t depth, Threads threads,
                    const Body& body) {
  if (rows == 0 || columns == 0) return;
  const int64_t length = std::max(rows, columns);
  const int64_t tiles = (length + kTile - 1) / kTile;
  parallel_ranges(tiles, threads_for_products(rows * columns * depth, threads), 1,
                  [&](int64_t begin, int64_t end) {
                    const int64_t at = begin * kTile, count = std::min(length, end * kTile) - at;
                    body(rows >= columns ? Part{at, count, 0, columns} : Part{0, rows, at, count});
                  });
}

#ifdef LLM_HAVE_OPENBLAS

int size(int64_t value) { return static_cast<int>(value); }

void many_rows_forward(float* y, const float* x, const float* weight, const float* bias, int64_t in,
                       int64_t out, const Part& part) {
  if (bias) {
    for (int64_t r = part.row; r < part.row + part.rows; ++r) {
      std::copy_n(bias + part.column, part.columns, y + r * out + part.column);
    }
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, size(part.rows), size(part.columns),
              size(in), 1.0f, x + part.row * in, size(in), weight + part.column * in, size(in),
              bias ? 1.0f : 0.0f, y + part.row * out + part.column, size(out));
}

#else

void many_rows_forward(float* y, const float* x, const float* weight, const float* bias, int64_t in,
                       int64_t out, const Part& part) {
  few_rows_forward(y, x, weight, bias, in, out, part);
}

#endif

void forward_part(float* y, const float* x, const float* weight, const float* bias, int64_t in,
                  int64_t out, const Part& part) {
  (part.rows <= kFewRows ? few_rows_forward : many_rows_forward)(y, x, weight, bias, in, out, part);
}

}  // namespace

void linear_forward_fast(float* y, const float* x, const float* weight, const float* bias,
                         int64_t rows, int64_t in, int64_t out, Threads threads) {
  parallel_parts(rows, out, in, threads,
                 [&](const Part& part) { forward_part(y, x, weight, bias, in, out, part); });
}

void linear_gelu_forward_fast(float* y, float* pre, const float* x, const float* weight,
                              const float* bias, int64_t rows, int64_t in, int64_t out,
                              Threads threads) {
  float* before = pre ? pre : y;
  parallel_parts(rows, out, in, threads, [&](const Part& part) {
    forward_part(before, x, weight, bias, in, out, part);
    for (int64_t r = part.row; r < part.row + part.rows; ++r) {
      const int64_t at = r * out + part.column;
      gelu_forward_range(y + at, before + at, part.columns);
    }
  });
}

#ifdef LLM_HAVE_OPENBLAS

void linear_backward_input_fast(float* dx, const float* dy, const float* weight, int64_t rows,
                                int64_t in, int64_t out, bool accumulate, Threads threads) {
  parallel_parts(rows, in, out, threads, [&](const Part& part) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size(part.rows), size(part.columns),
                size(out), 1.0f, dy + part.row * out, size(out), weight + part.column, size(in),
                accumulate ? 1.0f : 0.0f, dx + part.row * in + part.column, size(in));
  });
}

void linear_backward_weight_fast(float* dweight, const float* dy, const float* x, int64_t rows,
                                 int64_t in, int64_t out, Threads threads) {
  parallel_parts(out, in, rows, threads, [&](const Part& part) {
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, size(part.rows), size(part.columns),
                size(rows), 1.0f, dy + part.row, size(out), x + part.column, size(in), 1.0f,
                dweight + part.row * in + part.column, size(in));
  });
}

#else

void linear_backward_input_fast(float* dx, const float* dy, const float* weight, int64_t rows,
                                int64_t in, int64_t out, bool accumulate, Threads threads) {
  linear_backward_input(dx, dy, weight, rows, in, out, accumulate, threads);
}

void linear_backward_weight_fast(float* dweight, const float* dy, const float* x, int64_t rows,
                                 int64_t in, int64_t out, Threads threads) {
  linear_backward_weight(dweight, dy, x, rows, in, out, threads);
}

#endif

void linear_backward_bias_fast(float* dbias, const float* dy, int64_t rows, int64_t out,
                               Threads threads) {
  // A thread owns columns and walks the rows, adding whole vectors.
  parallel_ranges(out, threads, rows_per_thread(rows), [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t o = begin; o < end; ++o) dbias[o] += dy[row * out + o];
    }
  });
}

}  // namespace llm::cpu_ref
