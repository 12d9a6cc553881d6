// Layer normalization over rows; see backend.h and cpu_ref/layernorm.h.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// y = (x - mean) * rstd * weight + bias per row of x: (rows, channels). Any number of channels.
//   b, sum: null, or the norm is of sum = a + b (rounded to the element type before it is
//   normalized, like the composition of add and layernorm); sum may be a. mean, rstd: (rows) f32 or
//   null   bias: may be null
void layernorm_forward(void* sum, void* y, float* mean, float* rstd, const void* a, const void* b,
                       const void* weight, const void* bias, Element element, int64_t rows,
                       int64_t channels, float epsilon, cudaStream_t stream);

// Bytes of scratch that layernorm_backward needs for partial sums.
int64_t layernorm_backward_scratch(int64_t rows, int64_t channels);
// dx (+)= the gradient; dweight += sum of dy * xhat, dbias += sum of dy over rows; one pass over
// the activations, no float atomics, the same bits every time.
//   dx: may be dy, may be null   dweight, dbias: (channels) f32, each may be null
//   dx_sum: null or (channels) f32: += the column sums of the final (rounded) dx, which is the bias
//   gradient of the linear layer below
void layernorm_backward(void* dx, float* dweight, float* dbias, float* dx_sum, const void* dy,
                        const void* x, const float* mean, const float* rstd, const void* weight,
                        Element element, int64_t rows, int64_t channels, bool accumulate,
                        void* scratch, cudaStream_t stream);

}  // namespace llm::cuda
