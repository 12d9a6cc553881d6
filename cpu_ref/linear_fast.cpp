#include <algorithm>
#include <vector>

#include "cpu_ref/gelu.h"
#include "cpu_ref/linear.h"
#include "cpu_ref/threads.h"

#ifdef LLM_HAVE_OPENBLAS
#include <cblas.h>
#endif

namespace llm::cpu_ref {
namespace {

// A rectangle of the result.
struct Part {
  int64_t row, rows, column, columns;
};

// --- Few rows: see few_rows.h

// More are faster by OpenBLAS. Sequences that are decoded together are not as many, so that the
// numbers of each do not depend on the others.
constexpr int64_t kFewRows = 64;
// Bytes of the weight that are worth a claim (some 3 us of reading), and claims per thread: a
// thread that the system holds up leaves its share to the others.
constexpr int64_t kPieceBytes = 32 << 10;
constexpr int64_t kPiecesPerThread = 2;

// Calls body(begin, end) on disjoint ranges that cover the columns of the result.
template <typename Body>
void parallel_columns(const FewRows& product, Threads threads, const Body& body) {
  const int64_t bytes = product.in * product.out * dtype_bytes(product.weight.dtype);
  const int64_t pieces = std::min({bytes / kPieceBytes + 1, product.out,
                                   threads.count == 1 ? 1 : kPiecesPerThread * threads.count});
  parallel_items(pieces, threads, [&](int64_t i) {
    body(product.out * i / pieces, product.out * (i + 1) / pieces);
  });
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
  few_rows_bodies().front().run({y + part.row * out,
                                 x + part.row * in,
                                 {weight, DType::f32},
                                 bias,
                                 part.rows,
                                 in,
                                 out,
                                 part.column,
                                 part.column + part.columns});
}

#endif

// A part with a weight of either type: bf16 is widened some rows at a time, which stay in the
// cache.
void many_rows_forward(float* y, const float* x, const StoredRows& weight, const float* bias,
                       int64_t in, int64_t out, const Part& part) {
  if (weight.dtype == DType::f32) {
    return many_rows_forward(y, x, weight.f32(), bias, in, out, part);
  }
  constexpr int64_t kColumns = 4 * kTile;
  std::vector<float> wide(static_cast<size_t>(std::min(kColumns, part.columns) * in));
  for (int64_t done = 0; done < part.columns; done += kColumns) {
    const int64_t column = part.column + done, columns = std::min(kColumns, part.columns - done);
    const uint16_t* from = weight.bf16() + column * in;
    for (int64_t i = 0; i < columns * in; ++i) wide[static_cast<size_t>(i)] = bf16_to_f32(from[i]);
    many_rows_forward(y + column, x, wide.data(), bias ? bias + column : nullptr, in, out,
                      {part.row, part.rows, 0, columns});
  }
}

// y = x weight^T + bias; after(row, rows, column, columns) follows on each part of it.
template <typename After>
void forward(const FewRows& product, Threads threads, const After& after) {
  if (product.rows == 0 || product.out == 0) return;
  if (product.rows <= kFewRows) {
    const FewRowsBody& body = few_rows_bodies().front();
    return parallel_columns(product, threads, [&](int64_t begin, int64_t end) {
      FewRows part = product;
      part.begin = begin;
      part.end = end;
      body.run(part);
      after(Part{0, product.rows, begin, end - begin});
    });
  }
  parallel_parts(product.rows, product.out, product.in, threads, [&](const Part& part) {
    many_rows_forward(product.y, product.x, product.weight, product.bias, product.in, product.out,
                      part);
    after(part);
  });
}

}  // namespace

void linear_forward_fast(float* y, const float* x, StoredRows weight, const float* bias,
                         int64_t rows, int64_t in, int64_t out, Threads threads) {
  forward({y, x, weight, bias, rows, in, out, 0, out}, threads, [](const Part&) {});
}

void linear_gelu_forward_fast(float* y, float* pre, const float* x, StoredRows weight,
                              const float* bias, int64_t rows, int64_t in, int64_t out,
                              bool round_pre, Threads threads) {
  float* before = pre ? pre : y;
  forward({before, x, weight, bias, rows, in, out, 0, out}, threads, [&](const Part& part) {
    for (int64_t r = part.row; r < part.row + part.rows; ++r) {
      const int64_t at = r * out + part.column;
      for (int64_t i = at; round_pre && i < at + part.columns; ++i) {
        before[i] = bf16_to_f32(f32_to_bf16(before[i]));
      }
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
