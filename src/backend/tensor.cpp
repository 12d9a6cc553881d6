#include "backend/tensor.h"

#include <fmt/ranges.h>

#include <span>

#include "base/error.h"

namespace llm {

Tensor::Tensor(void* data, DType dtype, std::initializer_list<int64_t> dims)
    : data(data), dtype(dtype), rank(static_cast<int>(dims.size())) {
  LLM_ASSERT(dims.size() <= kMaxRank);
  int axis = 0;
  for (int64_t dim : dims) {
    LLM_ASSERT(dim >= 0, "axis {} has {} elements", axis, dim);
    shape[axis++] = dim;
  }
  int64_t step = 1;
  for (axis = rank - 1; axis >= 0; --axis) {
    stride[axis] = step;
    step *= shape[axis];
  }
}

int64_t Tensor::size() const {
  int64_t product = rank == 0 ? 0 : 1;
  for (int axis = 0; axis < rank; ++axis) product *= shape[axis];
  return product;
}

bool Tensor::contiguous() const {
  int64_t step = 1;
  for (int axis = rank - 1; axis >= 0; --axis) {
    if (shape[axis] != 1 && stride[axis] != step) return false;
    step *= shape[axis];
  }
  return true;
}

int64_t Tensor::rows() const {
  int64_t product = rank == 0 ? 0 : 1;
  for (int axis = 0; axis + 1 < rank; ++axis) product *= shape[axis];
  return product;
}

float* Tensor::f32() const {
  LLM_ASSERT(dtype == DType::f32, "{}", describe());
  return static_cast<float*>(data);
}
uint16_t* Tensor::bf16() const {
  LLM_ASSERT(dtype == DType::bf16, "{}", describe());
  return static_cast<uint16_t*>(data);
}
int32_t* Tensor::i32() const {
  LLM_ASSERT(dtype == DType::i32, "{}", describe());
  return static_cast<int32_t*>(data);
}
int64_t* Tensor::i64() const {
  LLM_ASSERT(dtype == DType::i64, "{}", describe());
  return static_cast<int64_t*>(data);
}

Tensor Tensor::view(std::initializer_list<int64_t> new_shape) const {
  LLM_ASSERT(contiguous(), "view of {}", describe());
  Tensor result(data, dtype, new_shape);
  LLM_ASSERT(result.size() == size(), "{} viewed as {}", describe(), result.describe());
  return result;
}

Tensor Tensor::slice(int axis, int64_t begin, int64_t count) const {
  LLM_ASSERT(axis < rank && begin >= 0 && count >= 0 && begin + count <= shape[axis],
             "[{}, {}) along axis {} of {}", begin, begin + count, axis, describe());
  Tensor result = *this;
  result.data = static_cast<std::byte*>(data) + begin * stride[axis] * dtype_bytes(dtype);
  result.shape[axis] = count;
  return result;
}

std::string Tensor::describe() const {
  return fmt::format("{} ({})", dtype_name(dtype),
                     fmt::join(std::span(shape.data(), static_cast<size_t>(rank)), ", "));
}

bool same_shape(const Tensor& a, const Tensor& b) {
  if (a.rank != b.rank) return false;
  for (int axis = 0; axis < a.rank; ++axis) {
    if (a.shape[axis] != b.shape[axis]) return false;
  }
  return true;
}

}  // namespace llm
