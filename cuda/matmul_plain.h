// A matrix product for any shape and alignment, for what the library has no kernel for.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// D = op(A) op(B) (+ D), row-major, f32 sums.
//   op(A): (m, k), A stored as (k, m) where transpose_a   op(B): (k, n), (n, k) where transpose_b
//   input: the type of A and B   output: of D   Pointers are aligned to their elements only.
void matmul_plain(void* d, const void* a, const void* b, Element input, Element output, int64_t m,
                  int64_t n, int64_t k, bool transpose_a, bool transpose_b, bool accumulate,
                  cudaStream_t stream);

}  // namespace llm::cuda
