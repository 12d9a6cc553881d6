// transformer_decode and sample_tokens of the CUDA backend: checks, and what kernels are given.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "cuda/transformer_decode.h"

namespace llm::cuda {

class DecodeOps {
 public:
  // Takes memory of `backend`, which must outlive it, where the device has the kernels.
  DecodeOps(Backend& backend, bool hopper, cudaStream_t stream);

  int64_t own_memory() const { return memory_ ? memory_->bytes() : 0; }
  // The most sequences that are computed at once; 0: the kernels do not take this model.
  int64_t sequences(const DecodeModel& model) const;
  // Any number of sequences, where they take the model.
  // after_sampling: the op before was sample_tokens
  void run(Tensor logits, Tensor tokens, Tensor positions, Tensor block_table, Tensor lengths,
           const DecodeModel& model, bool after_sampling);

  void sample(const SampledSequences& sequences, Tensor logits, int64_t vocab,
              const SamplingOptions& options);

 private:
  int64_t at_once(const DecodeModel& model) const;

  cudaStream_t stream_;
  std::unique_ptr<DeviceMemory> memory_;  // of transformer_decode, then of decode_batch
};

}  // namespace llm::cuda
