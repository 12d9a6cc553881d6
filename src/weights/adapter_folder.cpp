#include "weights/adapter_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "model/lora.h"
#include "weights/safetensors.h"
#include "weights/tensor_source.h"

namespace llm {
namespace {

constexpr std::string_view kPeftPrefix = "base_model.model.";
constexpr std::string_view kTransformer = "transformer.";
constexpr std::string_view kLoraA = ".lora_A.weight";
// In the metadata of the file.
constexpr const char* kTargetsKey = "lora_targets";
constexpr const char* kLabelsKey = "labels";
constexpr const char* kPoolingKey = "pooling";
constexpr const char* kPadLengthKey = "pad_length";
constexpr const char* kBaseHashKey = "base_hash";
constexpr JsonLimits kConfigLimits = {8, 1 << 20, 100'000};

// "h.0.attn.c_attn.lora_A" -> PEFT's name.
std::string name_in_file(const std::string& parameter) {
  const bool outside = parameter.starts_with("score.");
  return fmt::format("{}{}{}.weight", kPeftPrefix, outside ? "" : kTransformer, parameter);
}
constexpr const char* kScoreInFile = "base_model.model.score.weight";
constexpr std::string_view kScoreLayer = "base_model.model.score.lora_";

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

void write_adapter_weights(const fs::path& path, const Gpt& model, const std::string& base_hash,
                           bool with_score) {
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
  if (!base_hash.empty()) metadata[kBaseHashKey] = base_hash;
  if (has_parts(config.lora)) metadata[kTargetsKey] = parts_text(config.lora);
  if (config.is_classifier()) {
    metadata[kLabelsKey] = to_line(Json(config.labels));
    metadata[kPoolingKey] = pooling_name(config.pooling);
    if (config.pad_length > 0) metadata[kPadLengthKey] = fmt::to_string(config.pad_length);
  }
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
  if (score >= 0) write(merged_values(model, score));
  writer.finish();
}

}  // namespace

void write_adapter_folder(const fs::path& directory, const Gpt& model, const AdapterBase& base,
                          bool with_score) {
  make_directories(directory);
  write_whole(directory / kAdapterWeightsFile, [&](const fs::path& unfinished) {
    write_adapter_weights(unfinished, model, base.hash, with_score);
  });
  write_file_atomically(directory / kAdapterConfigFile,
                        to_pretty_text(adapter_config_json(model.config(), base.name, with_score)));
}

namespace {

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

// What is wrong comes from a file, not from the command line.
template <typename Call>
auto as_input(const Call& call) {
  try {
    return call();
  } catch (const Error& error) {
    fail_input(error.where(), error.problem(), error.hint());
  }
}

// Labels and pooling of a classifier whose output layer has `count` rows.
void set_labels(ModelConfig& config, const SafetensorsFile& file, int64_t count) {
  const std::string where = file.path().string();
  const auto& metadata = file.metadata();
  if (const auto pooling = metadata.find(kPoolingKey); pooling != metadata.end()) {
    config.pooling = as_input([&] { return pooling_named(pooling->second, where); });
  }
  if (const auto length = metadata.find(kPadLengthKey); length != metadata.end()) {
    const Json json = {{kPadLengthKey, parse_json(length->second, where, kConfigLimits)}};
    config.pad_length = JsonObject(json, where).integer(kPadLengthKey, 0, config.context);
  }
  if (const auto labels = metadata.find(kLabelsKey); labels != metadata.end()) {
    const Json names = parse_json(labels->second, where, kConfigLimits);
    const bool texts =
        names.is_array() &&
        std::all_of(names.begin(), names.end(), [](const Json& name) { return name.is_string(); });
    if (!texts || std::ssize(names) != count) {
      fail_input(where, fmt::format("metadata {}: not the names of {} labels", kLabelsKey, count));
    }
    config.labels = names.get<std::vector<std::string>>();
  } else if (std::ssize(config.labels) != count) {
    if (config.is_classifier()) {
      fail_input(where, fmt::format("the output layer has {} labels, the base model {}", count,
                                    config.labels.size()));
    }
    for (int64_t i = 0; i < count; ++i) config.labels.push_back(fmt::format("LABEL_{}", i));
  }
}

// "transformer.h.0.attn.c_attn", where the tensor is the A of an adapter.
std::optional<std::string_view> module_of(std::string_view tensor) {
  if (!tensor.starts_with(kPeftPrefix) || !tensor.ends_with(kLoraA)) return std::nullopt;
  tensor.remove_prefix(kPeftPrefix.size());
  tensor.remove_suffix(kLoraA.size());
  return tensor;
}

bool is_target(std::string_view module, const AdapterTarget& target) {
  return module == target.layer ||
         (module.ends_with(target.layer) && module[module.size() - target.layer.size() - 1] == '.');
}

// An adapter of an output layer that is there whole is in it already.
bool is_merged(std::string_view module, const SafetensorsFile& file) {
  return module == "score" && file.find(kScoreInFile) != nullptr;
}

// Compares the ranks that the config tells with the tensors, and returns the highest; an adapter
// that is several counts as one of a part of its rank.
int64_t highest_rank(const AdapterConfig& config, const LoraConfig& lora,
                     const SafetensorsFile& file) {
  int64_t highest = 0;
  for (const TensorInfo& tensor : file.tensors()) {
    const auto module = module_of(tensor.name);
    if (!module) continue;
    if (!lora.score && is_merged(*module, file)) continue;
    const int64_t rank = config.rank_of(*module);
    if (tensor.shape.size() != 2 || tensor.shape[0] != rank) {
      fail_input(file.path().string(),
                 fmt::format("tensor {} has shape {}, which is not of the rank {} that {} tells",
                             quoted_name(tensor.name), shape_text(tensor.shape), rank,
                             kAdapterConfigFile));
    }
    const bool parts = has_parts(lora) && is_target(*module, kAdapterTargets[0]);
    if (parts && rank % parts_of(lora) != 0) {
      fail_input(file.path().string(), fmt::format("tensor {}: a rank of {} is not {} equal ones",
                                                   quoted_name(tensor.name), rank, parts_of(lora)));
    }
    highest = std::max(highest, parts ? rank / parts_of(lora) : rank);
  }
  return highest;
}

// The tensors of a file, as they are asked for, and which of them were.
class AdapterTensors {
 public:
  explicit AdapterTensors(const SafetensorsFile& file) : file_(file) {}

  // The name of a parameter's tensor: of a base model without a head it has no "transformer.".
  std::string name_of(const Parameter& parameter) const {
    const std::string name = name_in_file(parameter.name);
    const std::string bare = fmt::format("{}{}.weight", kPeftPrefix, parameter.name);
    return file_.find(name) == nullptr && file_.find(bare) != nullptr ? bare : name;
  }
  std::vector<float> read(const std::string& name, const std::vector<int64_t>& shape) {
    const TensorInfo* tensor = file_.find(name);
    const std::string where = file_.path().string();
    if (tensor == nullptr) fail_input(where, fmt::format("tensor \"{}\" is missing", name));
    if (tensor->shape != shape) {
      fail_input(where,
                 fmt::format("tensor \"{}\" has shape {}, the model's is {}", name,
                             shape_text(tensor->shape), shape_text(shape)),
                 "are the adapters for another model?");
    }
    std::vector<float> result(static_cast<size_t>(tensor->elements()));
    file_.read_f32(*tensor, result);
    known_.insert(name);
    return result;
  }
  void refuse_others() const {
    for (const TensorInfo& tensor : file_.tensors()) {
      if (known_.contains(tensor.name) || tensor.name == kScoreInFile) continue;
      if (tensor.name.starts_with(kScoreLayer) && file_.find(kScoreInFile) != nullptr) continue;
      fail_input(file_.path().string(),
                 fmt::format("tensor {} does not belong to the adapters of this model",
                             quoted_name(tensor.name)));
    }
  }

 private:
  const SafetensorsFile& file_;
  std::set<std::string> known_;
};

// What an adapter of a lower rank lacks is zero, and what its scale differs from that of the model
// goes into B.
std::vector<float> read_adapter(AdapterTensors& tensors, const AdapterConfig& adapters,
                                const ModelConfig& config, const Parameter& parameter) {
  const std::string name = tensors.name_of(parameter);
  const std::string_view layer = std::string_view(name).substr(
      kPeftPrefix.size(), name.size() - kPeftPrefix.size() - kLoraA.size());
  const int64_t most = parameter.shape[0], columns = parameter.shape[1];
  const int64_t rank = std::min(adapters.rank_of(layer), most);
  std::vector<float> values;
  if (parameter.transposed_in_files) {
    values = from_file(tensors.read(name, {rows_in_file(config, parameter), rank}), rank, columns);
    const double factor = static_cast<double>(adapters.scale_of(layer)) / config.lora.scale();
    if (std::abs(factor - 1) > 1e-6) {
      for (float& value : values) value = static_cast<float>(value * factor);
    }
  } else {
    values = tensors.read(name, {rank, columns});
  }
  values.resize(static_cast<size_t>(most * columns), 0.0f);
  return values;
}

}  // namespace

bool is_adapter_folder(const fs::path& directory) {
  return fs::exists(directory / kAdapterConfigFile);
}

bool has_output_layer(const fs::path& directory) {
  return SafetensorsFile(directory / kAdapterWeightsFile).find(kScoreInFile) != nullptr;
}

std::string read_base_hash(const fs::path& directory) {
  const SafetensorsFile file(directory / kAdapterWeightsFile);
  const auto found = file.metadata().find(kBaseHashKey);
  return found == file.metadata().end() ? "" : found->second;
}

AdapterConfig read_adapter_config(const fs::path& directory) {
  const fs::path path = directory / kAdapterConfigFile;
  return parse_adapter_config(read_json_file(path, kConfigLimits), path.string());
}

LoraConfig read_lora_config(const fs::path& directory, const ModelConfig& base) {
  return read_adapted_config(directory, base).lora;
}

ModelConfig read_adapted_config(const fs::path& directory, const ModelConfig& base) {
  const std::string where = (directory / kAdapterConfigFile).string();
  const AdapterConfig adapters = read_adapter_config(directory);
  const SafetensorsFile file(directory / kAdapterWeightsFile);
  ModelConfig config = base;
  LoraConfig& lora = config.lora = {};
  lora.dropout = adapters.dropout;
  // The layers are those of the tensors that there are: the targets of the config may be patterns.
  for (const TensorInfo& tensor : file.tensors()) {
    const auto module = module_of(tensor.name);
    if (!module || is_merged(*module, file)) continue;
    for (const AdapterTarget& target : kAdapterTargets) {
      if (is_target(*module, target)) lora.*target.wanted = true;
    }
  }
  const auto parts = file.metadata().find(kTargetsKey);
  if (parts != file.metadata().end()) set_parts(lora, parts->second, file.path().string());
  lora.rank = highest_rank(adapters, lora, file);
  const TensorInfo* score = file.find(kScoreInFile);
  if (lora.rank == 0 && score == nullptr) {
    fail_input(file.path().string(), "there are no adapters in it");
  }
  lora.alpha = lora.rank == adapters.rank ? adapters.alpha
                                          : adapters.alpha / static_cast<float>(adapters.rank) *
                                                static_cast<float>(lora.rank);
  if (score != nullptr && adapters.targets_score) {
    fail_input(where,
               "the output layer is in the file whole and a target of adapters too, so that it "
               "cannot be told whether they are in it already",
               "train them again with this version");
  }
  if (score == nullptr && adapters.saves_score) {
    fail_input(file.path().string(), fmt::format("tensor \"{}\" is missing", kScoreInFile));
  }
  if (score != nullptr && !score->shape.empty()) set_labels(config, file, score->shape[0]);
  as_input([&] { validate(config, where); });
  return config;
}

void read_adapter_weights(const fs::path& directory, Gpt& model) {
  const AdapterConfig adapters = read_adapter_config(directory);
  const SafetensorsFile file(directory / kAdapterWeightsFile);
  const std::string where = file.path().string();
  const LoraConfig& lora = model.config().lora;
  if (const int64_t rank = highest_rank(adapters, lora, file); rank != lora.rank) {
    fail_input(where, fmt::format("adapters of rank {}, the model's have {}", rank, lora.rank));
  }
  ParameterStore& store = model.parameters();
  AdapterTensors tensors(file);
  std::vector<std::pair<int, std::vector<float>>> values;
  for_adapters(store, [&](int index, const Parameter& parameter) {
    values.emplace_back(index, read_adapter(tensors, adapters, model.config(), parameter));
  });
  const int score = store.find("score.weight");
  if (score >= 0 && !lora.score && file.find(kScoreInFile) != nullptr) {
    values.emplace_back(
        score, tensors.read(kScoreInFile, store.parameters()[static_cast<size_t>(score)].shape));
  }
  tensors.refuse_others();
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
