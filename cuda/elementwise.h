// Fills, conversions, sums; see backend.h. Memory-bound: one read of each input, one write of each
// output. Tensors may begin at any element (slices): not necessarily aligned to 16 bytes.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// Element i of y, of element_bytes (1, 2, 4 or 8), becomes the low bytes of `bits`.
void fill(void* y, uint64_t bits, int element_bytes, int64_t count, cudaStream_t stream);
// Between any two types. To nearest even; an f32 too large for f16 becomes infinity.
void convert(void* y, Element to, const void* x, Element from, int64_t count, cudaStream_t stream);
// y = a + b in f32, rounded once; y may be a or b. f32 or bf16.
void add(void* y, const void* a, const void* b, Element element, int64_t count,
         cudaStream_t stream);
// y *= factor[0]. f32 or bf16.
void scale(void* y, const float* factor, Element element, int64_t count, cudaStream_t stream);

}  // namespace llm::cuda
