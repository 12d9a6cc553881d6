// The bias of a linear layer; see backend.h.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// y[row] += bias, in place, for matrix products without such an epilogue. y: (rows, columns)
void add_bias(void* y, const void* bias, Element element, int64_t rows, int64_t columns,
              cudaStream_t stream);

// Bytes of scratch for bias_backward.
int64_t bias_backward_scratch(int64_t rows, int64_t columns);
// dbias += column sums of dy: (rows, columns), in a fixed order.   dbias: (columns) f32
void bias_backward(float* dbias, const void* dy, Element element, int64_t rows, int64_t columns,
                   void* scratch, cudaStream_t stream);

}  // namespace llm::cuda
