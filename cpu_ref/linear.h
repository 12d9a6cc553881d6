// Matrix products of the linear layer; see backend.h. With bf16 tensors x, dy and the weight are
// widened, products are summed in f32 or better, y and dx are rounded once; dweight and dbias are
// f32.
#pragma once

#include <cstdint>

#include "cpu_ref/few_rows.h"
#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

// y = x weight^T + bias.  x: (rows, in)  weight: (out, in)  bias: (out) or null
void linear_forward(float* y, const float* x, const float* weight, const float* bias, int64_t rows,
                    int64_t in, int64_t out, Threads threads);
// dx = dy weight (+ dx)
void linear_backward_input(float* dx, const float* dy, const float* weight, int64_t rows,
                           int64_t in, int64_t out, bool accumulate, Threads threads);
// dweight += dy^T x
void linear_backward_weight(float* dweight, const float* dy, const float* x, int64_t rows,
                            int64_t in, int64_t out, Threads threads);
// dbias += column sums of dy
void linear_backward_bias(float* dbias, const float* dy, int64_t rows, int64_t out,
                          Threads threads);

// The same, faster. Up to 64 rows, as when decoding, by dot products with each row of the weight
// (few_rows.h), where a row of the result does not depend on the other rows; more by OpenBLAS, each
// thread a part of the result. A weight in bf16 is widened as it is read. A build without OpenBLAS
// takes the dot products, and the loops above for the backward pass.
void linear_forward_fast(float* y, const float* x, StoredRows weight, const float* bias,
                         int64_t rows, int64_t in, int64_t out, Threads threads);
// y = gelu(pre), pre = x weight^T + bias. pre may be null. round_pre: pre is rounded to bf16, as
// where it is stored in that type.
void linear_gelu_forward_fast(float* y, float* pre, const float* x, StoredRows weight,
                              const float* bias, int64_t rows, int64_t in, int64_t out,
                              bool round_pre, Threads threads);
void linear_backward_input_fast(float* dx, const float* dy, const float* weight, int64_t rows,
                                int64_t in, int64_t out, bool accumulate, Threads threads);
void linear_backward_weight_fast(float* dweight, const float* dy, const float* x, int64_t rows,
                                 int64_t in, int64_t out, Threads threads);
void linear_backward_bias_fast(float* dbias, const float* dy, int64_t rows, int64_t out,
                               Threads threads);

}  // namespace llm::cpu_ref
