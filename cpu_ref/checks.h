// What the ops of the CPU backend check beyond shapes: the values in tensors that are on the host.
// Programmer errors: they assert.
#pragma once

#include <string_view>

#include "backend/checks.h"
#include "cpu_ref/cross_entropy.h"

namespace llm::cpu_ref {

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
  LLM_ASSERT(!weight.scale, "{}: scaled weights have no CPU twin yet", op);
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
