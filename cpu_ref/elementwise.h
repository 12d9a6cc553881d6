// Fills, sums and scalings; see backend.h. With bf16 tensors sums and products are formed in f32
// and rounded once.
#pragma once

#include <cstdint>

#include "backend/dtype.h"
#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

void fill(void* y, DType dtype, double value, int64_t count, Threads threads);
// Between f32, bf16 and f16 (through f32), or a copy of the same type.
void convert(void* y, DType y_dtype, const void* x, DType x_dtype, int64_t count, Threads threads);
void add(float* y, const float* a, const float* b, int64_t count, Threads threads);
void scale(float* y, float factor, int64_t count, Threads threads);

}  // namespace llm::cpu_ref
