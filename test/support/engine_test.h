// What tests of the engine share: a small model with known weights and its tokenizer.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cpu_ref/cpu_backend.h"
#include "infer/engine.h"
#include "support/small_model.h"
#include "support/text_samples.h"

namespace llm::test {

class EngineTest : public testing::Test {
 protected:
  using Ids = std::vector<TokenId>;

  EngineTest() { fill_golden_weights(model_); }

  // Logits behind the last of `ids`, the whole sequence at once and no cache.
  std::vector<float> uncached_logits(const Ids& ids) {
    const auto length = static_cast<int64_t>(ids.size());
    const std::vector<float> all =
        inference_logits(model_, {1, length, ids, std::vector<int32_t>(ids.size(), 0)});
    return {all.end() - model_.config().vocab_size, all.end()};
  }
  static void expect_near(std::span<const float> a, std::span<const float> b,
                          const std::string& what) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-4) << what << ", token " << i;
  }
  Ids prompt(int64_t length, int64_t step = 0) { return golden_tokens(step, 1, length, 65).tokens; }
  std::vector<Generation> generate(const std::vector<Ids>& prompts,
                                   const GenerateOptions& options) {
    return Engine(model_, *tokenizer_).generate(prompts, options);
  }

  // 65 characters, as many as the model has tokens.
  static std::string alphabet() {
    std::string text = "\n ";
    for (char c = '!'; text.size() < 65; ++c) text += c;
    return text;
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  Gpt model_{*backend_, golden_config(), {}};  // context 32
  std::unique_ptr<Tokenizer> tokenizer_ = make_char_tokenizer(alphabet());
  GenerateOptions greedy_{.sampler = {.temperature = 0}, .max_tokens = 20, .stop = {}};
  GenerateOptions random_{
      .sampler = {.temperature = 1, .top_k = 0}, .seed = 3, .max_tokens = 20, .stop = {}};
};

}  // namespace llm::test
