// adapter_config.json of PEFT (Hugging Face): what kind of adapters a folder has, and for which
// model.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "model/config.h"

namespace llm {

struct AdapterConfig {
  std::string base;  // a folder or a name; empty: not told
  int64_t rank = 0;
  float alpha = 0, dropout = 0;
  // Of layers that differ, by the ends of their names, as "attn.c_proj"; the first that fits
  // counts.
  std::vector<std::pair<std::string, int64_t>> ranks;
  std::vector<std::pair<std::string, float>> alphas;
  bool saves_score = false;    // the whole output layer of a classifier comes along
  bool targets_score = false;  // it has an adapter of its own

  // module: the whole name of a layer, as "transformer.h.0.attn.c_attn".
  int64_t rank_of(std::string_view module) const;
  float alpha_of(std::string_view module) const;
  float scale_of(std::string_view module) const {
    return alpha_of(module) / static_cast<float>(rank_of(module));
  }
};

// Throws Error{input} at `where` for what this program does not have and what would otherwise be
// computed wrongly: other methods than LoRA, DoRA, rank-stabilized scaling, trained biases and
// whole layers, adapters in some blocks only, initializations that change the base model.
AdapterConfig parse_adapter_config(const Json& json, const std::string& where);

// Adapters for q, k and v apart are one for c_attn in files; see adapter_folder.h.
bool has_parts(const LoraConfig& lora);
int64_t parts_of(const LoraConfig& lora);

// What PEFT calls a layer, and whether a config wants an adapter for it.
struct AdapterTarget {
  std::string_view module;  // ends the names of the layers
  std::string_view layer;   // in a block, as in the names of parameters; "score" outside
  bool LoraConfig::*wanted;
};
inline constexpr AdapterTarget kAdapterTargets[] = {
    {"c_attn", "attn.c_attn", &LoraConfig::qkv},
    {"attn.c_proj", "attn.c_proj", &LoraConfig::projection},
    {"c_fc", "mlp.c_fc", &LoraConfig::up},
    {"mlp.c_proj", "mlp.c_proj", &LoraConfig::down},
    {"score", "score", &LoraConfig::score},
};

// What parse_adapter_config() and PEFT read. base: the folder or name of the model that the
// adapters are for. with_score: the whole output layer comes along.
Json adapter_config_json(const ModelConfig& config, const std::string& base, bool with_score);

}  // namespace llm
