#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "infer/sampler.h"

namespace llm {
namespace {

// Everything off: the plain softmax.
SamplerOptions plain() { return {.temperature = 1, .top_k = 0}; }

std::vector<TokenId> ids_of(const std::vector<Candidate>& candidates) {
  std::vector<TokenId> ids;
  for (const Candidate& candidate : candidates) ids.push_back(candidate.id);
  return ids;
}

// Logits whose softmax is proportional to `weights`.
std::vector<float> logits_of(const std::vector<double>& weights) {
  std::vector<float> logits;
  for (double weight : weights) logits.push_back(static_cast<float>(std::log(weight)));
  return logits;
}

// Upper 1e-6 quantile of chi-square with `degrees` degrees (Wilson and Hilferty's approximation).
double chi_square_limit(double degrees) {
  const double z = 4.7534, a = 2 / (9 * degrees);
  return degrees * std::pow(1 - a + z * std::sqrt(a), 3);
}

double chi_square(const std::vector<Candidate>& expected, const std::vector<int64_t>& counts,
                  int64_t draws) {
  double sum = 0;
  for (const Candidate& candidate : expected) {
    const double wanted = candidate.probability * static_cast<double>(draws);
    const double difference =
        static_cast<double>(counts[static_cast<size_t>(candidate.id)]) - wanted;
    sum += difference * difference / wanted;
  }
  return sum;
}

std::vector<int64_t> draw_many(const Sampler& sampler, const std::vector<float>& logits,
                               int64_t draws) {
  std::vector<int64_t> counts(logits.size(), 0);
  for (int64_t n = 0; n < draws; ++n) {
    ++counts[static_cast<size_t>(sampler.draw(logits, {}, static_cast<uint64_t>(n)))];
  }
  return counts;
}

TEST(Sampler, DrawsFollowTheSoftmax) {
  std::vector<float> logits;
  for (int i = 0; i < 50; ++i) logits.push_back(static_cast<float>(std::sin(i * 1.7) * 2));
  const int64_t draws = 200'000;
  for (double temperature : {0.5, 1.0, 2.0}) {
    const Sampler sampler({.temperature = temperature, .top_k = 0}, 7, 0);
    std::vector<Candidate> expected;
    double total = 0;
    for (int i = 0; i < 50; ++i) {
      const double weight = std::exp(logits[static_cast<size_t>(i)] / temperature);
      expected.push_back({i, weight});
      total += weight;
    }
    for (Candidate& candidate : expected) candidate.probability /= total;
    const double statistic = chi_square(expected, draw_many(sampler, logits, draws), draws);
    EXPECT_LT(statistic, chi_square_limit(49)) << "temperature " << temperature;
    EXPECT_GT(statistic, 10) << "too even to be random";
  }
}

TEST(Sampler, ChiSquareTestNoticesAWrongTemperature) {
  const std::vector<float> logits = logits_of({1, 2, 3, 4, 5, 6, 7, 8});
  const Sampler wrong({.temperature = 1.1, .top_k = 0}, 7, 0);
  const Sampler right(plain(), 7, 0);
  const double statistic =
      chi_square(right.distribution(logits, {}), draw_many(wrong, logits, 200'000), 200'000);
  EXPECT_GT(statistic, chi_square_limit(7));
}

TEST(Sampler, ZeroTemperatureIsArgmaxAndTiesGoToTheLowestId) {
  const Sampler greedy({.temperature = 0}, 1, 0);
  EXPECT_EQ(greedy.draw(std::vector<float>{0, 3, 1, 3}, {}, 0), 1);
  EXPECT_EQ(greedy.draw(std::vector<float>{-5, -4}, {}, 9), 1);
}

TEST(Sampler, TinyTemperatureIsFinite) {
  const Sampler sampler({.temperature = 1e-300, .top_k = 0, .top_p = 0.9, .min_p = 0.1}, 1, 0);
  EXPECT_EQ(sampler.draw(std::vector<float>{80, 81, -50}, {}, 3), 1);
}

TEST(Sampler, TopKKeepsExactlyKAndBreaksTiesById) {
  const Sampler sampler({.temperature = 1, .top_k = 2}, 1, 0);
  const auto kept = sampler.distribution(std::vector<float>{1, 2, 2, 2, 0}, {});
  EXPECT_EQ(ids_of(kept), (std::vector<TokenId>{1, 2}));
  EXPECT_DOUBLE_EQ(kept[0].probability, 0.5);
}

TEST(Sampler, TopPKeepsTheFewestThatReachP) {
  const std::vector<float> logits = logits_of({0.1, 0.4, 0.3, 0.2});
  const auto kept = [&](double p) {
    return ids_of(
        Sampler({.temperature = 1, .top_k = 0, .top_p = p}, 1, 0).distribution(logits, {}));
  };
  EXPECT_EQ(kept(0.05), (std::vector<TokenId>{1}));
  EXPECT_EQ(kept(0.39), (std::vector<TokenId>{1}));
  EXPECT_EQ(kept(0.6), (std::vector<TokenId>{1, 2}));
  EXPECT_EQ(kept(0.75), (std::vector<TokenId>{1, 2, 3}));
  EXPECT_EQ(kept(1.0), (std::vector<TokenId>{0, 1, 2, 3}));
}

TEST(Sampler, MinPIsRelativeToTheMostLikely) {
  const std::vector<float> logits = logits_of({0.1, 0.4, 0.3, 0.19});
  const SamplerOptions options{.temperature = 1, .top_k = 0, .min_p = 0.5};
  EXPECT_EQ(ids_of(Sampler(options, 1, 0).distribution(logits, {})), (std::vector<TokenId>{1, 2}));
}

TEST(Sampler, ProbabilitiesAfterCutsAreRenormalized) {
  const std::vector<float> logits = logits_of({0.1, 0.4, 0.3, 0.2});
  const auto kept =
      Sampler({.temperature = 1, .top_k = 3, .top_p = 0.7}, 1, 0).distribution(logits, {});
  ASSERT_EQ(ids_of(kept), (std::vector<TokenId>{1, 2}));
  EXPECT_NEAR(kept[0].probability, 4.0 / 7, 1e-6);
  EXPECT_NEAR(kept[1].probability, 3.0 / 7, 1e-6);
}

TEST(Sampler, RepetitionPenaltyLowersWhatOccurredWhateverItsSign) {
  const Sampler sampler({.temperature = 1, .top_k = 0, .repetition_penalty = 2}, 1, 0);
  const std::vector<float> logits = {2, 2, -1, -1};
  const auto result = sampler.distribution(logits, std::vector<TokenId>{0, 2, 2, 99});
  EXPECT_NEAR(result[0].probability / result[1].probability, std::exp(-1.0), 1e-9);
  EXPECT_NEAR(result[2].probability / result[3].probability, std::exp(-1.0), 1e-9);
}

// What distribution() promises, by sorting everything.
std::vector<Candidate> by_sorting(const std::vector<float>& logits, const SamplerOptions& options) {
  std::vector<Candidate> all;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isfinite(logits[i])) all.push_back({static_cast<TokenId>(i), logits[i]});
  }
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    return a.probability > b.probability;
  });
  if (options.top_k > 0) {
    all.resize(std::min(all.size(), static_cast<size_t>(options.top_k)));
  }
  const double highest = all[0].probability;
  double total = 0, reached = 0;
  for (Candidate& candidate : all) {
    candidate.probability = std::exp((candidate.probability - highest) / options.temperature);
    total += candidate.probability;
  }
  size_t count = 0;
  while (count < all.size() && (count == 0 || reached < options.top_p * total)) {
    reached += all[count++].probability;
  }
  all.resize(count);
  for (Candidate& candidate : all) candidate.probability /= reached;
  std::sort(all.begin(), all.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  return all;
}

// Cuts that look at few of the logits keep the tokens that sorting keeps: for vocabularies around
// the sizes of groups and tiles, many equal logits, forbidden tokens, and the best in any place.
TEST(Sampler, PartialSelectionKeepsWhatSortingKeeps) {
  const Random random(11, stream_id("logits"));
  uint64_t next = 0;
  for (size_t vocab : {1, 15, 16, 17, 255, 256, 257, 1000, 4099, 50257}) {
    for (const bool coarse : {false, true}) {
      std::vector<float> logits(vocab);
      for (float& logit : logits) {
        const double value = 3 * random.normal(next++);
        logit = static_cast<float>(coarse ? std::round(value) : value);
        if (random.below(10, next++) == 0) logit = -std::numeric_limits<float>::infinity();
      }
      logits[random.below(vocab, next++)] = 20;
      logits[random.below(vocab, next++)] = 20;
      for (int64_t k : {0, 1, 2, 40, 200, 5000}) {
        for (double p : {1.0, 0.99, 0.9, 0.2}) {
          const SamplerOptions options{.temperature = 2.5, .top_k = k, .top_p = p};
          const auto kept = Sampler(options, 1, 0).distribution(logits, {});
          const auto wanted = by_sorting(logits, options);
          ASSERT_EQ(ids_of(kept), ids_of(wanted)) << vocab << " k " << k << " p " << p;
          for (size_t i = 0; i < kept.size(); ++i) {
            ASSERT_NEAR(kept[i].probability, wanted[i].probability, 1e-12);
          }
        }
      }
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      EXPECT_EQ(Sampler({.temperature = 0}, 1, 0).draw(logits, {}, 0), best);
      const auto top = top_logprobs(logits, 7);
      EXPECT_EQ(top[0].id, best);
    }
  }
}

TEST(Sampler, ANumberThatIsNotFiniteIsFoundWhereverItIs) {
  for (size_t vocab : {16, 300, 512}) {
    for (size_t at = 0; at < vocab; ++at) {
      std::vector<float> logits(vocab, 1);
      logits[at] = std::numeric_limits<float>::quiet_NaN();
      EXPECT_THROW(Sampler(SamplerOptions{}, 1, 0).draw(logits, {}, 0), Error) << at;
    }
  }
}

// What a penalty takes beyond all numbers is unlikely, not forbidden, and no error.
TEST(Sampler, APenaltyDoesNotLeaveWhatIsFinite) {
  const std::vector<float> logits = {-3e38f, 3e38f};
  for (double penalty : {0.01, 100.0}) {
    const Sampler sampler({.temperature = 1, .top_k = 0, .repetition_penalty = penalty}, 1, 0);
    EXPECT_EQ(sampler.distribution(logits, std::vector<TokenId>{0, 1}).size(), 2u) << penalty;
  }
}

TEST(Sampler, TokenNDependsOnSeedSampleAndNumberOnly) {
  const std::vector<float> logits(1000, 0.0f);
  const Sampler first(plain(), 5, 0), again(plain(), 5, 0), other(plain(), 5, 1),
      seeded(plain(), 6, 0);
  int same_sample = 0, same_seed = 0;
  for (uint64_t n = 200; n-- > 0;) {  // any order
    EXPECT_EQ(first.draw(logits, {}, n), again.draw(logits, {}, n));
    same_sample += first.draw(logits, {}, n) == other.draw(logits, {}, n);
    same_seed += first.draw(logits, {}, n) == seeded.draw(logits, {}, n);
  }
  EXPECT_LT(same_sample, 5);
  EXPECT_LT(same_seed, 5);
}

TEST(Sampler, ForbiddenTokensAreNeverDrawn) {
  const float forbidden = -std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {forbidden, 0, forbidden, 0, forbidden};
  const Sampler sampler(plain(), 3, 0);
  for (uint64_t n = 0; n < 1000; ++n) EXPECT_EQ(sampler.draw(logits, {}, n) % 2, 1);
}

TEST(Sampler, LogitsThatAreNotFiniteAreNumericsErrors) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const SamplerOptions& options : {plain(), SamplerOptions{.temperature = 0}}) {
    const Sampler sampler(options, 1, 0);
    for (const std::vector<float>& logits :
         {std::vector<float>{0, nan, 1}, {0, 1, infinity}, {-infinity, -infinity}}) {
      try {
        sampler.draw(logits, {}, 0);
        ADD_FAILURE() << "accepted";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::numerics);
      }
    }
  }
}

TEST(Sampler, OptionsOutOfRangeAreUsageErrors) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<SamplerOptions> wrong = {{.temperature = -1},
                                             {.temperature = nan},
                                             {.top_k = -1},
                                             {.top_p = 0},
                                             {.top_p = 1.01},
                                             {.top_p = nan},
                                             {.min_p = -0.1},
                                             {.min_p = 1.5},
                                             {.repetition_penalty = 0},
                                             {.min_p = nan},
                                             {.repetition_penalty = nan}};
  for (const SamplerOptions& options : wrong) {
    try {
      validate(options);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_TRUE(error.where().starts_with("--")) << error.what();
    }
  }
}

TEST(Sampler, LogprobsAreOfTheModelsOwnDistribution) {
  const std::vector<float> logits = logits_of({1, 5, 2, 2});
  const auto top = top_logprobs(logits, 3);
  ASSERT_EQ(top.size(), 3u);
  EXPECT_EQ(top[0].id, 1);
  EXPECT_EQ(top[1].id, 2);
  EXPECT_EQ(top[2].id, 3);
  EXPECT_NEAR(top[0].logprob, std::log(0.5), 1e-6);
  EXPECT_NEAR(top[1].logprob, std::log(0.2), 1e-6);
  EXPECT_NEAR(logprob_of(logits, 0), std::log(0.1), 1e-6);
  EXPECT_EQ(top_logprobs(logits, 100).size(), 4u);
}

}  // namespace
}  // namespace llm
