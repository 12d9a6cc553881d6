// Sums of token and position embeddings; see backend.h. With bf16 tables the sum is formed in f32
// and rounded once; gradients are f32.
#pragma once

#include <cstdint>

#include "cpu_ref/thread_pool.h"
#include "cpu_ref/widen.h"

namespace llm::cpu_ref {

// y: (rows, C) with rows = B T; positions may be null: row % T. position_table may be null. Only
// the rows of the tables that are asked for are read.
void embedding_forward(float* y, const int32_t* tokens, const int32_t* positions,
                       StoredRows token_table, StoredRows position_table, int64_t rows,
                       int64_t length, int64_t channels, Threads threads);
// Adds to the tables' gradients; either may be null.
void embedding_backward(float* dtoken_table, float* dposition_table, const float* dy,
                        const int32_t* tokens, const int32_t* positions, int64_t rows,
                        int64_t length, int64_t channels, Threads threads);

}  // namespace llm::cpu_ref
