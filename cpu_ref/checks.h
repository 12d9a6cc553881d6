// What every op of the CPU backend checks about its tensors. Programmer errors: they assert.
#pragma once

#include <initializer_list>
#include <string_view>

#include "backend/backend.h"
#include "base/error.h"
#include "cpu_ref/cross_entropy.h"

namespace llm::cpu_ref {

// Asserts that a tensor is given, contiguous and has this many rows and columns (any rank).
inline void check_matrix(std::string_view op, std::string_view name, const Tensor& tensor,
                         int64_t rows, int64_t columns) {
  LLM_ASSERT(tensor && tensor.contiguous() && tensor.rows() == rows && tensor.columns() == columns,
             "{}: {} is {}, expected contiguous ({}, {})", op, name, tensor.describe(), rows,
             columns);
}

// Asserts that a tensor is given and contiguous with this many elements of this type.
inline void check_vector(std::string_view op, std::string_view name, const Tensor& tensor,
                         DType dtype, int64_t size) {
  LLM_ASSERT(tensor && tensor.contiguous() && tensor.dtype == dtype && tensor.size() == size,
             "{}: {} is {}, expected contiguous {} with {} elements", op, name, tensor.describe(),
             dtype_name(dtype), size);
}

// The same where the tensor may be left out.
inline void check_optional(std::string_view op, std::string_view name, const Tensor& tensor,
                           DType dtype, int64_t size) {
  if (tensor) check_vector(op, name, tensor, dtype, size);
}

// Asserts that a tensor of any floating type is contiguous with this many elements, or not given.
inline void check_optional_size(std::string_view op, std::string_view name, const Tensor& tensor,
                                int64_t size) {
  LLM_ASSERT(!tensor || (tensor.contiguous() && tensor.size() == size),
             "{}: {} is {}, expected contiguous with {} elements", op, name, tensor.describe(),
             size);
}

// Asserts that all given tensors have the type of the first.
inline void check_alike(std::string_view op, std::initializer_list<Tensor> tensors) {
  const Tensor& first = *tensors.begin();
  LLM_ASSERT(first.dtype == DType::f32 || first.dtype == DType::bf16, "{}: {}", op,
             first.describe());
  for (const Tensor& tensor : tensors) {
    LLM_ASSERT(!tensor || tensor.dtype == first.dtype, "{}: {} beside {}", op, tensor.describe(),
               first.describe());
  }
}

// Asserts that every token and position lies in its table; a table of -1 rows is not given.
inline void check_tokens(std::string_view op, const Tensor& tokens, const Tensor& positions,
                         int64_t rows, int64_t vocab, int64_t position_count) {
  check_vector(op, "tokens", tokens, DType::i32, rows);
  check_optional(op, "positions", positions, DType::i32, rows);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t token = tokens.i32()[row];
    const int64_t position = positions ? positions.i32()[row] : row % tokens.columns();
    LLM_ASSERT(token >= 0 && (vocab < 0 || token < vocab), "{}: token {} of {}", op, token, vocab);
    LLM_ASSERT(position >= 0 && (position_count < 0 || position < position_count),
               "{}: position {} of {}", op, position, position_count);
  }
}

// Asserts that a weight is nothing but its data.
inline void check_plain_weight(std::string_view op, const Weight& weight) {
  LLM_ASSERT(!weight.scale && weight.adapter == nullptr,
             "{}: scaled weights and adapters have no CPU twin yet", op);
}

// Asserts that logits and targets fit each other and every target is in the vocabulary or ignored.
inline void check_cross_entropy(std::string_view op, const Tensor& logits, const Tensor& targets,
                                int64_t vocab) {
  check_matrix(op, "logits", logits, logits.rows(), logits.columns());
  check_vector(op, "targets", targets, DType::i32, logits.rows());
  LLM_ASSERT(vocab > 0 && vocab <= logits.columns(), "{}: vocabulary {}, logits {}", op, vocab,
             logits.describe());
  for (int64_t row = 0; row < logits.rows(); ++row) {
    const int32_t target = targets.i32()[row];
    LLM_ASSERT(target == kIgnoredTarget || (target >= 0 && target < vocab), "{}: target {} of {}",
               op, target, vocab);
  }
}

}  // namespace llm::cpu_ref
