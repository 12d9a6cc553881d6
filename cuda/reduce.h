// Sums of whole vectors, accumulated in f64 in a fixed order; see backend.h.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// Bytes of scratch for both.
int64_t reduce_scratch();
// out[0] += factor[0] * sum of x[0, count); factor null: 1.   x: f32
void accumulate_sum(float* out, const float* x, const float* factor, int64_t count, void* scratch,
                    cudaStream_t stream);
// out[0] += sum of squares of x[0, count).
void squared_norm(float* out, const float* x, int64_t count, void* scratch, cudaStream_t stream);

}  // namespace llm::cuda
