// The values of tensors in files: from f32, bf16 and f16 to float32 and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend/dtype.h"
#include "base/file.h"

namespace llm {

constexpr bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
}

// Values in mapped memory, seen as a matrix: element (r, c) lies r * row_stride + c * column_stride
// elements behind `data`, which need not be aligned.
struct MatrixView {
  const std::byte* data = nullptr;
  DType dtype = DType::f32;  // a floating one
  int64_t rows = 0, columns = 0;
  int64_t row_stride = 0, column_stride = 0;
};

// The block of `rows` rows from `row` on and `columns` columns from `column` on, row by row, into
// rows * columns numbers. The block lies within the view.
void read_block(std::span<float> into, const MatrixView& from, int64_t row, int64_t rows,
                int64_t column, int64_t columns);

// The bytes of `values` in a type. Throws Error{input} with `where` for a finite value that f16 or
// bf16 cannot hold.
Bytes narrow(std::vector<std::byte>& buffer, std::span<const float> values, DType dtype,
             const std::string& where);

}  // namespace llm
