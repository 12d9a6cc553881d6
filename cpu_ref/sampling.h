// Drawing tokens; see sample_tokens in backend.h and backend/sampling.h.
#pragma once

#include "backend/backend.h"

namespace llm {

void run_sample_tokens(const SampledSequences& sequences, const Tensor& logits, int64_t vocab,
                       const SamplingOptions& options);

}  // namespace llm
