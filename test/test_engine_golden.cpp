// Greedy text against transformers' generate(), made by scripts/golden_greedy.py.
#include <gtest/gtest.h>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "infer/engine.h"
#include "support/small_model.h"

namespace llm {
namespace {

using Ids = std::vector<TokenId>;

// A character for each token.
std::unique_ptr<Tokenizer> tokenizer_of(int64_t vocab_size) {
  std::vector<std::string> characters;
  for (int64_t i = 0; i < vocab_size; ++i) {
    const auto code = static_cast<char>(0x80 + i % 64);
    characters.push_back(std::string(1, static_cast<char>(0xc4 + i / 64)) + code);
  }
  return make_char_tokenizer(characters);
}

// Where rounding may decide (from token `decided` on) either token passes, and what follows it.
void expect_same(const Ids& ids, const Json& expected, const std::string& what) {
  const Ids golden = expected["ids"].get<Ids>();
  const auto decided = expected["decided"].get<size_t>();
  ASSERT_EQ(ids.size(), golden.size()) << what;
  for (size_t i = 0; i < std::min(decided, golden.size()); ++i) {
    ASSERT_EQ(ids[i], golden[i]) << what << ", token " << i;
  }
}

TEST(EngineGolden, GreedyTextIsThatOfTransformers) {
  const Json golden = read_json_file(fs::path(LLM_SOURCE_DIR) / "test/golden/greedy.json");
  const auto backend = make_cpu_backend();
  size_t compared = 0;
  for (const Json& shape : golden["models"]) {
    ModelConfig config = test::golden_config();
    config.layers = shape["layers"];
    config.heads = config.kv_heads = shape["heads"];
    config.channels = shape["channels"];
    config.hidden = 4 * config.channels;
    config.context = shape["context"];
    config.vocab_size = shape["vocab_size"];
    config.tied = shape["tied"];
    Gpt model(*backend, config, {});
    test::fill_golden_weights(model);
    const auto tokenizer = tokenizer_of(config.vocab_size);
    Engine engine(model, *tokenizer);
    GenerateOptions greedy{.sampler = {.temperature = 0}, .max_tokens = 200, .stop = {}};

    std::vector<Ids> prompts;
    for (const Json& one : shape["cases"]) prompts.push_back(one["prompt"].get<Ids>());
    const auto together = engine.generate(prompts, greedy);
    for (size_t i = 0; i < prompts.size(); ++i) {
      const std::string what =
          "model of " + std::to_string(config.channels) + " channels, prompt " + std::to_string(i);
      expect_same(together[i].ids, shape["cases"][i], what + " in a batch");
      expect_same(engine.generate(std::span(&prompts[i], 1), greedy)[0].ids, shape["cases"][i],
                  what);
      compared += shape["cases"][i]["decided"].get<size_t>();
    }
  }
  EXPECT_GT(compared, 2000u);  // most of it was decided
}

}  // namespace
}  // namespace llm
