// Layer normalization over rows of C channels; see backend.h. Rounding points with bf16 tensors: x,
// dy and weight are widened, y and dx are rounded once at the end; mean and rstd are f32.
#pragma once

#include <cstdint>

#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

// bias, and mean with rstd, may be null.
void layernorm_forward(float* y, float* mean, float* rstd, const float* x, const float* weight,
                       const float* bias, int64_t rows, int64_t channels, float epsilon,
                       Threads threads);
// dx may be dy, and may be null; dweight and dbias are added to and may be null.
void layernorm_backward(float* dx, float* dweight, float* dbias, const float* dy, const float* x,
                        const float* mean, const float* rstd, const float* weight, int64_t rows,
                        int64_t channels, bool accumulate, Threads threads);

// Vectorized; sums over channels in eight f32 lanes.
// residual: null, or added to x; the sum goes to `sum` (which may be x). round_sum: it is rounded
// to bf16, as where it is stored in that type, before the norm reads it.
void layernorm_forward_fast(float* sum, float* y, float* mean, float* rstd, const float* x,
                            const float* residual, const float* weight, const float* bias,
                            int64_t rows, int64_t channels, float epsilon, bool round_sum,
                            Threads threads);
// Sums over rows in blocks of rows whose size does not depend on the number of threads.
void layernorm_backward_fast(float* dx, float* dweight, float* dbias, const float* dy,
                             const float* x, const float* mean, const float* rstd,
                             const float* weight, int64_t rows, int64_t channels, bool accumulate,
                             Threads threads);

}  // namespace llm::cpu_ref
