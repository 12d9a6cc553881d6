// Dropout with a mask that is a function of (seed, site, sample, element); see backend.h,
// backend/dropout_mask.h and base/rng.h, whose Philox layout this follows bit for bit.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// y = x / (1 - rate) where kept, else 0; y may be x.   x, y: (batch, sample_size)
//   sample_ids: (batch), the global index of each sample
void dropout(void* y, const void* x, const int64_t* sample_ids, Element element, int64_t batch,
             int64_t sample_size, float rate, uint64_t seed, uint32_t site, cudaStream_t stream);

}  // namespace llm::cuda
