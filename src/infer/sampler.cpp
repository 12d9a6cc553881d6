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

struct Scored {
  TokenId id;
  double score;
};

// The most likely first; ties by id, so that the order is one and the same everywhere.
bool before(const Scored& a, const Scored& b) {
  return a.score != b.score ? a.score > b.score : a.id < b.id;
}
bool after(const Scored& a, const Scored& b) { return before(b, a); }

void check_range(const char* option, double value, double low, double high) {
  if (!(value >= low && value <= high)) {
    fail_usage(option, fmt::format("is {}, must be in [{}, {}]", value, low, high));
  }
}

// The finite logits. A model whose numbers went wrong must not go unnoticed.
std::vector<Scored> scores_of(std::span<const float> logits) {
  std::vector<Scored> scores;
  scores.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    const float logit = logits[i];
    if (std::isnan(logit) || logit == std::numeric_limits<float>::infinity()) {
      throw Error(ErrorKind::numerics, "sampling", fmt::format("logit of token {} is {}", i, logit),
                  "the model's weights or activations are not finite");
    }
    if (std::isfinite(logit)) scores.push_back({static_cast<TokenId>(i), logit});
  }
  if (scores.empty()) {
    throw Error(ErrorKind::numerics, "sampling", "no token has a finite logit");
  }
  return scores;
}

void penalize_repetition(std::vector<Scored>& scores, std::span<const TokenId> history,
                         size_t vocab, double penalty) {
  std::vector<bool> seen(vocab, false);
  for (TokenId id : history) {
    if (id >= 0 && static_cast<size_t>(id) < vocab) seen[static_cast<size_t>(id)] = true;
  }
  for (Scored& entry : scores) {
    if (!seen[static_cast<size_t>(entry.id)]) continue;
    entry.score = entry.score > 0 ? entry.score / penalty : entry.score * penalty;
  }
}

void keep_top_k(std::vector<Scored>& scores, int64_t k) {
  if (k <= 0 || static_cast<size_t>(k) >= scores.size()) return;
  std::nth_element(scores.begin(), scores.begin() + (k - 1), scores.end(), before);
  scores.resize(static_cast<size_t>(k));
}

// The functions below take scores relative to the highest.

// The fewest most likely tokens that reach probability p. A heap, since usually few are needed.
void keep_top_p(std::vector<Scored>& scores, double p) {
  if (p >= 1) return;
  std::make_heap(scores.begin(), scores.end(), after);
  double total = 0;
  for (const Scored& entry : scores) total += std::exp(entry.score);
  auto heap_end = scores.end();
  double reached = 0;
  while (heap_end != scores.begin() && (heap_end == scores.end() || reached < p * total)) {
    std::pop_heap(scores.begin(), heap_end, after);
    --heap_end;
    reached += std::exp(heap_end->score);
  }
  scores.erase(scores.begin(), heap_end);
}

void keep_min_p(std::vector<Scored>& scores, double min_p) {
  const double lowest = std::log(min_p);
  std::erase_if(scores, [&](const Scored& entry) { return entry.score < lowest; });
}

double highest_score(const std::vector<Scored>& scores) {
  double highest = kNegativeInfinity;
  for (const Scored& entry : scores) highest = std::max(highest, entry.score);
  return highest;
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
    : options_(options), seed_(seed), stream_(stream_id(fmt::format("generate:{}", sample))) {
  validate(options);
}

std::vector<Candidate> Sampler::distribution(std::span<const float> logits,
                                             std::span<const TokenId> history) const {
  std::vector<Scored> scores = scores_of(logits);
  if (options_.repetition_penalty != 1) {
    penalize_repetition(scores, history, logits.size(), options_.repetition_penalty);
  }
  if (options_.temperature == 0) {
    return {{std::min_element(scores.begin(), scores.end(), before)->id, 1.0}};
  }
  // Relative to the highest, so that the smallest temperature overflows nothing.
  const double highest = highest_score(scores);
  for (Scored& entry : scores) entry.score = (entry.score - highest) / options_.temperature;
  keep_top_k(scores, options_.top_k);
  keep_top_p(scores, options_.top_p);
  if (options_.min_p > 0) keep_min_p(scores, options_.min_p);
  // In the order of ids, so that a draw does not depend on how the cuts rearranged the tokens.
  std::sort(scores.begin(), scores.end(),
            [](const Scored& a, const Scored& b) { return a.id < b.id; });

  std::vector<Candidate> candidates;
  candidates.reserve(scores.size());
  double total = 0;
  for (const Scored& entry : scores) {
    candidates.push_back({entry.id, std::exp(entry.score)});
    total += candidates.back().probability;
  }
  for (Candidate& candidate : candidates) candidate.probability /= total;
  return candidates;
}

TokenId Sampler::draw(std::span<const float> logits, std::span<const TokenId> history,
                      uint64_t number) const {
  const std::vector<Candidate> candidates = distribution(logits, history);
  double rest = Random(seed_, stream_).uniform(number);
  for (const Candidate& candidate : candidates) {
    rest -= candidate.probability;
    if (rest < 0) return candidate.id;
  }
  // Rounding left a sliver: it belongs to the last token that has any probability.
  const auto last = std::find_if(candidates.rbegin(), candidates.rend(),
                                 [](const Candidate& entry) { return entry.probability > 0; });
  return last->id;
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, int64_t count) {
  std::vector<Scored> scores = scores_of(logits);
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
