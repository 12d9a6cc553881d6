#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "infer/classifier.h"
#include "support/expect_error.h"
#include "support/small_model.h"
#include "support/temporary_directory.h"
#include "weights/adapted_model.h"

namespace llm {
namespace {

const fs::path kFineTuned = fs::path(LLM_SOURCE_DIR) / "test" / "golden" / "fine_tuned";

std::vector<TokenizedExample> bytes_of(const std::vector<std::string>& texts) {
  std::vector<TokenizedExample> examples;
  for (const std::string& text : texts) {
    TokenizedExample& example = examples.emplace_back();
    for (const char c : text) example.tokens.push_back(static_cast<unsigned char>(c));
  }
  return examples;
}

double worst_difference(const std::vector<LabelProbabilities>& a,
                        const std::vector<LabelProbabilities>& b) {
  double worst = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    for (size_t label = 0; label < a[i].size(); ++label) {
      worst = std::max(worst, std::abs(a[i][label] - b[i][label]));
    }
  }
  return worst;
}

// A folder with the probabilities that transformers computed.
class ClassifierGolden : public testing::TestWithParam<const char*> {};

TEST_P(ClassifierGolden, ProbabilitiesAreThoseOfTransformers) {
  const auto backend = make_cpu_backend();
  const auto model = load_model(*backend, locate_model((kFineTuned / GetParam()).string()));
  std::vector<std::string> texts;
  std::vector<LabelProbabilities> expected;
  for (const Json& row : read_json_file(kFineTuned / GetParam() / "probabilities.json")) {
    texts.push_back(row["text"]);
    expected.push_back(row["probabilities"].get<LabelProbabilities>());
  }
  ASSERT_GT(texts.size(), 5u);
  for (const int64_t batch : {1, 3, 16}) {
    Classifier classifier(*model, batch, 40, 256);
    int64_t done = 0;
    const auto found = classifier.classify(bytes_of(texts), [&](int64_t so_far) { done = so_far; });
    EXPECT_LT(worst_difference(found, expected), 1e-5) << batch;
    EXPECT_EQ(done, std::ssize(texts));
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, ClassifierGolden,
                         testing::Values("classifier", "classifier_lora"));

class ClassifierTest : public testing::Test {
 protected:
  std::unique_ptr<Gpt> make(Pooling pooling, DType dtype = DType::f32) {
    ModelConfig config = test::golden_config();
    config.vocab_size = 257;
    config.labels = {"a", "b", "c"};
    config.pooling = pooling;
    auto model = std::make_unique<Gpt>(*backend_, config, StoreOptions{.dtype = dtype});
    test::fill_golden_weights(*model);
    return model;
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  const std::vector<TokenizedExample> texts_ =
      bytes_of({"a", "bcd", "efghijklmn", "op", "qrstuvwxyz0123456789ABCDEFGHIJKL"});
};

TEST_F(ClassifierTest, PaddingAndNeighboursChangeNothing) {
  for (const Pooling pooling : {Pooling::last_token, Pooling::mean}) {
    const auto model = make(pooling);
    Classifier alone(*model, 1, 32, 0), together(*model, 4, 32, 256);
    const auto found = together.classify(texts_);
    EXPECT_LT(worst_difference(found, alone.classify(texts_)), 1e-6);
    for (const LabelProbabilities& row : found) {
      EXPECT_NEAR(std::accumulate(row.begin(), row.end(), 0.0), 1, 1e-12);
      EXPECT_EQ(row[static_cast<size_t>(likeliest(row))],
                *std::max_element(row.begin(), row.end()));
    }
    EXPECT_GT(worst_difference({found[0]}, {found[1]}), 1e-3);  // texts count
  }
}

TEST_F(ClassifierTest, AtTheEndOfTheRowThePaddingCounts) {
  const auto model = make(Pooling::last);
  const std::vector<TokenizedExample> text = bytes_of({"abc"});
  Classifier filled(*model, 2, 8, 256), short_row(*model, 2, 3, 256);
  const auto padded = filled.classify(text);
  EXPECT_GT(worst_difference(padded, short_row.classify(text)), 1e-3);
  std::vector<TokenizedExample> by_hand = text;
  by_hand[0].tokens.resize(8, 256);
  const auto token_model = make(Pooling::last_token);
  Classifier whole(*token_model, 1, 8, 0);
  EXPECT_LT(worst_difference(padded, whole.classify(by_hand)), 1e-6);
}

TEST_F(ClassifierTest, Bfloat16IsClose) {
  const auto exact = make(Pooling::last_token), rounded = make(Pooling::last_token, DType::bf16);
  Classifier a(*exact, 4, 32, 0), b(*rounded, 4, 32, 0);
  const double difference = worst_difference(a.classify(texts_), b.classify(texts_));
  EXPECT_GT(difference, 0);
  EXPECT_LT(difference, 0.05);
}

TEST_F(ClassifierTest, RefusesForeignTokensAndBrokenWeights) {
  const auto model = make(Pooling::last_token);
  Classifier classifier(*model, 2, 32, 0);
  EXPECT_TRUE(classifier.classify({}).empty());
  auto foreign = bytes_of({"ab"});
  foreign[0].tokens[1] = 257;
  test::expect_error(ErrorKind::input, "token 257 is beyond the model's vocabulary of 257",
                     [&] { classifier.classify(foreign); });
  const int score = model->parameters().find("score.weight");
  backend_->fill(model->parameters().value(score), NAN);
  test::expect_error(ErrorKind::numerics, "NaN", [&] { classifier.classify(texts_); });
}

}  // namespace
}  // namespace llm
