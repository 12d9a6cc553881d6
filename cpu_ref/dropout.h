// Dropout with the masks of backend/dropout_mask.h; see backend.h. With bf16 tensors the scaled
// value is rounded once.
#pragma once

#include <cstdint>

namespace llm::cpu_ref {

// x, y: (samples, elements); sample_ids: (samples). y may be x.
void dropout(float* y, const float* x, const int64_t* sample_ids, int64_t samples, int64_t elements,
             float rate, uint64_t seed, uint32_t site, int threads);

}  // namespace llm::cpu_ref
