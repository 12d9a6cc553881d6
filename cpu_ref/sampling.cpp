#include "cpu_ref/sampling.h"

#include <algorithm>

#include "backend/sampling.h"
#include "base/error.h"
#include "base/rng.h"

namespace llm {
namespace {

// -1 where the logits are not finite.
int32_t drawn(const SamplingOptions& options, std::span<const float> logits, double uniform) {
  try {
    return draw(weigh(options, logits, {}), uniform);
  } catch (const Error&) {
    return -1;
  }
}

}  // namespace

void run_sample_tokens(const SampledSequences& sequences, const Tensor& logits, int64_t vocab,
                       const SamplingOptions& options) {
  const int64_t S = sequences.tokens.size(), N = sequences.history.dim(1);
  const int64_t padded = logits.columns(), rows = sequences.log.dim(0);
  for (int64_t s = 0; s < S; ++s) {
    int32_t* history = sequences.history.i32() + s * N;
    int32_t &length = sequences.lengths.i32()[s], &draws = sequences.draws.i32()[s];
    const Random random(sequences.seed, static_cast<uint64_t>(sequences.streams.i64()[s]));
    const std::span<float> row(logits.f32() + s * padded, static_cast<size_t>(vocab));
    if (options.repetition_penalty != 1) {
      penalize(row, {history, static_cast<size_t>(length)}, options.repetition_penalty);
    }
    SamplingOptions rest = options;
    rest.repetition_penalty = 1;
    const int32_t id = drawn(rest, row, random.uniform(static_cast<uint64_t>(draws)));
    sequences.log.i32()[draws % rows * S + s] = id;
    const int64_t at = std::min<int64_t>(length, N - 1);
    history[at] = sequences.tokens.i32()[s] = std::max(id, 0);
    sequences.positions.i32()[s] = static_cast<int32_t>(at);
    length = static_cast<int32_t>(at + 1);
    ++draws;
  }
}

}  // namespace llm
