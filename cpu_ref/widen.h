// The CPU twins compute in f32. A bf16 tensor is widened to an f32 copy on the way in and rounded
// (to nearest even) on the way out; what lies between stays f32, as in the fused GPU kernels.
#pragma once

#include <cstdint>
#include <memory>

#include "backend/tensor.h"

namespace llm::cpu_ref {

inline float widen(float value) { return value; }
inline float widen(uint16_t value) { return bf16_to_f32(value); }

// Rows as they lie in memory, f32 or bf16, for ops that widen what they read of a large tensor.
struct StoredRows {
  const void* data = nullptr;
  DType dtype = DType::f32;

  StoredRows(const void* rows, DType type) : data(rows), dtype(type) {}
  explicit StoredRows(const Tensor& tensor) : data(tensor.data), dtype(tensor.dtype) {}
  const float* f32() const { return static_cast<const float*>(data); }
  const uint16_t* bf16() const { return static_cast<const uint16_t*>(data); }
};

// Uninitialized floats at a multiple of a cache line, as vectors are read fastest.
class WideCopy {
 public:
  void take(int64_t count);
  float* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* data) const;
  };
  std::unique_ptr<float, Free> data_;
};

// An input as f32: the tensor itself (with its strides), or a contiguous widened copy.
class Input {
 public:
  explicit Input(const Tensor& tensor);
  const Tensor& tensor() const { return tensor_; }
  const float* data() const { return static_cast<const float*>(tensor_.data); }  // or nullptr

 private:
  Tensor tensor_;
  WideCopy copy_;
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
  WideCopy copy_;
};

}  // namespace llm::cpu_ref
