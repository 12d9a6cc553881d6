// Which attention kernel runs: of those that can, the fastest at this shape, by timing them once.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/tuning_plan.h"
#include "cuda/attention_arguments.h"
#include "cuda/cudnn_attention.h"

namespace llm::cuda {

// A (B, T, heads, D) tensor with a dense last axis.
Heads heads_of(const Tensor& tensor);

enum class AttentionPolicy { automatic, own, cudnn };
// Asserts that it is one of auto, own, cudnn.
AttentionPolicy attention_policy(const std::string& name);

class AttentionOps {
 public:
  // hopper: the GPU is of compute capability 9.0. Without cuDNN, the policy cudnn throws
  // Error{device}.
  AttentionOps(TuningPlan& plan, cudaStream_t stream, AttentionPolicy policy, bool hopper);

  // For tensors of these shapes, with any mask: what the hungriest of the kernels takes that may
  // run there. With dropout those are other ones.
  int64_t forward_scratch(const Tensor& q, const Tensor& k) const;
  int64_t backward_scratch(const Tensor& q, const Tensor& k, bool dropout) const;

  // scratch: at least so many bytes.
  void forward(Tensor out, Tensor lse, Tensor q, Tensor k, Tensor v,
               const AttentionOptions& options, void* scratch);
  void backward(Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor out, Tensor lse, Tensor q,
                Tensor k, Tensor v, const AttentionOptions& options, void* scratch);

  void set_tuning(bool on) { tuning_ = on; }

 private:
  enum class Kernel { hopper, cudnn, mma, plain };
  template <typename Run>
  Kernel choose(const std::string& key, const std::vector<Kernel>& able, const Run& run);
  template <typename Run>
  double seconds_of(const Run& run);
  std::vector<Kernel> able_forward(const AttentionForward& tensors, const AttentionProblem& problem,
                                   DType dtype) const;
  std::vector<Kernel> able_backward(const AttentionBackward& tensors,
                                    const AttentionProblem& problem, DType dtype) const;

  TuningPlan& plan_;
  cudaStream_t stream_;
  AttentionPolicy policy_;
  bool hopper_, tuning_ = false;
  std::unique_ptr<CudnnAttention> cudnn_;
};

}  // namespace llm::cuda
