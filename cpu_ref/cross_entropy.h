// Softmax and cross-entropy over rows of logits; see backend.h. With bf16 logits the softmax is in
// f32 and dlogits is rounded once.
#pragma once

#include <cstdint>

#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

inline constexpr int32_t kIgnoredTarget = -100;

// logits: (rows, padded), of which the first vocab columns count.
void cross_entropy_forward(float* losses, const float* logits, const int32_t* targets, int64_t rows,
                           int64_t vocab, int64_t padded, Threads threads);
// dlogits may be logits.
void cross_entropy_backward(float* dlogits, const float* logits, const int32_t* targets,
                            int64_t rows, int64_t vocab, int64_t padded, float gradient_scale,
                            Threads threads);

// Vectorized: both at once; losses or dlogits may be null.
void cross_entropy_fast(float* losses, float* dlogits, const float* logits, const int32_t* targets,
                        int64_t rows, int64_t vocab, int64_t padded, float gradient_scale,
                        Threads threads);

}  // namespace llm::cpu_ref
