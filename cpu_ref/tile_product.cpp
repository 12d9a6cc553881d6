#include "cpu_ref/tile_product.h"

#include <algorithm>

#include "cpu_ref/vector_math.h"

namespace llm::cpu_ref {
namespace {

// kRows x 16 results stay in registers (12 of 16 with AVX2) while the depth runs by.
template <int kRows>
void product_block(float* c, int64_t c_stride, const float* a, int64_t a_row, int64_t a_depth,
                   const float* b, int64_t b_stride, int64_t depth, bool accumulate) {
  Floats sum[kRows][2];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) sum[r][0] = sum[r][1] = Floats{};
  for (int64_t k = 0; k < depth; ++k) {
    const Floats b0 = load(b + k * b_stride), b1 = load(b + k * b_stride + kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const float factor = a[r * a_row + k * a_depth];
      sum[r][0] += factor * b0;
      sum[r][1] += factor * b1;
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
    float* to = c + r * c_stride;
    store(to, accumulate ? load(to) + sum[r][0] : sum[r][0]);
    store(to + kLanes, accumulate ? load(to + kLanes) + sum[r][1] : sum[r][1]);
  }
}

using Block = void (*)(float*, int64_t, const float*, int64_t, int64_t, const float*, int64_t,
                       int64_t, bool);
constexpr int64_t kMaxRows = 6;
constexpr Block kBlocks[kMaxRows] = {product_block<1>, product_block<2>, product_block<3>,
                                     product_block<4>, product_block<5>, product_block<6>};

}  // namespace

void tile_product(float* c, int64_t c_stride, const float* a, int64_t a_row, int64_t a_depth,
                  const float* b, int64_t b_stride, int64_t rows, int64_t columns, int64_t depth,
                  bool accumulate) {
  for (int64_t column = 0; column < columns; column += kTileColumns) {
    for (int64_t row = 0; row < rows;) {
      const int64_t count = std::min(kMaxRows, rows - row);
      kBlocks[count - 1](c + row * c_stride + column, c_stride, a + row * a_row, a_row, a_depth,
                         b + column, b_stride, depth, accumulate);
      row += count;
    }
  }
}

void pack_rows(float* to, const float* from, int64_t from_stride, int64_t rows, int64_t columns,
               float factor) {
  const int64_t padded = padded_columns(columns);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = to + r * padded;
    for (int64_t c = 0; c < columns; ++c) row[c] = from[r * from_stride + c] * factor;
    std::fill(row + columns, row + padded, 0.0f);
  }
}

void pack_transposed(float* to, int64_t to_stride, const float* from, int64_t from_stride,
                     int64_t rows, int64_t columns) {
  const int64_t padded = padded_columns(rows);
  int64_t r = 0;
  for (; r + kLanes <= rows; r += kLanes) {
    for (int64_t c = 0; c < columns; ++c) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        to[c * to_stride + r + lane] = from[(r + lane) * from_stride + c];
      }
    }
  }
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t i = r; i < rows; ++i) to[c * to_stride + i] = from[i * from_stride + c];
    std::fill(to + c * to_stride + rows, to + c * to_stride + padded, 0.0f);
  }
}

}  // namespace llm::cpu_ref
