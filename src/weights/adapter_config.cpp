#include "weights/adapter_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace llm {
namespace {

constexpr int64_t kMostRank = 1 << 20;
constexpr double kLeastAlpha = 1e-6, kMostAlpha = 999'999;

std::string shown(const std::string& text) { return fmt::format("\"{}\"", text.substr(0, 60)); }

// A list, an object or a text with something in it, a number, or true.
bool says_something(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return value.is_number() || !value.empty();
}

// Keys of methods that change what is computed, and what they mean.
struct Unsupported {
  const char* key;
  const char* what;
};
constexpr Unsupported kUnsupported[] = {
    {"use_dora", "weight-decomposed adapters (DoRA) are not supported"},
    {"use_rslora", "rank-stabilized scaling (rsLoRA) is not supported"},
    {"use_qalora", "quantized adapters (QALoRA) are not supported"},
    {"use_bdlora", "block-diagonal adapters are not supported"},
    {"lora_bias", "biases of adapters are not supported"},
    {"layers_to_transform", "adapters in some blocks only are not supported"},
    {"layers_pattern", "adapters in some blocks only are not supported"},
    {"layer_replication", "blocks that are there several times are not supported"},
    {"trainable_token_indices", "trained rows of the token embedding are not supported"},
    {"target_parameters", "adapters of parameters other than layers' weights are not supported"},
    {"alora_invocation_tokens", "adapters that begin at a token (aLoRA) are not supported"},
};

// Methods that have come since: a switch that is on or settings that are there. EVA only chooses
// where adapters begin.
bool names_other_method(const std::string& key, const Json& value) {
  const bool method = key.starts_with("use_") || (key.ends_with("_config") && key != "eva_config");
  return method && says_something(value);
}

void refuse_other_kinds(const JsonObject& object) {
  const std::string type = object.text("peft_type");
  if (type != "LORA") {
    object.fail("peft_type", fmt::format("{} is not supported, only \"LORA\" is", shown(type)));
  }
  for (const Unsupported& unsupported : kUnsupported) {
    if (!object.has(unsupported.key)) continue;
    if (says_something(object.value(unsupported.key))) {
      object.fail(unsupported.key, unsupported.what);
    }
  }
  for (const auto& [key, value] : object.json().items()) {
    if (names_other_method(key, value)) object.fail(key, "this method is not supported");
  }
  if (const std::string bias = object.text("bias", "none"); bias != "none") {
    object.fail("bias", fmt::format("{} is not supported, only \"none\" is", shown(bias)));
  }
  const std::string task = object.text("task_type", "CAUSAL_LM");
  if (task != "CAUSAL_LM" && task != "SEQ_CLS") {
    object.fail("task_type", fmt::format("{} is not supported, only \"CAUSAL_LM\" and \"SEQ_CLS\" "
                                         "are",
                                         shown(task)));
  }
  // Some initializations of adapters take something away from the weights of the base.
  if (!object.has("init_lora_weights") || object.value("init_lora_weights").is_boolean()) return;
  const std::string init = object.text("init_lora_weights");
  if (init != "gaussian" && init != "eva" && init != "orthogonal") {
    object.fail("init_lora_weights",
                fmt::format("{} changes the weights of the base model, which is not supported; "
                            "PEFT can convert such adapters when it saves them",
                            shown(init)));
  }
}

bool read_modules_to_save(const JsonObject& object) {
  bool score = false;
  if (!object.has("modules_to_save")) return score;
  for (const Json& module : object.array("modules_to_save")) {
    if (!module.is_string()) object.fail("modules_to_save", "must be a list of names");
    // PEFT names both for every sequence classifier; GPT-2's has one of them.
    if (module == "classifier") continue;
    if (module != "score") {
      object.fail("modules_to_save",
                  fmt::format("{}: whole layers other than \"score\" are not supported",
                              shown(module.get<std::string>())));
    }
    score = true;
  }
  return score;
}

// PEFT takes the keys as regular expressions; plain names are what it writes.
void check_pattern(const JsonObject& object, const char* key, const std::string& pattern) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.';
  };
  if (!pattern.empty() && std::all_of(pattern.begin(), pattern.end(), plain)) return;
  object.fail(key, fmt::format("{}: only plain names of layers are read", shown(pattern)));
}

template <typename Value>
Value find_pattern(const std::vector<std::pair<std::string, Value>>& patterns,
                   std::string_view module, Value otherwise) {
  for (const auto& [pattern, value] : patterns) {
    if (module == pattern ||
        (module.ends_with(pattern) && module[module.size() - pattern.size() - 1] == '.')) {
      return value;
    }
  }
  return otherwise;
}

}  // namespace

int64_t AdapterConfig::rank_of(std::string_view module) const {
  return find_pattern(ranks, module, rank);
}

float AdapterConfig::alpha_of(std::string_view module) const {
  return find_pattern(alphas, module, alpha);
}

AdapterConfig parse_adapter_config(const Json& json, const std::string& where) {
  const JsonObject object(json, where);
  refuse_other_kinds(object);
  AdapterConfig config;
  config.base = object.text("base_model_name_or_path", "");
  config.rank = object.integer("r", 1, kMostRank);
  config.alpha = static_cast<float>(object.number("lora_alpha", kLeastAlpha, kMostAlpha));
  config.dropout = static_cast<float>(object.number("lora_dropout", 0, 0.999, 0));
  config.saves_score = read_modules_to_save(object);
  if (json.contains("target_modules") && json["target_modules"].is_array()) {
    for (const Json& module : json["target_modules"]) {
      if (module == "score") config.targets_score = true;
    }
  }
  if (object.has("rank_pattern")) {
    const JsonObject patterns = object.object("rank_pattern");
    for (const auto& [key, value] : patterns.json().items()) {
      check_pattern(object, "rank_pattern", key);
      config.ranks.emplace_back(key, patterns.integer(key, 1, kMostRank));
    }
  }
  if (object.has("alpha_pattern")) {
    const JsonObject patterns = object.object("alpha_pattern");
    for (const auto& [key, value] : patterns.json().items()) {
      check_pattern(object, "alpha_pattern", key);
      config.alphas.emplace_back(key,
                                 static_cast<float>(patterns.number(key, kLeastAlpha, kMostAlpha)));
    }
  }
  return config;
}

bool has_parts(const LoraConfig& lora) { return lora.q || lora.k || lora.v; }

int64_t parts_of(const LoraConfig& lora) {
  return int64_t{lora.q} + int64_t{lora.k} + int64_t{lora.v};
}

Json adapter_config_json(const ModelConfig& config, const std::string& base, bool with_score) {
  const LoraConfig& lora = config.lora;
  Json json;
  json["peft_type"] = "LORA";
  // PEFT trains the whole output layer of what it calls a sequence classifier.
  json["task_type"] = with_score               ? Json("SEQ_CLS")
                      : config.is_classifier() ? Json(nullptr)
                                               : Json("CAUSAL_LM");
  json["base_model_name_or_path"] = base;
  json["r"] = lora.rank;
  json["lora_alpha"] = decimal(lora.alpha);
  json["lora_dropout"] = decimal(lora.dropout);
  json["target_modules"] = Json::array();
  for (const AdapterTarget& target : kAdapterTargets) {
    const bool wanted = lora.*target.wanted || (target.module == "c_attn" && has_parts(lora));
    const bool whole = with_score && target.module == "score";
    if (wanted && !whole) json["target_modules"].push_back(target.module);
  }
  json["fan_in_fan_out"] = true;  // GPT-2's weights are (in, out)
  json["bias"] = "none";
  json["inference_mode"] = true;
  json["rank_pattern"] = Json::object();
  json["alpha_pattern"] = Json::object();
  if (has_parts(lora)) {
    json["rank_pattern"]["c_attn"] = lora.rank * parts_of(lora);
    json["alpha_pattern"]["c_attn"] = decimal(lora.alpha * static_cast<float>(parts_of(lora)));
  }
  json["modules_to_save"] = with_score ? Json::array({"score"}) : Json(nullptr);
  return json;
}

}  // namespace llm
