#include "infer/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/rng.h"

namespace llm {
namespace {

constexpr double kNegativeInfinity = -std::numeric_limits<double>::infinity();

void check_range(const char* option, double value, double low, double high) {
  if (!(value >= low && value <= high)) {
    fail_usage(option, fmt::format("is {}, must be in [{}, {}]", value, low, high));
  }
}

double log_sum_exp(std::span<const float> logits) {
  double highest = kNegativeInfinity, sum = 0;
  for (float logit : logits) highest = std::max<double>(highest, logit);
  for (float logit : logits) sum += std::exp(logit - highest);
  return highest + std::log(sum);
}

}  // namespace

void validate(const SamplerOptions& options) {
  check_range("--temperature", options.temperature, 0, 100);
  check_range("--top-k", static_cast<double>(options.top_k), 0, 1 << 24);
  check_range("--min-p", options.min_p, 0, 1);
  check_range("--repetition-penalty", options.repetition_penalty, 0.01, 100);
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    fail_usage("--top-p", fmt::format("is {}, must be in (0, 1]", options.top_p));
  }
}

Sampler::Sampler(const SamplerOptions& options, uint64_t seed, uint64_t sample)
    : options_(options), seed_(seed), stream_(stream_of(sample)) {
  validate(options);
}

uint64_t Sampler::stream_of(uint64_t sample) {
  return stream_id(fmt::format("generate:{}", sample));
}

std::vector<Candidate> Sampler::distribution(std::span<const float> logits,
                                             std::span<const TokenId> history) const {
  Weighted weighted = weigh(options_, logits, history);
  for (Candidate& candidate : weighted.candidates) candidate.probability /= weighted.total;
  return weighted.candidates;
}

TokenId Sampler::draw(std::span<const float> logits, std::span<const TokenId> history,
                      uint64_t number) const {
  return llm::draw(weigh(options_, logits, history), Random(seed_, stream_).uniform(number));
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, int64_t count) {
  std::vector<Scored> scores = top_scores(logits, static_cast<size_t>(std::max<int64_t>(count, 1)));
  const auto kept = std::min(static_cast<int64_t>(scores.size()), count);
  std::partial_sort(scores.begin(), scores.begin() + kept, scores.end(), before);
  const double normalizer = log_sum_exp(logits);
  std::vector<TokenLogprob> result;
  for (int64_t i = 0; i < kept; ++i) {
    const Scored& entry = scores[static_cast<size_t>(i)];
    result.push_back({entry.id, entry.score - normalizer});
  }
  return result;
}

double logprob_of(std::span<const float> logits, TokenId id) {
  return logits[static_cast<size_t>(id)] - log_sum_exp(logits);
}

}  // namespace llm
