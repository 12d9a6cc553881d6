// Token and position embeddings; see backend.h and cpu_ref/embedding.h.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// y: (rows, channels) = token_table[tokens[row]] + position_table[positions[row]], summed in f32
// and rounded once. positions may be null: row % length. position_table may be null.
void embedding_forward(void* y, const int32_t* tokens, const int32_t* positions,
                       const void* token_table, const void* position_table, Element element,
                       int64_t rows, int64_t length, int64_t channels, cudaStream_t stream);

// Bytes of scratch that embedding_backward needs.
int64_t embedding_backward_scratch(int64_t rows, int64_t channels);
// dtable[indices[row]] += dy[row] for all rows, in an order that depends on the indices alone: the
// same bits every time, without float atomics.   dtable: (table_rows, channels) f32
//   dy: (rows, channels)   scratch: aligned to 256 bytes
void embedding_backward(float* dtable, const void* dy, const int32_t* indices, Element element,
                        int64_t rows, int64_t channels, int64_t table_rows, void* scratch,
                        cudaStream_t stream);
// The same where the index is row % length: the position table without explicit positions.
void embedding_backward_positions(float* dtable, const void* dy, Element element, int64_t rows,
                                  int64_t length, int64_t channels, cudaStream_t stream);

}  // namespace llm::cuda
