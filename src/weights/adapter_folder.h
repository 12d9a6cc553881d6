// Low-rank adapters as folders of PEFT (Hugging Face): adapter_config.json and
// adapter_model.safetensors with "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
// (rank, in) and "...lora_B.weight" (out, rank). Adapters for q, k and v apart are one for c_attn
// there, of as many times the rank, whose B is zero between the parts; its pattern of rank and
// alpha keeps the scale, and the metadata of the file tells the parts. That also names the labels
// and the pooling of a classifier, for which PEFT has no place, and the hash of the base's weights.
#pragma once

#include <string>

#include "base/file.h"
#include "model/gpt.h"
#include "weights/adapter_config.h"

namespace llm {

inline constexpr const char* kAdapterConfigFile = "adapter_config.json";
inline constexpr const char* kAdapterWeightsFile = "adapter_model.safetensors";

// The model that adapters are for.
struct AdapterBase {
  std::string name;  // its folder, or the name of a downloaded model
  std::string hash;  // hash_of_weights(); empty: not known, and not written
};

// Writes the adapters of a model and, where `with_score`, the whole output layer of a classifier,
// which PEFT calls a module to save. That cannot have an adapter there: what its adapter adds is
// then part of the layer, and the adapter beside it, which PEFT does not see, is for training on.
void write_adapter_folder(const fs::path& directory, const Gpt& model, const AdapterBase& base,
                          bool with_score);

// Whether a folder has adapter_config.json.
bool is_adapter_folder(const fs::path& directory);
// Whether its file has the output layer of a classifier. Throws Error{input}.
bool has_output_layer(const fs::path& directory);
// The hash of the base's weights, empty where the file does not tell it, as files of PEFT do not.
// Throws Error{input}.
std::string read_base_hash(const fs::path& directory);
// Its adapter_config.json. Throws Error{input}.
AdapterConfig read_adapter_config(const fs::path& directory);

// What adapters a folder has, for a model like `base`. Adapters of different ranks and scales are
// all of the highest rank here. Throws Error{input} for what this program does not have (see
// adapter_config.h), for ranks that are not those of the tensors and for adapters of other layers.
LoraConfig read_lora_config(const fs::path& directory, const ModelConfig& base);
// The config of the whole model: that of `base` with these adapters, and with the labels and the
// pooling of a classifier if its output layer is in the folder. Where nothing tells the labels
// they are LABEL_0, LABEL_1, ... as in transformers.
ModelConfig read_adapted_config(const fs::path& directory, const ModelConfig& base);
// Reads the values of adapters, and of the output layer if the folder has it, into a model with the
// config that read_lora_config() gave; or, to train on, with the one that was written, whose output
// layer stays as it is if it has an adapter. Throws Error{input}, before any value is changed,
// naming what is missing, misshapen or does not belong.
void read_adapter_weights(const fs::path& directory, Gpt& model);

}  // namespace llm
