// Softmax and cross-entropy over rows of logits; see backend.h and cpu_ref/cross_entropy.h.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// losses[row] = lse(logits[row, :vocab]) - logits[row, target]; target -100: 0.
// dlogits = (softmax - onehot(target)) * gradient_scale[0]; 0 in rows with target -100 and in
// padded columns. Fused: a row is read from device memory once; a long row a second time, from the
// L2 cache.
//   logits: (rows, padded)   losses: (rows) f32 or null   dlogits: (rows, padded), may be logits,
//   or null   gradient_scale: (1) f32, only with dlogits
void cross_entropy(float* losses, void* dlogits, const void* logits, const int32_t* targets,
                   const float* gradient_scale, Element element, int64_t rows, int64_t vocab,
                   int64_t padded, cudaStream_t stream);

}  // namespace llm::cuda
