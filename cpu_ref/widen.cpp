#include "cpu_ref/widen.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "base/error.h"

namespace llm::cpu_ref {
namespace {

constexpr size_t kCacheLine = 64;

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
  auto* data = static_cast<uint16_t*>(tensor.data);
  int64_t flat = 0;
  for (int64_t a = 0; a < shape[0]; ++a) {
    for (int64_t b = 0; b < shape[1]; ++b) {
      for (int64_t c = 0; c < shape[2]; ++c) {
        uint16_t* row = data + a * stride[0] + b * stride[1] + c * stride[2];
        if (stride[3] == 1) {  // which the compiler can vectorize
          for (int64_t d = 0; d < shape[3]; ++d) visit(row[d], flat + d);
        } else {
          for (int64_t d = 0; d < shape[3]; ++d) visit(row[d * stride[3]], flat + d);
        }
        flat += shape[3];
      }
    }
  }
}

void widen_into(float* to, const Tensor& tensor) {
  for_each_element(tensor, [=](uint16_t value, int64_t at) { to[at] = bf16_to_f32(value); });
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

void WideCopy::take(int64_t count) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  const size_t rounded = std::max(kCacheLine, (bytes + kCacheLine - 1) / kCacheLine * kCacheLine);
  data_.reset(static_cast<float*>(std::aligned_alloc(kCacheLine, rounded)));
  if (!data_) throw std::bad_alloc();
}

void WideCopy::Free::operator()(float* data) const { std::free(data); }

Input::Input(const Tensor& tensor) : tensor_(tensor) {
  if (!tensor || tensor.dtype == DType::f32) return;
  copy_.take(tensor.size());
  widen_into(copy_.data(), tensor);
  tensor_ = contiguous_f32(tensor, copy_.data());
}

Output::Output(const Tensor& tensor, bool keep) : target_(tensor), f32_(tensor) {
  if (!tensor || tensor.dtype == DType::f32) return;
  copy_.take(tensor.size());
  if (keep) widen_into(copy_.data(), tensor);
  f32_ = contiguous_f32(tensor, copy_.data());
}

Output::~Output() {
  if (!target_ || target_.dtype == DType::f32) return;
  const float* from = copy_.data();
  for_each_element(target_, [=](uint16_t& value, int64_t at) { value = f32_to_bf16(from[at]); });
}

}  // namespace llm::cpu_ref
