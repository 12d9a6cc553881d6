// Drawing tokens on the device; see sample_tokens in backend.h and backend/sampling.h.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

struct SamplingProblem {
  float* logits;  // (S, padded)
  int64_t S, vocab, padded;
  int32_t* history;  // (S, N)
  int64_t N;
  int32_t *lengths, *draws, *tokens, *positions;  // (S)
  int32_t* log;                                   // (log_rows, S)
  int64_t log_rows;
  const int64_t* streams;  // (S)
  uint64_t seed;
  double temperature, top_p, min_p, repetition_penalty;
  int64_t top_k;
};

void sample_tokens(const SamplingProblem& problem, cudaStream_t stream);

}  // namespace llm::cuda
