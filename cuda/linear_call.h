// Inside of LinearProducts: one call's tensors. For linear.cpp and linear_choice.cpp.
#pragma once

#include "cuda/linear.h"

namespace llm::cuda {

struct LinearProducts::Call {
  Operation operation;
  Precision precision;
  int64_t rows, in, out;
  void* d;        // y, dx or dweight
  const void* a;  // weight, weight or x: the factors as the library's column-major order has them
  const void* b;  // x, dy or dy
  const void* bias = nullptr;      // forward
  float* bias_gradient = nullptr;  // dpre_bias or dbias
  void* pre = nullptr;             // forward writes it, backward_input reads it
  bool gelu = false;
  bool accumulate = false;
  void* scratch = nullptr;

  // The library's D (m, n): the row-major tensor (n, m).
  int64_t m() const { return operation == Operation::forward ? out : in; }
  int64_t n() const { return operation == Operation::backward_weight ? out : rows; }
  int64_t k() const {
    return operation == Operation::forward          ? in
           : operation == Operation::backward_input ? out
                                                    : rows;
  }
  Element element() const { return precision == Precision::bf16 ? Element::bf16 : Element::f32; }
  Element d_element() const {
    return operation == Operation::backward_weight ? Element::f32 : element();
  }
};

}  // namespace llm::cuda
