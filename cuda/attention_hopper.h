// Attention in bf16 on Hopper's own instructions (TMA, wgmma, warp specialization; sm_90a).
#pragma once

#include "cuda/attention_arguments.h"

namespace llm::cuda {

// Head sizes 64, 80, 96, 128; masks causal (no more queries than keys) and full; grouped heads; no
// packed rows, no dropout; batch, row and head strides multiples of 8 elements. The device must be
// of compute capability 9.0, and the kernels compiled for sm_90a.
bool attention_hopper_forward_supports(const AttentionProblem& problem);
void attention_hopper_forward(const AttentionForward& tensors, const AttentionProblem& problem,
                              cudaStream_t stream);
bool attention_hopper_backward_supports(const AttentionProblem& problem);
int64_t attention_hopper_backward_scratch(const AttentionProblem& problem);
// Deterministic.   scratch: aligned to 256 bytes
void attention_hopper_backward(const AttentionBackward& tensors, const AttentionProblem& problem,
                               void* scratch, cudaStream_t stream);

}  // namespace llm::cuda
