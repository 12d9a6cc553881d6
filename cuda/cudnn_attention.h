// Attention by cuDNN 9, NVIDIA's library. It is loaded when the program runs, so that a program
// built with its headers runs without it. What it computes is what attention_arguments.h says, of
// bf16 tensors; softmax and sums are f32, the probabilities are rounded to bf16 before they
// multiply v, and so are the gradients of the scores before they multiply q and k.
#pragma once

#include <memory>
#include <string>

#include "cuda/attention_arguments.h"

namespace llm::cuda {

class CudnnAttention {
 public:
  // Null, with the reason, where cuDNN is not there, cannot be used or was not built in.
  // repeatable: the backward pass gives the same bits each time; without, it takes less time and
  // memory, and is here to be measured.
  static std::unique_ptr<CudnnAttention> make(cudaStream_t stream, std::string& reason,
                                              bool repeatable = true);
  virtual ~CudnnAttention() = default;

  virtual std::string version() const = 0;  // "9.14.0"

  // Whether the library can do this: no window, no dropout, no packed rows, heads of a multiple of
  // 8 elements up to 128, rows aligned to 16 bytes, fewer than 2^31 elements and scores. The first
  // call for a problem and its strides prepares a plan, which takes up to a second; all others are
  // cheap. Safe while recording.
  virtual bool supports_forward(const AttentionForward& tensors,
                                const AttentionProblem& problem) = 0;
  virtual bool supports_backward(const AttentionBackward& tensors,
                                 const AttentionProblem& problem) = 0;

  // Bytes of workspace for tensors of these shapes, whatever their strides and mask; 0 where they
  // are not supported. A repeatable backward pass keeps all scores: about 2 B H Tq Tk bytes.
  virtual int64_t forward_workspace(const AttentionProblem& problem) = 0;
  virtual int64_t backward_workspace(const AttentionProblem& problem) = 0;

  // For what is supported; others assert. workspace: as large as said above, aligned to 256.
  virtual void forward(const AttentionForward& tensors, const AttentionProblem& problem,
                       void* workspace) = 0;
  virtual void backward(const AttentionBackward& tensors, const AttentionProblem& problem,
                        void* workspace) = 0;
};

}  // namespace llm::cuda
