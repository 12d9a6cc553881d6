// Attention for any mask, stride and head size up to 256, f32 or bf16, in f32 arithmetic: what
// checks compare with and what runs where no faster kernel fits. Nothing of size Tq x Tk in memory.
#pragma once

#include "cuda/attention_arguments.h"

namespace llm::cuda {

constexpr int64_t kAttentionPlainMaxHeadSize = 256;

void attention_plain_forward(const AttentionForward& tensors, const AttentionProblem& problem,
                             Element element, cudaStream_t stream);
int64_t attention_plain_backward_scratch(const AttentionProblem& problem);
// Deterministic.   scratch: aligned to 16 bytes
void attention_plain_backward(const AttentionBackward& tensors, const AttentionProblem& problem,
                              Element element, void* scratch, cudaStream_t stream);

}  // namespace llm::cuda
