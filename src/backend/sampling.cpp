#include "backend/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "base/error.h"

namespace llm {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

bool by_id(const Scored& a, const Scored& b) { return a.id < b.id; }

// The highest logits of groups of kLanes: the logits of a tile of kLanes^2 that lie kLanes apart,
// so that one vector operation serves kLanes groups.
constexpr size_t kLanes = 16, kTile = kLanes * kLanes;
struct GroupMaxima {
  std::vector<float>
      maxima;  // group g: element g % kLanes of tile g / kLanes and every kLanes-th on
  float highest;
};

// Throws where a logit is NaN or +inf, or none is finite: a model whose numbers went wrong must not
// go unnoticed.
void check_finite(std::span<const float> logits, float highest, bool all_below_infinity) {
  if (!all_below_infinity) {
    const auto bad = std::find_if(logits.begin(), logits.end(), [](float logit) {
      return !(logit < std::numeric_limits<float>::infinity());
    });
    throw Error(ErrorKind::numerics, "sampling",
                fmt::format("logit of token {} is {}", bad - logits.begin(), *bad),
                "the model's weights or activations are not finite");
  }
  if (highest == kLowest) {
    throw Error(ErrorKind::numerics, "sampling", "no token has a finite logit");
  }
}

// In one pass over the logits, which it checks. Written for the compiler to vectorize.
GroupMaxima group_maxima(std::span<const float> logits) {
  GroupMaxima result{{}, kLowest};
  result.maxima.reserve(logits.size() / kLanes + kLanes);
  std::array<int, kLanes> below_infinity;
  below_infinity.fill(1);
  std::array<float, kTile> last;
  for (size_t begin = 0; begin < logits.size(); begin += kTile) {
    const float* tile = logits.data() + begin;
    if (begin + kTile > logits.size()) {
      last.fill(kLowest);
      std::copy(logits.begin() + static_cast<std::ptrdiff_t>(begin), logits.end(), last.begin());
      tile = last.data();
    }
    std::array<float, kLanes> maxima;
    maxima.fill(kLowest);
    for (size_t row = 0; row < kTile; row += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const float logit = tile[row + lane];
        maxima[lane] = logit > maxima[lane] ? logit : maxima[lane];
        below_infinity[lane] &= static_cast<int>(logit < std::numeric_limits<float>::infinity());
      }
    }
    result.maxima.insert(result.maxima.end(), maxima.begin(), maxima.end());
  }
  for (float value : result.maxima) result.highest = std::max(result.highest, value);
  check_finite(logits, result.highest,
               std::all_of(below_infinity.begin(), below_infinity.end(), [](int x) { return x; }));
  return result;
}

// The tokens of the groups whose highest logit is at least `lowest`, with at least that logit and
// not -inf. Each group in the order of ids.
std::vector<Scored> at_least(std::span<const float> logits, const GroupMaxima& groups,
                             float lowest) {
  std::vector<Scored> scores;
  for (size_t group = 0; group < groups.maxima.size(); ++group) {
    if (groups.maxima[group] < lowest || groups.maxima[group] == kLowest) continue;
    const size_t begin = group / kLanes * kTile + group % kLanes;
    const size_t end = std::min(logits.size(), begin + kTile);
    for (size_t i = begin; i < end; i += kLanes) {
      if (logits[i] >= lowest && logits[i] != kLowest) {
        scores.push_back({static_cast<int32_t>(i), logits[i]});
      }
    }
  }
  return scores;
}

// All with a finite logit, in the order of ids.
std::vector<Scored> finite_scores(std::span<const float> logits) {
  std::vector<Scored> scores;
  scores.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != kLowest) scores.push_back({static_cast<int32_t>(i), logits[i]});
  }
  return scores;
}

// The k most likely. As many groups have a logit of at least the k-th highest maximum, so k tokens
// have: the others need no look.
std::vector<Scored> top_scores_of(std::span<const float> logits, const GroupMaxima& groups,
                                  size_t k) {
  std::vector<Scored> scores;
  if (k < groups.maxima.size()) {
    std::vector<float> maxima = groups.maxima;
    const auto place = maxima.begin() + static_cast<std::ptrdiff_t>(k - 1);
    std::nth_element(maxima.begin(), place, maxima.end(), std::greater<>());
    scores = at_least(logits, groups, *place);
  } else {
    scores = finite_scores(logits);
  }
  if (scores.size() > k) {
    std::nth_element(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(k - 1),
                     scores.end(), before);
    scores.resize(k);
  }
  return scores;
}

// The functions below take scores relative to the highest.

// The fewest most likely tokens that reach probability p. The scores are put into bands; only the
// band where p is reached has to be sorted.
void keep_top_p(std::vector<Scored>& scores, double p) {
  if (p >= 1) return;
  constexpr double kBandsPerUnit = 8;
  constexpr size_t kBands = 256;  // the last one is open
  const auto band_of = [](double score) {
    return static_cast<size_t>(std::min(-score * kBandsPerUnit, kBands - 1.0));
  };
  std::array<double, kBands> sums{};
  for (const Scored& entry : scores) sums[band_of(entry.score)] += std::exp(entry.score);
  double total = 0, reached = 0;
  for (double sum : sums) total += sum;
  size_t last = 0;
  while (last + 1 < kBands && reached + sums[last] < p * total) reached += sums[last++];

  std::vector<Scored> kept, doubtful;
  for (const Scored& entry : scores) {
    const size_t band = band_of(entry.score);
    if (band < last) kept.push_back(entry);
    if (band == last) doubtful.push_back(entry);
  }
  std::sort(doubtful.begin(), doubtful.end(), before);
  for (const Scored& entry : doubtful) {
    kept.push_back(entry);
    reached += std::exp(entry.score);
    if (reached >= p * total) break;
  }
  scores = std::move(kept);
}

void keep_min_p(std::vector<Scored>& scores, double min_p) {
  const double lowest = std::log(min_p);
  std::erase_if(scores, [&](const Scored& entry) { return entry.score < lowest; });
}

// The cuts, for scores relative to the highest.
void cut(std::vector<Scored>& scores, const SamplingOptions& options) {
  keep_top_p(scores, options.top_p);
  if (options.min_p > 0) keep_min_p(scores, options.min_p);
  // In the order of ids, so that a draw does not depend on how the cuts rearranged the tokens.
  std::sort(scores.begin(), scores.end(), by_id);
}

}  // namespace

bool before(const Scored& a, const Scored& b) {
  return a.score != b.score ? a.score > b.score : a.id < b.id;
}

void penalize(std::span<float> logits, std::span<const int32_t> history, double penalty) {
  std::vector<bool> seen(logits.size(), false);
  for (int32_t id : history) {
    const auto at = static_cast<size_t>(id);
    if (id < 0 || at >= logits.size() || seen[at]) continue;
    seen[at] = true;
    const double logit = logits[at];
    // Not beyond what is finite, where a token would be forbidden.
    constexpr double most = std::numeric_limits<float>::max();
    const double changed = logit > 0 ? logit / penalty : logit * penalty;
    if (std::isfinite(logit)) logits[at] = static_cast<float>(std::clamp(changed, -most, most));
  }
}

std::vector<Scored> top_scores(std::span<const float> logits, size_t k) {
  return top_scores_of(logits, group_maxima(logits), k);
}

void Weighted::add(int32_t id, double score) {
  candidates.push_back({id, std::exp(score)});
  total += candidates.back().probability;
}

Weighted weigh(const SamplingOptions& options, std::span<const float> logits,
               std::span<const int32_t> history) {
  std::vector<float> copy;
  if (options.repetition_penalty != 1) {
    copy.assign(logits.begin(), logits.end());
    penalize(copy, history, options.repetition_penalty);
    logits = copy;
  }
  const GroupMaxima groups = group_maxima(logits);
  if (options.temperature == 0) {
    const std::vector<Scored> best = at_least(logits, groups, groups.highest);
    return {{{std::min_element(best.begin(), best.end(), by_id)->id, 1.0}}, 1.0};
  }
  // Relative to the highest, so that the smallest temperature overflows nothing.
  const double highest = groups.highest;
  Weighted weighted;
  if (options.top_k == 0 && options.top_p >= 1 && options.min_p == 0) {
    weighted.candidates.reserve(logits.size());
    for (size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] == kLowest) continue;
      weighted.add(static_cast<int32_t>(i), (logits[i] - highest) / options.temperature);
    }
    return weighted;
  }
  std::vector<Scored> scores =
      options.top_k > 0 ? top_scores_of(logits, groups, static_cast<size_t>(options.top_k))
                        : finite_scores(logits);
  for (Scored& entry : scores) entry.score = (entry.score - highest) / options.temperature;
  cut(scores, options);
  weighted.candidates.reserve(scores.size());
  for (const Scored& entry : scores) weighted.add(entry.id, entry.score);
  return weighted;
}

int32_t draw(const Weighted& weighted, double uniform) {
  double rest = weighted.total * uniform;
  for (const Candidate& candidate : weighted.candidates) {
    rest -= candidate.probability;
    if (rest < 0) return candidate.id;
  }
  // Rounding left a sliver: it belongs to the last token that has any probability.
  const auto last = std::find_if(weighted.candidates.rbegin(), weighted.candidates.rend(),
                                 [](const Candidate& entry) { return entry.probability > 0; });
  return last->id;
}

}  // namespace llm
