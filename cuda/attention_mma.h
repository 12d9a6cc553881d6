// Attention in bf16 on the tensor cores of compute capability 8.0 and later (mma.sync).
#pragma once

#include "cuda/attention_arguments.h"

namespace llm::cuda {

// Head sizes 64, 80, 96, 128; masks causal and full; a positive scale; packed rows, grouped heads,
// dropout. All strides must be multiples of 8 elements.
bool attention_mma_supports(const AttentionProblem& problem);
void attention_mma_forward(const AttentionForward& tensors, const AttentionProblem& problem,
                           cudaStream_t stream);
// With dropout this has a bit per probability: Tk / 8 bytes per query and head.
int64_t attention_mma_backward_scratch(const AttentionProblem& problem);
// Deterministic.   scratch: aligned to 256 bytes
void attention_mma_backward(const AttentionBackward& tensors, const AttentionProblem& problem,
                            void* scratch, cudaStream_t stream);

}  // namespace llm::cuda
