// Dropout with the masks of backend/dropout_mask.h; see backend.h. With bf16 tensors the scaled
// value is rounded once.
#pragma once

#include <cstdint>

#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

// x, y: (samples, elements); sample_ids: (samples). y may be x.
void dropout(float* y, const float* x, const int64_t* sample_ids, int64_t samples, int64_t elements,
             float rate, uint64_t seed, uint32_t site, Threads threads);

// The same, with many random numbers at a time.
void dropout_fast(float* y, const float* x, const int64_t* sample_ids, int64_t samples,
                  int64_t elements, float rate, uint64_t seed, uint32_t site, Threads threads);
// factors[i] = 0 or 1 / (1 - rate), for elements first + i of one sample; stream: dropout_stream().
void dropout_factors(float* factors, uint64_t seed, uint64_t stream, uint64_t first, int64_t count,
                     float rate);

}  // namespace llm::cpu_ref
