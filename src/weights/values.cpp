#include "weights/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace llm {
namespace {

constexpr int64_t kTile = 32;  // rows of a transposed block that are filled together

struct LoadF32 {
  float operator()(const std::byte* data, int64_t index) const {
    float value;
    std::memcpy(&value, data + index * 4, 4);
    return value;
  }
};
struct LoadBf16 {
  float operator()(const std::byte* data, int64_t index) const {
    uint16_t bits;
    std::memcpy(&bits, data + index * 2, 2);
    return bf16_to_f32(bits);
  }
};
struct LoadF16 {
  float operator()(const std::byte* data, int64_t index) const {
    uint16_t bits;
    std::memcpy(&bits, data + index * 2, 2);
    return f16_to_f32(bits);
  }
};

template <typename Load>
void gather(float* into, const MatrixView& from, const std::byte* data, int64_t rows,
            int64_t columns, Load load) {
  if (from.column_stride == 1 && columns > 1) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        into[r * columns + c] = load(data, r * from.row_stride + c);
      }
    }
    return;
  }
  // Down the columns, which are what lies together in a transposed tensor.
  for (int64_t begin = 0; begin < rows; begin += kTile) {
    const int64_t end = std::min(rows, begin + kTile);
    for (int64_t c = 0; c < columns; ++c) {
      for (int64_t r = begin; r < end; ++r) {
        into[r * columns + c] = load(data, r * from.row_stride + c * from.column_stride);
      }
    }
  }
}

uint16_t to_bits(float value, DType dtype) {
  return dtype == DType::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
}

float from_bits(uint16_t bits, DType dtype) {
  return dtype == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

}  // namespace

void read_block(std::span<float> into, const MatrixView& from, int64_t row, int64_t rows,
                int64_t column, int64_t columns) {
  LLM_ASSERT(row >= 0 && rows >= 0 && row + rows <= from.rows, "rows {} + {} of {}", row, rows,
             from.rows);
  LLM_ASSERT(column >= 0 && columns >= 0 && column + columns <= from.columns,
             "columns {} + {} of {}", column, columns, from.columns);
  LLM_ASSERT(static_cast<int64_t>(into.size()) == rows * columns && is_floating(from.dtype));
  if (into.empty()) return;
  const std::byte* data =
      from.data + (row * from.row_stride + column * from.column_stride) * dtype_bytes(from.dtype);
  if (from.dtype == DType::f32) return gather(into.data(), from, data, rows, columns, LoadF32());
  if (from.dtype == DType::bf16) return gather(into.data(), from, data, rows, columns, LoadBf16());
  gather(into.data(), from, data, rows, columns, LoadF16());
}

Bytes narrow(std::vector<std::byte>& buffer, std::span<const float> values, DType dtype,
             const std::string& where) {
  LLM_ASSERT(is_floating(dtype));
  if (dtype == DType::f32) return std::as_bytes(values);
  buffer.resize(values.size() * 2);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = to_bits(values[i], dtype);
    if (std::isinf(from_bits(bits, dtype)) && std::isfinite(values[i])) {
      fail_input(where, fmt::format("{} is too large for {}", values[i], dtype_name(dtype)),
                 "choose another --dtype");
    }
    std::memcpy(buffer.data() + 2 * i, &bits, 2);
  }
  return buffer;
}

}  // namespace llm
