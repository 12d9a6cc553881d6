// Drawing tokens.
#include <fmt/format.h>

#include <cmath>

#include "base/rng.h"
#include "cli/op_cases.h"

namespace llm {
namespace {

struct SamplingShape {
  int64_t sequences, vocab, padded;
  SamplingOptions options;
  bool coarse = false;  // logits that are often equal

  std::string text() const {
    return fmt::format("S {} V {}, temperature {} top-k {} top-p {} min-p {} penalty {}{}",
                       sequences, vocab, options.temperature, options.top_k, options.top_p,
                       options.min_p, options.repetition_penalty, coarse ? ", equal logits" : "");
  }
};

// Logits as they are of a language model: a few tokens have most of the probability. Equal ones are
// multiples of a half.
std::vector<float> make_logits(const SamplingShape& s, uint64_t seed) {
  const Random random(seed, stream_id("sampling logits"));
  std::vector<float> logits(static_cast<size_t>(s.sequences * s.padded));
  for (size_t i = 0; i < logits.size(); ++i) {
    const double x = 2.5 * random.normal(i);
    logits[i] = static_cast<float>(s.coarse ? std::round(2 * x) / 2 : x);
  }
  return logits;
}

// Different drawn tokens are different numbers: the results have to be exact, and the random
// numbers of a case are far enough from where two tokens meet for any order of sums.
OpCase sampling_case(DType dtype, const SamplingShape& s) {
  OpCase each{"sample_tokens", dtype, s.text(), {}, kExact};
  each.tolerance.f32 = kF32Bounds;  // logits after the penalty
  each.large = s.sequences * s.vocab > 200'000;
  each.prepare = [=](OpTensors& tensors) {
    const int64_t S = s.sequences, N = 40;
    std::vector<int32_t> history, lengths, draws, none(static_cast<size_t>(S), -1);
    std::vector<int64_t> streams;
    for (int64_t i = 0; i < S; ++i) {
      for (int64_t t = 0; t < N; ++t) {
        history.push_back(static_cast<int32_t>((i * 31 + t * t * 7) % s.vocab));
      }
      lengths.push_back(static_cast<int32_t>(i % 5 == 3 ? N : 5 + i % 30));
      draws.push_back(static_cast<int32_t>(i % 4));
      streams.push_back(1000 + i * 77);
    }
    const auto changed = [&](const char* name, const Shape& shape,
                             const std::vector<int32_t>& values) {
      return tensors.changed(tensors.integers(name, shape, values));
    };
    SampledSequences sequences;
    sequences.history = changed("history", {S, N}, history);
    sequences.lengths = changed("lengths", {S}, lengths);
    sequences.draws = changed("draws", {S}, draws);
    sequences.tokens = changed("tokens", {S}, none);
    sequences.positions = changed("positions", {S}, none);
    sequences.log = changed("log", {3, S}, std::vector<int32_t>(static_cast<size_t>(3 * S), -5));
    sequences.streams = tensors.integers64("streams", {S}, streams);
    sequences.seed = 5;
    const Tensor logits = tensors.changed(
        tensors.input("logits", DType::f32, {S, s.padded}, make_logits(s, tensors.seed())));
    tensors.set_traffic(S * s.vocab * 4);
    return [=, options = s.options, vocab = s.vocab, &backend = tensors.backend()] {
      backend.sample_tokens(sequences, logits, vocab, options);
    };
  };
  return each;
}

}  // namespace

OpCases sampling_cases() {
  const auto with = [](double temperature, int64_t top_k, double top_p, double min_p,
                       double penalty) {
    return SamplingOptions{temperature, top_k, top_p, min_p, penalty};
  };
  const SamplingOptions greedy = with(0, 0, 1, 0, 1), usual = with(0.8, 200, 1, 0, 1);
  OpCases cases;
  for (const SamplingShape& shape :
       std::vector<SamplingShape>{{1, 1, 128, greedy},
                                  {7, 130, 256, greedy, true},
                                  {64, 1009, 1024, greedy},
                                  {8, 1009, 1024, usual},
                                  {8, 1009, 1024, usual, true},
                                  {9, 150, 256, usual},
                                  {8, 1009, 1024, with(1, 0, 1, 0, 1)},
                                  {8, 1009, 1024, with(1.3, 0, 0.7, 0, 1)},
                                  {8, 1009, 1024, with(1, 40, 0.8, 0, 1.3), true},
                                  {8, 1009, 1024, with(1, 0, 1, 0.05, 1)},
                                  {8, 1009, 1024, with(0.7, 700, 0.95, 0.02, 0.8)},
                                  {8, 1009, 1024, with(0, 0, 1, 0, 50)},
                                  {3, 50257, 50304, usual},
                                  {3, 50257, 50304, with(1, 0, 0.9, 0, 1.1)},
                                  {2, 60001, 60032, usual}}) {
    cases.push_back(sampling_case(DType::f32, shape));
  }
  return cases;
}

OpCases sampling_benchmarks(const OpSizes& sizes, DType) {
  const int64_t padded = (sizes.vocab + 127) / 128 * 128;
  return {sampling_case(DType::f32, {1, sizes.vocab, padded, SamplingOptions{}}),
          sampling_case(DType::f32, {1, sizes.vocab, padded, {.temperature = 0}})};
}

}  // namespace llm
