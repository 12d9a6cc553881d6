// The CPU twins compute in f32. A bf16 tensor is widened to an f32 copy on the way in and rounded
// (to nearest even) on the way out; what lies between stays f32, as in the fused GPU kernels.
#pragma once

#include <vector>

#include "backend/tensor.h"

namespace llm::cpu_ref {

// An input as f32: the tensor itself (with its strides), or a contiguous widened copy.
class Input {
 public:
  explicit Input(const Tensor& tensor);
  const Tensor& tensor() const { return tensor_; }
  const float* data() const { return static_cast<const float*>(tensor_.data); }  // or nullptr

 private:
  Tensor tensor_;
  std::vector<float> copy_;
};

// An output as f32: the tensor itself, or a contiguous f32 copy that is rounded into the tensor on
// destruction. keep: the copy starts with the tensor's contents, for ops that add to it.
class Output {
 public:
  explicit Output(const Tensor& tensor, bool keep = false);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  const Tensor& tensor() const { return f32_; }
  float* data() const { return static_cast<float*>(f32_.data); }  // nullptr where not given

 private:
  Tensor target_, f32_;
  std::vector<float> copy_;
};

}  // namespace llm::cpu_ref
