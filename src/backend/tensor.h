// A view of memory with a type, a shape and strides. It owns nothing.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "backend/dtype.h"

namespace llm {

struct Tensor {
  static constexpr int kMaxRank = 4;

  void* data = nullptr;
  DType dtype = DType::f32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};
  std::array<int64_t, kMaxRank> stride{};  // in elements

  Tensor() = default;
  // Contiguous, row-major.
  Tensor(void* data, DType dtype, std::initializer_list<int64_t> shape);

  // A default tensor stands for "not given" where an op takes an optional one.
  explicit operator bool() const { return data != nullptr; }
  int64_t size() const;  // elements
  int64_t bytes() const { return size() * dtype_bytes(dtype); }
  bool contiguous() const;
  int64_t dim(int axis) const { return shape[axis]; }
  // The product of all axes but the last, and the last.
  int64_t rows() const;
  int64_t columns() const { return rank == 0 ? 0 : shape[rank - 1]; }

  // Asserts that the type matches.
  float* f32() const;
  uint16_t* bf16() const;
  int32_t* i32() const;
  int64_t* i64() const;

  // Another shape with as many elements; asserts that this is contiguous.
  Tensor view(std::initializer_list<int64_t> new_shape) const;
  // Elements [begin, begin + count) along an axis.
  Tensor slice(int axis, int64_t begin, int64_t count) const;

  std::string describe() const;  // "bf16 (4, 64, 768)"
};

bool same_shape(const Tensor& a, const Tensor& b);

}  // namespace llm
