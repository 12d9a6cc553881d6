// Small matrix products on packed tiles that stay in the cache, for the fast attention body.
#pragma once

#include <cstdint>

namespace llm::cpu_ref {

// Columns of c and b are processed in groups of this many; callers pad to it.
inline constexpr int64_t kTileColumns = 16;
inline int64_t padded_columns(int64_t columns) {
  return (columns + kTileColumns - 1) / kTileColumns * kTileColumns;
}

// c = a b, or c += a b.   c: (rows, columns) with row stride c_stride   b: (depth, columns) with
// row stride b_stride   a(r, k) = a[r * a_row + k * a_depth]. columns: a multiple of kTileColumns.
void tile_product(float* c, int64_t c_stride, const float* a, int64_t a_row, int64_t a_depth,
                  const float* b, int64_t b_stride, int64_t rows, int64_t columns, int64_t depth,
                  bool accumulate);

// The two forms in which a (rows, columns) matrix with any row stride is packed, padding zeroed:
// as it is, rows padded to padded_columns(columns); times `factor`
void pack_rows(float* to, const float* from, int64_t from_stride, int64_t rows, int64_t columns,
               float factor);
// transposed: (columns, to_stride), to_stride >= padded_columns(rows).
void pack_transposed(float* to, int64_t to_stride, const float* from, int64_t from_stride,
                     int64_t rows, int64_t columns);

}  // namespace llm::cpu_ref
