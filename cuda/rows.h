// Ops on the rows of a matrix: scaled each by a number of its own, cut down to some columns, and
// the mean of some rows; see backend.h. Memory-bound.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// y: (rows, columns) f32 or bf16   factors: (rows) f32
void scale_rows(void* y, const float* factors, Element element, int64_t rows, int64_t columns,
                cudaStream_t stream);
// x: (rows, columns) f32
void zero_other_columns(float* x, int64_t rows, int64_t columns, int64_t begin, int64_t width,
                        cudaStream_t stream);
// x: (batch, length, channels)   y: (batch, channels)   f32 or bf16
void pool_forward(void* y, const void* x, const int32_t* begin, const int32_t* end, Element element,
                  int64_t batch, int64_t length, int64_t channels, cudaStream_t stream);
void pool_backward(void* dx, const void* dy, const int32_t* begin, const int32_t* end,
                   Element element, int64_t batch, int64_t length, int64_t channels,
                   cudaStream_t stream);

}  // namespace llm::cuda
