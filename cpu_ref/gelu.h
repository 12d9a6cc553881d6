// GELU, tanh form; see backend.h. With bf16 tensors x and dy are widened, y and dx rounded once.
#pragma once

#include <cstdint>

#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

void gelu_forward(float* y, const float* x, int64_t count, Threads threads);  // y may be x
void gelu_backward(float* dx, const float* dy, const float* x, int64_t count,
                   Threads threads);  // dx may be dy

// Vectorized, with the exponential of vector_math.h.
void gelu_forward_fast(float* y, const float* x, int64_t count, Threads threads);
void gelu_backward_fast(float* dx, const float* dy, const float* x, int64_t count, Threads threads);
// The body of one thread, for fused ops.
void gelu_forward_range(float* y, const float* x, int64_t count);

}  // namespace llm::cpu_ref
