#include <gtest/gtest.h>

#include <cmath>

#include "cpu_ref/cpu_backend.h"
#include "support/small_model.h"
#include "train/perplexity.h"

namespace llm {
namespace {

TEST(Windows, EveryTokenButTheFirstIsPredictedOnce) {
  for (int64_t context = 1; context <= 7; ++context) {
    for (int64_t stride = 1; stride <= context; ++stride) {
      for (int64_t tokens = 0; tokens <= 30; ++tokens) {
        const WindowOptions options{context, stride};
        const int64_t windows = count_windows(options, tokens);
        int64_t next = 1;
        for (int64_t i = 0; i < windows; ++i) {
          const Window window = window_at(options, tokens, i);
          ASSERT_EQ(window.begin, i * stride);
          ASSERT_EQ(window.first, next);
          ASSERT_GT(window.end, window.first) << "an empty window";
          ASSERT_GE(window.first, window.begin + 1) << "a target without a predecessor";
          // What the model reads.
          ASSERT_LE(window.end - 1 - window.begin, context);
          if (stride < context) {
            ASSERT_LE(window.end - window.begin, context);
          }
          next = window.end;
        }
        ASSERT_EQ(next, std::max<int64_t>(1, tokens)) << context << " " << stride << " " << tokens;
      }
    }
  }
}

TEST(Windows, WithoutOverlapTheyAreThoseOfTraining) {
  const WindowOptions options{4, 4};
  const Window second = window_at(options, 100, 1);
  EXPECT_EQ(second.begin, 4);
  EXPECT_EQ(second.first, 5);
  EXPECT_EQ(second.end, 9);
}

class PerplexityTest : public testing::Test {
 protected:
  PerplexityTest() { test::fill_golden_weights(model_); }

  TokenText text() {
    return {static_cast<int64_t>(tokens_.size()), [this](int64_t begin, std::span<TokenId> into) {
              std::copy_n(tokens_.begin() + begin, into.size(), into.begin());
            }};
  }
  // The sum of the losses of a window, from its logits.
  double window_loss(int64_t begin, int64_t first, int64_t end) {
    const std::vector<TokenId> read(tokens_.begin() + begin, tokens_.begin() + end - 1);
    const std::vector<float> logits = test::inference_logits(
        model_, {1, end - 1 - begin, read, std::vector<int32_t>(read.size(), 0)});
    double total = 0;
    for (int64_t t = first; t < end; ++t) {
      const float* row = logits.data() + (t - 1 - begin) * 257;
      double sum = 0;
      for (int v = 0; v < 257; ++v) sum += std::exp(static_cast<double>(row[v]));
      total += std::log(sum) - row[tokens_[static_cast<size_t>(t)]];
    }
    return total;
  }
  static ModelConfig config() {
    ModelConfig config = test::golden_config();  // context 32
    config.vocab_size = 257;
    return config;
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  Gpt model_{*backend_, config(), {}};
  std::unique_ptr<Tokenizer> tokenizer_ = make_byte_tokenizer();
  std::vector<TokenId> tokens_ = test::golden_tokens(3, 1, 75, 256).tokens;
};

TEST_F(PerplexityTest, OverlappingWindows) {
  // Windows [0, 20), [8, 28), ... [56, 75), each predicting what those before did not.
  double expected = window_loss(0, 1, 20);
  for (int64_t begin = 8; begin <= 56; begin += 8) {
    expected += window_loss(begin, begin + 12, std::min<int64_t>(75, begin + 20));
  }
  for (int64_t batch : {1, 3, 50}) {
    TokenScorer scorer(model_, batch, 20);
    const TextScore score = score_text(scorer, *tokenizer_, text(), {20, 8});
    EXPECT_EQ(score.tokens, 74);
    EXPECT_NEAR(score.loss_sum, expected, 1e-3) << batch;
  }
}

TEST_F(PerplexityTest, WindowsWithoutOverlap) {
  const double expected = window_loss(0, 1, 33) + window_loss(32, 33, 65) + window_loss(64, 65, 75);
  TokenScorer scorer(model_, 2, 32);
  const TextScore score = score_text(scorer, *tokenizer_, text(), {32, 32});
  EXPECT_EQ(score.tokens, 74);
  EXPECT_NEAR(score.loss_sum, expected, 1e-3);
  EXPECT_DOUBLE_EQ(score.loss(), score.loss_sum / 74);
  EXPECT_DOUBLE_EQ(score.perplexity(), std::exp(score.loss()));
}

TEST_F(PerplexityTest, BytesAreThoseOfTheTextThatIsPredicted) {
  tokens_[10] = tokens_[11] = 256;  // end-of-text is no text
  TokenScorer scorer(model_, 2, 32);
  const TextScore score = score_text(scorer, *tokenizer_, text(), {32, 32});
  EXPECT_EQ(score.tokens, 74);
  EXPECT_EQ(score.bytes, 72);
  EXPECT_NEAR(score.bits_per_byte(), score.loss_sum / std::log(2.0) / 72, 1e-12);
}

TEST_F(PerplexityTest, TextsTooShortToPredictGiveNothing) {
  for (size_t size : {0, 1}) {
    tokens_.resize(size);
    TokenScorer scorer(model_, 2, 32);
    const TextScore score = score_text(scorer, *tokenizer_, text(), {32, 32});
    EXPECT_EQ(score.tokens, 0);
    EXPECT_EQ(score.loss(), 0);
    EXPECT_EQ(score.perplexity(), 0);
    EXPECT_EQ(score.bits_per_byte(), 0);
  }
}

TEST_F(PerplexityTest, ProgressEndsWithEverything) {
  TokenScorer scorer(model_, 1, 32);
  std::vector<int64_t> seen;
  score_text(scorer, *tokenizer_, text(), {32, 32},
             [&](const TextScore& so_far) { seen.push_back(so_far.tokens); });
  EXPECT_EQ(seen, (std::vector<int64_t>{32, 64, 74}));
}

}  // namespace
}  // namespace llm
