#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "cpu_ref/cpu_backend.h"
#include "support/small_model.h"
#include "train/token_scorer.h"

namespace llm {
namespace {

class TokenScorerTest : public testing::Test {
 protected:
  TokenScorerTest() { test::fill_golden_weights(model_); }

  std::vector<TokenId> tokens(int64_t length, int64_t step) {
    return test::golden_tokens(step, 1, length, 65).tokens;
  }
  // The losses from the logits of the whole text, in double.
  std::vector<double> expected(const ScoredText& text) {
    const auto length = static_cast<int64_t>(text.tokens.size());
    const std::vector<float> logits = test::inference_logits(
        model_, {1, length, text.tokens, std::vector<int32_t>(text.tokens.size(), 0)});
    std::vector<double> losses;
    const size_t first = text.tokens.size() - text.targets.size();
    for (size_t i = 0; i < text.targets.size(); ++i) {
      const float* row = logits.data() + (first + i) * 65;
      double sum = 0;
      for (int v = 0; v < 65; ++v) sum += std::exp(static_cast<double>(row[v]));
      losses.push_back(std::log(sum) - row[text.targets[i]]);
    }
    return losses;
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  Gpt model_{*backend_, test::golden_config(), {}};  // vocabulary 65, context 32
};

TEST_F(TokenScorerTest, LossesOfTextsOfAllLengthsInOneBatch) {
  TokenScorer scorer(model_, 5, 32);
  std::vector<ScoredText> texts = {{tokens(32, 0), tokens(32, 1)},
                                   {tokens(1, 2), tokens(1, 3)},
                                   {tokens(17, 4), tokens(5, 5)},
                                   {tokens(9, 6), {}},
                                   {tokens(20, 7), tokens(19, 8)}};
  for (int round = 0; round < 2; ++round) {  // memory is used again
    const auto losses = scorer.losses(texts);
    ASSERT_EQ(losses.size(), texts.size());
    for (size_t t = 0; t < texts.size(); ++t) {
      const std::vector<double> wanted = expected(texts[t]);
      ASSERT_EQ(losses[t].size(), wanted.size());
      for (size_t i = 0; i < wanted.size(); ++i) {
        ASSERT_NEAR(losses[t][i], wanted[i], 2e-5) << "text " << t << ", target " << i;
      }
    }
    std::reverse(texts.begin(), texts.end());
    texts.pop_back();
  }
}

TEST_F(TokenScorerTest, TextsWithoutTargetsCostNothing) {
  TokenScorer scorer(model_, 2, 8);
  const auto losses = scorer.losses(std::vector<ScoredText>{{tokens(3, 0), {}}});
  ASSERT_EQ(losses.size(), 1u);
  EXPECT_TRUE(losses[0].empty());
}

TEST_F(TokenScorerTest, MoreLogitsThanAreKeptAtOnce) {
  // 2^18 + 1 columns of float are 1 MiB: 64 rows at once.
  ModelConfig config = test::golden_config();
  config.vocab_size = (1 << 18) + 1;
  config.channels = 12;
  config.hidden = 48;
  config.layers = 1;
  Gpt model(*backend_, config, {});
  test::fill_golden_weights(model);
  TokenScorer together(model, 3, 32), apart(model, 1, 32);
  std::vector<ScoredText> texts;
  for (int64_t i = 0; i < 3; ++i) {
    texts.push_back({test::golden_tokens(i, 1, 32, config.vocab_size).tokens,
                     test::golden_tokens(i + 9, 1, 32, config.vocab_size).tokens});
  }
  const auto all = together.losses(texts);
  for (size_t i = 0; i < 3; ++i) {
    const auto one = apart.losses(std::span(&texts[i], 1))[0];
    for (size_t t = 0; t < 32; ++t) EXPECT_NEAR(all[i][t], one[t], 1e-4) << i << " " << t;
  }
}

TEST_F(TokenScorerTest, WrongTokensAndBrokenModelsAreErrors) {
  TokenScorer scorer(model_, 2, 8);
  const auto kind_of = [&](const ScoredText& text) {
    try {
      scorer.losses(std::span(&text, 1));
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::disk;
  };
  EXPECT_EQ(kind_of({{1, 65}, {1}}), ErrorKind::input);
  EXPECT_EQ(kind_of({{-1, 2}, {1}}), ErrorKind::input);
  EXPECT_EQ(kind_of({{1, 2}, {65}}), ErrorKind::input);
  ParameterStore& store = model_.parameters();
  backend_->fill(store.value(store.find("ln_f.weight")), std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(kind_of({{1, 2}, {3}}), ErrorKind::numerics);
}

}  // namespace
}  // namespace llm
