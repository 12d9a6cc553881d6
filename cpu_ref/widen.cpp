#include "cpu_ref/widen.h"

#include "base/error.h"

namespace llm::cpu_ref {
namespace {

// Calls visit(element of the tensor, flat row-major index) for every element of up to four axes.
template <typename Visit>
void for_each_element(const Tensor& tensor, const Visit& visit) {
  LLM_ASSERT(tensor.dtype == DType::bf16, "activations and weights are f32 or bf16, got {}",
             tensor.describe());
  std::array<int64_t, Tensor::kMaxRank> shape{1, 1, 1, 1}, stride{};
  for (int axis = 0; axis < tensor.rank; ++axis) {
    shape[Tensor::kMaxRank - tensor.rank + axis] = tensor.shape[axis];
    stride[Tensor::kMaxRank - tensor.rank + axis] = tensor.stride[axis];
  }
  uint16_t* data = static_cast<uint16_t*>(tensor.data);
  int64_t flat = 0;
  for (int64_t a = 0; a < shape[0]; ++a)
    for (int64_t b = 0; b < shape[1]; ++b)
      for (int64_t c = 0; c < shape[2]; ++c)
        for (int64_t d = 0; d < shape[3]; ++d)
          visit(data[a * stride[0] + b * stride[1] + c * stride[2] + d * stride[3]], flat++);
}

Tensor contiguous_f32(const Tensor& like, float* data) {
  Tensor result = like;
  result.data = data;
  result.dtype = DType::f32;
  int64_t step = 1;
  for (int axis = like.rank - 1; axis >= 0; --axis) {
    result.stride[axis] = step;
    step *= like.shape[axis];
  }
  return result;
}

}  // namespace

Input::Input(const Tensor& tensor) : tensor_(tensor) {
  if (!tensor || tensor.dtype == DType::f32) return;
  copy_.resize(static_cast<size_t>(tensor.size()));
  for_each_element(tensor, [&](uint16_t value, int64_t at) { copy_[at] = bf16_to_f32(value); });
  tensor_ = contiguous_f32(tensor, copy_.data());
}

Output::Output(const Tensor& tensor, bool keep) : target_(tensor), f32_(tensor) {
  if (!tensor || tensor.dtype == DType::f32) return;
  copy_.resize(static_cast<size_t>(tensor.size()));
  if (keep) {
    for_each_element(tensor, [&](uint16_t value, int64_t at) { copy_[at] = bf16_to_f32(value); });
  }
  f32_ = contiguous_f32(tensor, copy_.data());
}

Output::~Output() {
  if (!target_ || target_.dtype == DType::f32) return;
  for_each_element(target_, [&](uint16_t& value, int64_t at) { value = f32_to_bf16(copy_[at]); });
}

}  // namespace llm::cpu_ref
