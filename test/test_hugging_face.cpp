// A GPT-2 saved by transformers, made by scripts/golden_weights.py; and config.json both ways.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "cpu_ref/cpu_backend.h"
#include "support/small_model.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

const fs::path kTiny = fs::path(LLM_SOURCE_DIR) / "test" / "golden" / "tiny_gpt2";

TEST(HuggingFace, ConfigOfTransformersIsRead) {
  const ModelConfig config = read_model_config(kTiny);
  EXPECT_EQ(config.layers, 2);
  EXPECT_EQ(config.heads, 2);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.channels, 16);
  EXPECT_EQ(config.hidden, 64);
  EXPECT_EQ(config.context, 12);
  EXPECT_EQ(config.vocab_size, 31);
  EXPECT_EQ(config.eos_token_id, 30);
  EXPECT_FLOAT_EQ(config.norm_epsilon, 1e-5f);
  EXPECT_FLOAT_EQ(config.residual_dropout, 0.1f);
  EXPECT_TRUE(config.bias);
  EXPECT_TRUE(config.qkv_bias);
  EXPECT_TRUE(config.tied);
}

TEST(HuggingFace, LogitsEqualTransformers) {
  const auto backend = make_cpu_backend();
  const auto model = load_model(*backend, kTiny);
  const Json golden = read_json_file(kTiny / "logits.json");
  test::TokenRows rows{2, 12, {}, std::vector<int32_t>(24, 0)};
  for (const Json& row : golden["ids"]) {
    for (int32_t id : row) rows.tokens.push_back(id);
  }
  const std::vector<float> logits = test::inference_logits(*model, rows);
  const auto expected = golden["logits"].get<std::vector<double>>();
  ASSERT_EQ(logits.size(), expected.size());
  double largest = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    ASSERT_NEAR(logits[i], expected[i], 2e-5) << i;
    largest = std::max(largest, std::abs(expected[i]));
  }
  EXPECT_GT(largest, 0.5);  // there was something to compare
}

Json tiny_config() { return to_hugging_face(read_model_config(kTiny)); }

TEST(HuggingFace, WrongConfigsAreRefusedByKey) {
  struct Case {
    const char* key;
    Json value;
  };
  const std::vector<Case> cases = {
      {"n_layer", 0},
      {"n_layer", -1},
      {"n_layer", 1e30},
      {"n_layer", "2"},
      {"n_layer", nullptr},
      {"n_layer", 2.5},
      {"n_head", 0},
      {"n_head", 3},
      {"n_embd", int64_t{1} << 40},
      {"n_embd", 18446744073709551615u},
      {"n_positions", 0},
      {"vocab_size", 0},
      {"vocab_size", Json::array()},
      {"n_inner", -4},
      {"layer_norm_epsilon", -1},
      {"layer_norm_epsilon", 0},
      {"attn_pdrop", 1.5},
      {"model_type", "llama"},
      {"model_type", 5},
      {"activation_function", "relu"},
      {"scale_attn_by_inverse_layer_idx", true},
      {"scale_attn_weights", false},
      {"add_cross_attention", true},
      {"tie_word_embeddings", "yes"},
      {"bias", 1},
  };
  for (const Case& wrong : cases) {
    Json json = tiny_config();
    json[wrong.key] = wrong.value;
    const std::string what = std::string(wrong.key) + " = " + wrong.value.dump();
    try {
      from_hugging_face(json, "DIR/config.json");
      ADD_FAILURE() << what << " accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input) << what;
      EXPECT_NE(std::string(error.what()).find("DIR/config.json"), std::string::npos)
          << what << ": " << error.what();
    }
  }
  EXPECT_THROW(from_hugging_face(Json::array(), "x"), Error);
  EXPECT_THROW(from_hugging_face(Json(), "x"), Error);
}

TEST(HuggingFace, UnknownKeysOfOthersAreIgnored) {
  Json json = tiny_config();
  json["transformers_version"] = "9.9";
  json["summary_type"] = "cls_index";
  json["task_specific_params"]["text-generation"]["max_length"] = 50;
  EXPECT_EQ(to_hugging_face(from_hugging_face(json, "x")), tiny_config());
}

}  // namespace
}  // namespace llm
