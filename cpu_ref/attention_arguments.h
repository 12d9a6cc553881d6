// From the tensors of the attention ops to what their bodies take; asserts that they fit.
#pragma once

#include "cpu_ref/attention.h"
#include "cpu_ref/attention_decode.h"

namespace llm::cpu_ref {

AttentionProblem attention_problem(const char* op, const Tensor& q, const Tensor& k,
                                   const Tensor& v, const AttentionOptions& options);

// T: new positions per sequence, which its length includes.
void check_cache(const char* op, const Tensor& keys, const Tensor& values, const Tensor& table,
                 const Tensor& lengths, int64_t B, int64_t T);
PagedCache paged_cache(const Tensor& cache, const Tensor& block_table);

}  // namespace llm::cpu_ref
