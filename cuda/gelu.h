// GELU in its tanh form; see backend.h and cpu_ref/gelu.h.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// y = gelu(x); y may be x.
void gelu_forward(void* y, const void* x, Element element, int64_t count, cudaStream_t stream);
// dx = dy * gelu'(x); dx may be dy.
void gelu_backward(void* dx, const void* dy, const void* x, Element element, int64_t count,
                   cudaStream_t stream);

// Bytes of scratch for gelu_backward_bias.
int64_t gelu_backward_bias_scratch(int64_t rows, int64_t columns);
// dx = dy * gelu'(x) and dbias += column sums of the rounded dx, in one pass, in a fixed order.
//   dx (may be dy), dy, x: (rows, columns)   dbias: (columns) f32
void gelu_backward_bias(void* dx, float* dbias, const void* dy, const void* x, Element element,
                        int64_t rows, int64_t columns, void* scratch, cudaStream_t stream);

}  // namespace llm::cuda
