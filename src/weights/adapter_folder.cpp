#include "weights/adapter_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "weights/safetensors.h"
#include "weights/tensor_source.h"

namespace llm {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kTransformer = "transformer.";
constexpr const char* kTargetsKey = "lora_targets";  // in the metadata of the file
constexpr JsonLimits kConfigLimits = {8, 1 << 20, 100'000};

// What PEFT calls a layer, and whether the config wants an adapter for it.
struct Target {
  std::string_view module;  // ends the names of the layers
  std::string_view layer;   // in a block, as in the names of parameters; "score" outside
  bool LoraConfig::*wanted;
};
constexpr std::array kTargets = {
    Target{"c_attn", "attn.c_attn", &LoraConfig::qkv},
    Target{"attn.c_proj", "attn.c_proj", &LoraConfig::projection},
    Target{"c_fc", "mlp.c_fc", &LoraConfig::up},
    Target{"mlp.c_proj", "mlp.c_proj", &LoraConfig::down},
    Target{"score", "score", &LoraConfig::score},
};

bool apart(const LoraConfig& lora) { return lora.q || lora.k || lora.v; }
int64_t parts_of(const LoraConfig& lora) {
  return int64_t{lora.q} + int64_t{lora.k} + int64_t{lora.v};
}

// "h.0.attn.c_attn.lora_A" -> PEFT's name.
std::string name_in_file(const std::string& parameter) {
  const bool outside = parameter.starts_with("score.");
  return fmt::format("{}{}{}.weight", kPrefix, outside ? "" : kTransformer, parameter);
}
constexpr const char* kScoreInFile = "base_model.model.score.weight";

Json adapter_config(const ModelConfig& config, const std::string& base, bool with_score) {
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
  for (const Target& target : kTargets) {
    const bool wanted = lora.*target.wanted || (target.module == "c_attn" && apart(lora));
    if (wanted) json["target_modules"].push_back(target.module);
  }
  json["fan_in_fan_out"] = true;  // GPT-2's weights are (in, out)
  json["bias"] = "none";
  json["inference_mode"] = true;
  json["rank_pattern"] = Json::object();
  json["alpha_pattern"] = Json::object();
  if (apart(lora)) {
    json["rank_pattern"]["c_attn"] = lora.rank * parts_of(lora);
    json["alpha_pattern"]["c_attn"] = decimal(lora.alpha * static_cast<float>(parts_of(lora)));
  }
  json["modules_to_save"] = with_score ? Json::array({"score"}) : Json(nullptr);
  return json;
}

std::string parts_text(const LoraConfig& lora) {
  std::vector<std::string_view> parts;
  if (lora.q) parts.emplace_back("q");
  if (lora.k) parts.emplace_back("k");
  if (lora.v) parts.emplace_back("v");
  return fmt::format("{}", fmt::join(parts, ","));
}

// Rows of B's file image: those of the layer's output, without padding.
int64_t rows_in_file(const ModelConfig& config, const Parameter& parameter) {
  if (parameter.name.starts_with("score.")) return std::ssize(config.labels);
  return parameter.shape[1];
}

std::vector<int64_t> shape_in_file(const ModelConfig& config, const Parameter& parameter) {
  if (!parameter.transposed_in_files) return parameter.shape;
  return {rows_in_file(config, parameter), parameter.shape[0]};
}

// (rank, columns) in memory, the first `rows` columns as rows in a file; and back.
std::vector<float> to_file(std::span<const float> values, int64_t rank, int64_t rows) {
  const int64_t columns = std::ssize(values) / rank;
  std::vector<float> result(static_cast<size_t>(rank * rows));
  for (int64_t i = 0; i < std::ssize(result); ++i) {
    result[static_cast<size_t>(i)] = values[static_cast<size_t>(i % rank * columns + i / rank)];
  }
  return result;
}
std::vector<float> from_file(std::span<const float> values, int64_t rank, int64_t columns) {
  std::vector<float> result(static_cast<size_t>(rank * columns));
  for (int64_t i = 0; i < std::ssize(values); ++i) {
    result[static_cast<size_t>(i % rank * columns + i / rank)] = values[static_cast<size_t>(i)];
  }
  return result;
}

// Calls use(index, parameter) for the adapters of a model.
template <typename Use>
void for_adapters(const ParameterStore& store, const Use& use) {
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    if (store.parameters()[i].adapter) use(static_cast<int>(i), store.parameters()[i]);
  }
}

void write_adapter_weights(const fs::path& path, const Gpt& model, bool with_score) {
  const ModelConfig& config = model.config();
  const ParameterStore& store = model.parameters();
  std::vector<TensorInfo> infos;
  for_adapters(store, [&](int, const Parameter& parameter) {
    infos.push_back({name_in_file(parameter.name), DType::f32, shape_in_file(config, parameter)});
  });
  const int score = with_score ? store.find("score.weight") : -1;
  if (score >= 0) {
    infos.push_back(
        {kScoreInFile, DType::f32, store.parameters()[static_cast<size_t>(score)].shape});
  }
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  if (apart(config.lora)) metadata[kTargetsKey] = parts_text(config.lora);
  SafetensorsWriter writer(path, infos, metadata);
  const auto write = [&](const std::vector<float>& values) {
    writer.write(std::as_bytes(std::span(values)));
  };
  for_adapters(store, [&](int index, const Parameter& parameter) {
    const std::vector<float> values = store.read(index, store.values());
    write(parameter.transposed_in_files
              ? to_file(values, parameter.shape[0], rows_in_file(config, parameter))
              : values);
  });
  if (score >= 0) write(store.read(score, store.values()));
  writer.finish();
}

}  // namespace

void write_adapter_folder(const fs::path& directory, const Gpt& model, const std::string& base,
                          bool with_score) {
  make_directories(directory);
  write_whole(directory / kAdapterWeightsFile, [&](const fs::path& unfinished) {
    write_adapter_weights(unfinished, model, with_score);
  });
  write_file_atomically(directory / kAdapterConfigFile,
                        to_pretty_text(adapter_config(model.config(), base, with_score)));
}

namespace {

void refuse_unknown_kinds(const JsonObject& object) {
  const std::string type = object.text("peft_type");
  if (type != "LORA") object.fail("peft_type", fmt::format("\"{}\" is not supported", type));
  for (const char* key : {"use_dora", "use_rslora", "lora_bias"}) {
    if (object.boolean(key, false)) object.fail(key, "true is not supported");
  }
  if (const std::string bias = object.text("bias", "none"); bias != "none") {
    object.fail("bias", fmt::format("\"{}\" is not supported, only \"none\" is", bias));
  }
  if (object.has("layers_to_transform")) {
    object.fail("layers_to_transform", "adapters in some blocks only are not supported");
  }
}

// The layers with an adapter, from the tensors that there are: the targets of the config may be
// patterns.
std::set<std::string_view> adapted_layers(const SafetensorsFile& file) {
  std::set<std::string_view> layers;
  for (const TensorInfo& tensor : file.tensors()) {
    for (const Target& target : kTargets) {
      if (tensor.name.ends_with(fmt::format(".{}.lora_A.weight", target.layer))) {
        layers.insert(target.layer);
      }
    }
  }
  return layers;
}

void set_parts(LoraConfig& lora, const std::string& text, const std::string& where) {
  lora.qkv = false;
  for (size_t at = 0; at < text.size(); at += 2) {
    const char part = text[at];
    bool& wanted = part == 'q' ? lora.q : part == 'k' ? lora.k : lora.v;
    const bool known = part == 'q' || part == 'k' || part == 'v';
    if (!known || wanted || (at + 1 < text.size() && text[at + 1] != ',')) {
      fail_input(where, fmt::format("metadata {}: \"{}\" is not some of q,k,v", kTargetsKey,
                                    text.substr(0, 40)));
    }
    wanted = true;
  }
}

}  // namespace

LoraConfig read_lora_config(const fs::path& directory, const ModelConfig& base) {
  const fs::path path = directory / kAdapterConfigFile;
  const Json json = read_json_file(path, kConfigLimits);
  const JsonObject object(json, path.string());
  refuse_unknown_kinds(object);
  LoraConfig lora;
  lora.rank = object.integer("r", 1, 1 << 20);
  lora.alpha = static_cast<float>(object.number("lora_alpha", 1e-6, 999'999));
  lora.dropout = static_cast<float>(object.number("lora_dropout", 0, 0.999, 0));

  const SafetensorsFile file(directory / kAdapterWeightsFile);
  const std::set<std::string_view> layers = adapted_layers(file);
  for (const Target& target : kTargets) lora.*target.wanted = layers.contains(target.layer);
  const auto parts = file.metadata().find(kTargetsKey);
  if (parts != file.metadata().end()) set_parts(lora, parts->second, file.path().string());

  ModelConfig config = base;
  config.lora = lora;
  try {
    validate(config, path.string());
  } catch (const Error& error) {  // the numbers come from a file, not from the command line
    fail_input(error.where(), error.problem(), error.hint());
  }
  for (const char* key : {"rank_pattern", "alpha_pattern"}) {
    if (!object.has(key)) continue;
    const Json& pattern = object.object(key).json();
    if (!pattern.empty() && !apart(lora)) {
      object.fail(key, "layers with ranks or scales of their own are not supported");
    }
  }
  return lora;
}

void read_adapter_weights(const fs::path& directory, Gpt& model) {
  const SafetensorsFile file(directory / kAdapterWeightsFile);
  const std::string where = file.path().string();
  ParameterStore& store = model.parameters();
  std::set<std::string> known = {kScoreInFile};
  std::vector<std::pair<int, std::vector<float>>> values;
  const auto read = [&](const std::string& name, std::span<const int64_t> shape) {
    const TensorInfo* tensor = file.find(name);
    if (tensor == nullptr) fail_input(where, fmt::format("tensor \"{}\" is missing", name));
    if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end())) {
      fail_input(where,
                 fmt::format("tensor \"{}\" has shape ({}), the model's is ({})", name,
                             fmt::join(tensor->shape, ", "), fmt::join(shape, ", ")),
                 "are the adapters for another model?");
    }
    std::vector<float> result(static_cast<size_t>(tensor->elements()));
    file.read_f32(*tensor, result);
    known.insert(name);
    return result;
  };
  for_adapters(store, [&](int index, const Parameter& parameter) {
    std::string name = name_in_file(parameter.name);
    if (file.find(name) == nullptr) {  // of a base model without a head: no "transformer."
      const std::string bare = fmt::format("{}{}.weight", kPrefix, parameter.name);
      if (file.find(bare) != nullptr) name = bare;
    }
    std::vector<float> tensor = read(name, shape_in_file(model.config(), parameter));
    if (parameter.transposed_in_files) {
      tensor = from_file(tensor, parameter.shape[0], parameter.shape[1]);
    }
    values.emplace_back(index, std::move(tensor));
  });
  if (const int score = store.find("score.weight"); score >= 0 && file.find(kScoreInFile)) {
    values.emplace_back(score,
                        read(kScoreInFile, store.parameters()[static_cast<size_t>(score)].shape));
  }
  for (const TensorInfo& tensor : file.tensors()) {
    if (known.contains(tensor.name)) continue;
    fail_input(where, fmt::format("tensor {} does not belong to the adapters of this model",
                                  quoted_name(tensor.name)));
  }
  for (const auto& [index, numbers] : values) {
    const Parameter& parameter = store.parameters()[static_cast<size_t>(index)];
    for (int64_t i = 0; i < std::ssize(numbers); ++i) {
      if (parameter.is_free(i) || numbers[static_cast<size_t>(i)] == 0) continue;
      fail_input(where, fmt::format("{}: not zero between the parts that the metadata tells",
                                    name_in_file(parameter.name)));
    }
  }
  for (const auto& [index, numbers] : values) store.write(index, store.values(), numbers);
}

}  // namespace llm
