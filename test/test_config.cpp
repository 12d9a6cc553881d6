#include <gtest/gtest.h>

#include "backend/plan_backend.h"
#include "base/error.h"
#include "cpu_ref/cpu_backend.h"
#include "model/config.h"
#include "model/gpt.h"
#include "support/expect_error.h"

namespace llm {
namespace {

TEST(Config, ParameterCountsOfThePresets) {
  EXPECT_EQ(parameter_count(model_preset("gpt2")), 124'439'808);
  EXPECT_EQ(parameter_count(model_preset("gpt2-medium")), 354'823'168);
  EXPECT_EQ(parameter_count(model_preset("gpt2-large")), 774'030'080);
  EXPECT_EQ(parameter_count(model_preset("gpt2-xl")), 1'557'611'200);
}

// The formula and the parameters that the model makes are two ways to the same number.
TEST(Config, CountsEqualTheParametersOfTheModel) {
  auto cpu = make_cpu_backend();
  MemoryByPurpose usage;
  auto plan = make_plan_backend(*cpu, usage);
  for (const std::string& name : model_preset_names()) {
    for (int variant = 0; variant < 4; ++variant) {
      ModelConfig config = model_preset(name);
      config.bias = variant != 1;
      config.qkv_bias = variant != 2;
      config.tied = variant != 3;
      const Gpt model(*plan, config, {});
      EXPECT_EQ(model.parameters().trainable_count(), parameter_count(config))
          << name << " variant " << variant;
    }
  }
}

TEST(Config, HuggingFaceRoundTrip) {
  ModelConfig config = model_preset("gpt2-medium");
  config.bias = false;
  config.tied = false;
  config.set_dropout(0.1f);
  config.eos_token_id = 50256;
  const Json json = to_hugging_face(config);
  EXPECT_EQ(json["layer_norm_epsilon"].dump(), "1e-05");
  const ModelConfig again = from_hugging_face(json, "config.json");
  EXPECT_EQ(to_hugging_face(again).dump(), json.dump());
}

TEST(Config, ClassifiersAreHuggingFaces) {
  ModelConfig config = model_preset("gpt2");
  config.labels = {"ham", "spam", "neither"};
  config.pooling = Pooling::mean;
  config.eos_token_id = 50256;
  const Json json = to_hugging_face(config);
  EXPECT_EQ(json["architectures"].dump(), R"(["GPT2ForSequenceClassification"])");
  EXPECT_EQ(json["id2label"].dump(), R"({"0":"ham","1":"spam","2":"neither"})");
  EXPECT_EQ(json["label2id"].dump(), R"({"ham":0,"spam":1,"neither":2})");
  EXPECT_EQ(json["pad_token_id"], 50256);
  const ModelConfig again = from_hugging_face(json, "config.json");
  EXPECT_EQ(again.labels, config.labels);
  EXPECT_EQ(again.pooling, Pooling::mean);

  Json unnamed = json;
  unnamed.erase("id2label");
  unnamed.erase("pooling");
  EXPECT_EQ(from_hugging_face(unnamed, "c").labels,
            (std::vector<std::string>{"LABEL_0", "LABEL_1"}));
  EXPECT_EQ(from_hugging_face(unnamed, "c").pooling, Pooling::last_token);
  EXPECT_FALSE(from_hugging_face(to_hugging_face(model_preset("gpt2")), "c").is_classifier());

  for (const char* text : {R"({"0":"a","2":"b"})", R"({"0":"a","1":"a"})", R"({})", R"([])",
                           R"({"0":1})", R"({"00":"a"})"}) {
    Json bad = json;
    bad["id2label"] = Json::parse(text);
    test::expect_error(ErrorKind::input, "id2label", [&] { from_hugging_face(bad, "c.json"); });
  }
  Json bad = json;
  bad["pooling"] = "max";
  test::expect_error(ErrorKind::input, "pooling", [&] { from_hugging_face(bad, "c.json"); });
}

TEST(Config, RefusesWhatItCannotRun) {
  const Json good = to_hugging_face(model_preset("gpt2"));
  const std::pair<const char*, Json> bad[] = {
      {"model_type", "llama"},
      {"activation_function", "relu"},
      {"n_layer", 0},
      {"n_head", 7},
      {"n_embd", -768},
      {"n_positions", 1e9},
      {"vocab_size", "many"},
      {"n_layer", 12.5},
      {"layer_norm_epsilon", 0},
      {"attn_pdrop", 1},
      {"add_cross_attention", true},
      {"scale_attn_weights", false},
      {"tie_word_embeddings", 3},
  };
  for (const auto& [key, value] : bad) {
    Json json = good;
    json[key] = value;
    try {
      from_hugging_face(json, "folder/config.json");
      ADD_FAILURE() << key << " = " << value << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input) << key;
      EXPECT_NE(std::string(error.what()).find("folder/config.json"), std::string::npos);
    }
  }
}

TEST(Config, FlopPerToken) {
  const ModelConfig config = model_preset("gpt2");
  EXPECT_DOUBLE_EQ(training_flop_per_token(config, 1024),
                   6.0 * (124'439'808 - 1024 * 768) + 6.0 * 12 * 768 * 1024);
}

}  // namespace
}  // namespace llm
