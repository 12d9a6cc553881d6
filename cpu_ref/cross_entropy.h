// Softmax and cross-entropy over rows of logits; see backend.h. With bf16 logits the softmax is in
// f32 and dlogits is rounded once.
#pragma once

#include <cstdint>

namespace llm::cpu_ref {

inline constexpr int32_t kIgnoredTarget = -100;

// logits: (rows, padded), of which the first vocab columns count.
void cross_entropy_forward(float* losses, const float* logits, const int32_t* targets, int64_t rows,
                           int64_t vocab, int64_t padded, int threads);
// dlogits may be logits.
void cross_entropy_backward(float* dlogits, const float* logits, const int32_t* targets,
                            int64_t rows, int64_t vocab, int64_t padded, float gradient_scale,
                            int threads);

// Vectorized: both at once; losses or dlogits may be null.
void cross_entropy_fast(float* losses, float* dlogits, const float* logits, const int32_t* targets,
                        int64_t rows, int64_t vocab, int64_t padded, float gradient_scale,
                        int threads);

}  // namespace llm::cpu_ref
