// Ops on the rows of a matrix: scaled each by a number of its own, cut down to some columns, and
// the mean of some rows; see backend.h. Sums in double.
#pragma once

#include <cstdint>

#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

void scale_rows(float* y, const float* factors, int64_t rows, int64_t columns, Threads threads);
void zero_other_columns(float* x, int64_t rows, int64_t columns, int64_t begin, int64_t width,
                        Threads threads);
// x: (batch, length, channels)   y: (batch, channels)
void pool_forward(float* y, const float* x, const int32_t* begin, const int32_t* end, int64_t batch,
                  int64_t length, int64_t channels, Threads threads);
void pool_backward(float* dx, const float* dy, const int32_t* begin, const int32_t* end,
                   int64_t batch, int64_t length, int64_t channels, Threads threads);

}  // namespace llm::cpu_ref
