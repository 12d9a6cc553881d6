#include "cpu_ref/dropout.h"

#include "backend/dropout_mask.h"
#include "cpu_ref/threads.h"

namespace llm::cpu_ref {

void dropout(float* y, const float* x, const int64_t* sample_ids, int64_t samples, int64_t elements,
             float rate, uint64_t seed, uint32_t site, Threads threads) {
  const uint32_t threshold = dropout_threshold(rate);
  const float kept_scale = 1.0f / (1.0f - rate);
  parallel_ranges(samples * elements, threads, kGrainElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t stream = dropout_stream(site, sample_ids[i / elements]);
      const auto element = static_cast<uint64_t>(i % elements);
      y[i] = dropout_keeps(seed, stream, element, threshold) ? x[i] * kept_scale : 0.0f;
    }
  });
}

}  // namespace llm::cpu_ref
