#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "weights/adapter_config.h"

namespace llm {
namespace {

Json minimal() { return {{"peft_type", "LORA"}, {"r", 4}, {"lora_alpha", 8}}; }

AdapterConfig parse(const char* key, const Json& value) {
  Json json = minimal();
  json[key] = value;
  return parse_adapter_config(json, "config");
}

TEST(AdapterConfig, ReadsWhatPeftWrites) {
  // As peft saves it, with keys of methods that are not used.
  const Json json = parse_json(R"({
    "alpha_pattern": {"c_fc": 2}, "arrow_config": null, "auto_mapping": null,
    "base_model_name_or_path": "gpt2", "bias": "none", "corda_config": null, "eva_config": null,
    "exclude_modules": null, "fan_in_fan_out": true, "inference_mode": true,
    "init_lora_weights": true, "layer_replication": null, "layers_pattern": null,
    "layers_to_transform": null, "loftq_config": {}, "lora_alpha": 16, "lora_bias": false,
    "lora_dropout": 0.1, "megatron_config": null, "megatron_core": "megatron.core",
    "modules_to_save": ["classifier", "score"], "peft_type": "LORA", "qalora_group_size": 16,
    "r": 8, "rank_pattern": {"h.1.mlp.c_fc": 3, "c_fc": 5}, "revision": null,
    "target_modules": ["c_attn", "c_fc"], "target_parameters": null, "task_type": "SEQ_CLS",
    "trainable_token_indices": null, "use_dora": false, "use_bdlora": null, "use_qalora": false, "use_rslora": false,
    "kasa_config": null, "peft_version": "0.21.2"
  })",
                               "test");
  const AdapterConfig config = parse_adapter_config(json, "config");
  EXPECT_EQ(config.base, "gpt2");
  EXPECT_EQ(config.rank, 8);
  EXPECT_EQ(config.alpha, 16);
  EXPECT_FLOAT_EQ(config.dropout, 0.1f);
  EXPECT_TRUE(config.saves_score);
  EXPECT_EQ(config.rank_of("transformer.h.1.mlp.c_fc"), 3);  // the first that fits
  EXPECT_EQ(config.rank_of("transformer.h.0.mlp.c_fc"), 5);
  EXPECT_EQ(config.rank_of("transformer.h.11.mlp.c_fc"), 5);  // no part of a name
  EXPECT_EQ(config.rank_of("transformer.h.0.attn.c_attn"), 8);
  EXPECT_FLOAT_EQ(config.scale_of("transformer.h.0.mlp.c_fc"), 2.0f / 5);
  EXPECT_FLOAT_EQ(config.scale_of("c_attn"), 2);
}

TEST(AdapterConfig, LittleIsNeeded) {
  const AdapterConfig config = parse_adapter_config(minimal(), "config");
  EXPECT_EQ(config.base, "");
  EXPECT_FALSE(config.saves_score);
  EXPECT_EQ(config.dropout, 0);
  EXPECT_EQ(parse("init_lora_weights", "gaussian").rank, 4);
  EXPECT_EQ(parse("layers_to_transform", nullptr).rank, 4);
}

TEST(AdapterConfig, WhatWouldBeComputedWronglyIsRefused) {
  const std::pair<const char*, Json> bad[] = {
      {"peft_type", "IA3"},
      {"peft_type", nullptr},
      {"use_dora", true},
      {"use_rslora", true},
      {"use_qalora", true},
      {"lora_bias", true},
      {"bias", "lora_only"},
      {"task_type", "TOKEN_CLS"},
      {"modules_to_save", {"wte"}},
      {"modules_to_save", {"score", "lm_head"}},
      {"modules_to_save", {1}},
      {"modules_to_save", "score"},
      {"layers_to_transform", {0}},
      {"layers_to_transform", 0},
      {"layer_replication", {{0, 4}, {2, 5}}},
      {"trainable_token_indices", {5, 6}},
      {"target_parameters", {"weight"}},
      {"alora_invocation_tokens", {1}},
      {"kasa_config", {{"beta", 0.1}}},
      {"use_something_new", true},
      {"init_lora_weights", "pissa"},
      {"init_lora_weights", "pissa_niter_4"},
      {"init_lora_weights", "olora"},
      {"init_lora_weights", "loftq"},
      {"rank_pattern", {{"c_fc", 0}}},
      {"rank_pattern", {{".*c_fc", 2}}},
      {"rank_pattern", {{"", 2}}},
      {"alpha_pattern", {{"c_fc", "2"}}},
      {"alpha_pattern", 3},
      {"r", 0},
      {"r", 2.5},
      {"lora_alpha", -1},
      {"lora_dropout", 1.5},
      {"base_model_name_or_path", 3},
  };
  for (const auto& [key, value] : bad) {
    test::expect_error(ErrorKind::input, key, [&, k = key, v = value] { parse(k, v); });
    test::expect_error(ErrorKind::input, "config", [&, k = key, v = value] { parse(k, v); });
  }
}

TEST(AdapterConfig, WhatIsWrittenReadsBack) {
  ModelConfig config;
  config.lora.rank = 4;
  config.lora.alpha = 6;
  config.lora.dropout = 0.25f;
  config.lora.q = config.lora.v = config.lora.down = true;
  const Json json = adapter_config_json(config, "some/base", false);
  const AdapterConfig read = parse_adapter_config(json, "written");
  EXPECT_EQ(read.base, "some/base");
  EXPECT_EQ(read.rank, 4);
  EXPECT_EQ(read.dropout, 0.25f);
  EXPECT_EQ(read.rank_of("h.0.attn.c_attn"), 8);
  EXPECT_EQ(read.scale_of("h.0.attn.c_attn"), read.scale_of("h.0.mlp.c_proj"));
  EXPECT_EQ(json["target_modules"], Json({"c_attn", "mlp.c_proj"}));
  EXPECT_FALSE(read.saves_score);
  config.labels = {"a", "b"};
  EXPECT_TRUE(parse_adapter_config(adapter_config_json(config, "", true), "written").saves_score);
}

}  // namespace
}  // namespace llm
