#include "weights/model_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "backend/plan_backend.h"
#include "base/downloads.h"
#include "base/error.h"
#include "base/log.h"
#include "weights/safetensors.h"
#include "weights/tensor_map.h"

namespace llm {
namespace {

constexpr const char* kConfigFile = "config.json";
constexpr const char* kGenerationConfigFile = "generation_config.json";
constexpr const char* kWeightsFile = "model.safetensors";
constexpr const char* kAnotherModel = "does config.json describe another model?";
constexpr int64_t kPieceElements = 1 << 18;  // of a tensor on its way to a file
constexpr JsonLimits kConfigLimits = {.max_depth = 16, .max_bytes = 4 << 20, .max_values = 200'000};

Bytes bytes_of(std::span<const float> values) { return std::as_bytes(values); }

// (rows, columns) -> (columns, rows), in tiles that stay in the cache.
void transpose(std::span<float> to, std::span<const float> from, int64_t rows, int64_t columns) {
  constexpr int64_t kTile = 32;
  for (int64_t row_begin = 0; row_begin < rows; row_begin += kTile) {
    const int64_t row_end = std::min(rows, row_begin + kTile);
    for (int64_t begin = 0; begin < columns; begin += kTile) {
      const int64_t end = std::min(columns, begin + kTile);
      for (int64_t row = row_begin; row < row_end; ++row) {
        for (int64_t column = begin; column < end; ++column) {
          to[static_cast<size_t>(column * rows + row)] =
              from[static_cast<size_t>(row * columns + column)];
        }
      }
    }
  }
}

// The logical values of a parameter: in place where the host can see them, else through `buffer`.
std::span<const float> host_values(const Gpt& model, int index, std::vector<float>& buffer) {
  const ParameterStore& store = model.parameters();
  const auto size = static_cast<size_t>(store.parameters()[static_cast<size_t>(index)].size());
  if (const_cast<Gpt&>(model).backend().is_host()) return {store.value(index).f32(), size};
  buffer.resize(size);
  store.read(index, store.values(), buffer);
  return buffer;
}

// Writes (rows, columns) as (columns, rows), a piece at a time.
void write_transposed(SafetensorsWriter& writer, std::span<const float> values, int64_t rows,
                      int64_t columns) {
  const int64_t step = std::max<int64_t>(1, kPieceElements / rows);
  std::vector<float> piece;
  for (int64_t begin = 0; begin < columns; begin += step) {
    const int64_t count = std::min(step, columns - begin);
    piece.resize(static_cast<size_t>(count * rows));
    for (int64_t row = 0; row < rows; ++row) {
      const float* from = values.data() + row * columns + begin;
      for (int64_t i = 0; i < count; ++i) piece[static_cast<size_t>(i * rows + row)] = from[i];
    }
    writer.write(bytes_of(piece));
  }
}

void write_weights(const fs::path& path, const Gpt& model) {
  const std::vector<FileTensor> tensors = file_tensors(model.parameters());
  std::vector<TensorInfo> infos;
  infos.reserve(tensors.size());
  for (const FileTensor& tensor : tensors) infos.push_back({tensor.name, DType::f32, tensor.shape});
  SafetensorsWriter writer(path, infos);
  std::vector<float> buffer;
  for (const FileTensor& tensor : tensors) {
    if (tensor.parameter < 0) {
      writer.write(bytes_of(std::vector<float>(static_cast<size_t>(tensor.shape[0]), 0.0f)));
      continue;
    }
    const std::span<const float> values = host_values(model, tensor.parameter, buffer);
    if (tensor.transposed) {
      write_transposed(writer, values, tensor.shape[1], tensor.shape[0]);
    } else {
      writer.write(bytes_of(values));
    }
  }
  writer.finish();
}

Json generation_config(const ModelConfig& config) {
  Json json;
  json["_from_model_config"] = true;
  if (config.bos_token_id >= 0) json["bos_token_id"] = config.bos_token_id;
  if (config.eos_token_id >= 0) json["eos_token_id"] = config.eos_token_id;
  return json;
}

// Tells transformers to take tokenizer.json as it is; for the model type gpt2 it would otherwise
// build a tokenizer of its own from the vocabulary, with the pattern of GPT-2.
Json tokenizer_config(const ModelConfig& config, const Tokenizer& tokenizer) {
  Json json;
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  json["model_max_length"] = config.context;
  json["clean_up_tokenization_spaces"] = false;
  for (const SpecialToken& token : tokenizer.special_tokens()) {
    if (token.id != tokenizer.end_of_text()) continue;
    json["bos_token"] = json["eos_token"] = token.text;
  }
  return json;
}

// The tensor under one of its names, or null. Both at once are refused.
const TensorInfo* find_tensor(const SafetensorsFile& file, const FileTensor& wanted) {
  const TensorInfo* prefixed = file.find(wanted.name);
  const TensorInfo* bare = wanted.name == wanted.bare_name ? nullptr : file.find(wanted.bare_name);
  if (prefixed != nullptr && bare != nullptr) {
    fail_input(file.path().string(),
               fmt::format("has both \"{}\" and \"{}\"", wanted.name, wanted.bare_name),
               "remove one of them");
  }
  return prefixed != nullptr ? prefixed : bare;
}

void refuse_extra_tensors(const SafetensorsFile& file, const std::set<std::string>& known) {
  for (const TensorInfo& info : file.tensors()) {
    if (known.contains(info.name) || is_mask_buffer(info.name)) continue;
    fail_input(file.path().string(),
               fmt::format("tensor \"{}\" {} does not belong to this model", info.name,
                           shape_text(info.shape)),
               kAnotherModel);
  }
}

// Name, shape and type of a tensor that was found.
void check_tensor(const SafetensorsFile& file, const TensorInfo& info, const FileTensor& wanted) {
  const std::string where = file.path().string();
  if (info.shape != wanted.shape) {
    fail_input(where,
               fmt::format("tensor \"{}\" has shape {}, {} asks for {}", info.name,
                           shape_text(info.shape), kConfigFile, shape_text(wanted.shape)),
               kAnotherModel);
  }
  if (info.dtype != DType::f32 && info.dtype != DType::bf16 && info.dtype != DType::f16) {
    fail_input(where,
               fmt::format("tensor \"{}\" holds {}, not floating point", info.name,
                           dtype_name(info.dtype)),
               "convert the file to F32, BF16 or F16");
  }
  if (wanted.parameter >= 0) return;
  std::vector<float> values(static_cast<size_t>(info.elements()));
  file.read_f32(info, values);
  if (std::any_of(values.begin(), values.end(), [](float value) { return value != 0; })) {
    fail_input(where,
               fmt::format("tensor \"{}\" is not zero, but {} says that the model has no such bias",
                           info.name, kConfigFile),
               kAnotherModel);
  }
}

// A tied tensor may be in the file twice if both are the same.
void check_tied(const SafetensorsFile& file, const TensorInfo& alias, const TensorInfo& original) {
  const Bytes a = file.bytes(alias), b = file.bytes(original);
  if (alias.dtype == original.dtype && alias.shape == original.shape &&
      std::memcmp(a.data(), b.data(), a.size()) == 0) {
    return;
  }
  fail_input(file.path().string(),
             fmt::format("tensor \"{}\" differs from \"{}\", but {} says that they are tied",
                         alias.name, original.name, kConfigFile),
             "set \"tie_word_embeddings\": false");
}

// The tensor of the file for each of `tensors` (null: a left-out bias that is not there), after all
// checks of names, shapes and types, and of the values of those that memory does not hold.
std::vector<const TensorInfo*> match_tensors(const SafetensorsFile& file,
                                             const ParameterStore& store,
                                             const std::vector<FileTensor>& tensors) {
  std::vector<const TensorInfo*> matched;
  std::set<std::string> known;
  for (const FileTensor& tensor : tensors) {
    const TensorInfo* info = find_tensor(file, tensor);
    matched.push_back(info);
    if (info == nullptr) {
      if (tensor.parameter < 0) continue;
      fail_input(file.path().string(),
                 fmt::format("tensor \"{}\" {} is missing", tensor.name, shape_text(tensor.shape)),
                 kAnotherModel);
    }
    known.insert(info->name);
    check_tensor(file, *info, tensor);
    if (tensor.parameter < 0) continue;
    for (const std::string& name :
         store.parameters()[static_cast<size_t>(tensor.parameter)].aliases) {
      const TensorInfo* alias = file.find(name);
      if (alias == nullptr) continue;
      known.insert(name);
      check_tied(file, *alias, *info);
    }
  }
  refuse_extra_tensors(file, known);
  return matched;
}

bool has_weights(const fs::path& directory) {
  return fs::exists(directory / kConfigFile) && fs::exists(directory / kWeightsFile);
}

// The newest checkpoint of a run whose weights are whole, or nothing.
std::optional<fs::path> newest_checkpoint(const fs::path& run) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", error)) {
    if (entry.path().filename().string().starts_with("step_")) found.push_back(entry.path());
  }
  std::sort(found.rbegin(), found.rend());  // step_00000100: the names sort like the numbers
  for (const fs::path& checkpoint : found) {
    try {
      if (!has_weights(checkpoint)) continue;
      read_model_config(checkpoint);
      SafetensorsFile(checkpoint / kWeightsFile);
      return checkpoint;
    } catch (const Error& bad) {
      log_warning(fmt::format("checkpoint skipped: {}", bad.what()));
    }
  }
  return std::nullopt;
}

}  // namespace

void write_model_folder(const fs::path& directory, const Gpt& model, const Tokenizer* tokenizer) {
  make_directories(directory);
  const fs::path weights = directory / kWeightsFile,
                 unfinished = directory / "model.safetensors.tmp";
  write_weights(unfinished, model);
  rename_path(unfinished, weights);
  write_file_atomically(directory / kGenerationConfigFile,
                        to_pretty_text(generation_config(model.config())));
  if (tokenizer != nullptr) {
    tokenizer->save(directory);
    write_file_atomically(directory / "tokenizer_config.json",
                          to_pretty_text(tokenizer_config(model.config(), *tokenizer)));
  }
  write_file_atomically(directory / kConfigFile, to_pretty_text(to_hugging_face(model.config())));
  sync_directory(directory);
}

ModelConfig read_model_config(const fs::path& directory) {
  const fs::path path = directory / kConfigFile;
  return with_hint("GPT-2 models in Hugging Face's format are read: is this one, undamaged?", [&] {
    return from_hugging_face(read_json_file(path, kConfigLimits), path.string());
  });
}

void read_model_weights(const fs::path& directory, Gpt& model) {
  ParameterStore& store = model.parameters();
  const SafetensorsFile file(directory / kWeightsFile);
  const std::vector<FileTensor> tensors = file_tensors(store);
  const std::vector<const TensorInfo*> matched = match_tensors(file, store, tensors);
  std::vector<float> values, turned;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].parameter < 0) continue;
    if (!tensors[i].transposed) {
      copy_tensor(store, tensors[i].parameter, store.values(), file, *matched[i]);
      continue;
    }
    values.resize(static_cast<size_t>(matched[i]->elements()));
    turned.resize(values.size());
    file.read_f32(*matched[i], values);
    transpose(turned, values, tensors[i].shape[0], tensors[i].shape[1]);
    store.write(tensors[i].parameter, store.values(), turned);
  }
}

std::unique_ptr<Gpt> load_model(Backend& backend, const fs::path& directory,
                                const StoreOptions& options) {
  const ModelConfig config = read_model_config(directory);
  const SafetensorsFile file(directory / kWeightsFile);
  {
    MemoryByPurpose usage;
    const std::unique_ptr<Backend> plan = make_plan_backend(backend, usage);
    const Gpt outline(*plan, config, {});
    match_tensors(file, outline.parameters(), file_tensors(outline.parameters()));
  }
  auto model = std::make_unique<Gpt>(backend, config, options);
  if (options.training) model->parameters().initialize(0);  // moments and gradients become zero
  read_model_weights(directory, *model);
  return model;
}

std::unique_ptr<Tokenizer> read_model_tokenizer(const fs::path& directory) {
  if (!fs::exists(directory / "tokenizer.json") && !fs::exists(directory / "vocab.json")) {
    return nullptr;
  }
  return load_tokenizer(directory);
}

fs::path resolve_model_folder(const std::string& model) {
  const fs::path directory = model;
  if (has_weights(directory)) return directory;
  const bool is_folder = fs::is_directory(directory);
  if (const auto checkpoint = is_folder ? newest_checkpoint(directory) : std::nullopt) {
    log_warning(
        fmt::format("{} has no weights of its own yet; using {}", model, checkpoint->string()));
    return *checkpoint;
  }
  const std::optional<fs::path> downloaded = downloaded_model_folder(model);
  if (downloaded && has_weights(*downloaded)) return *downloaded;
  if (downloaded && fs::exists(*downloaded / kDownloadRecord)) {
    fail_input(model, fmt::format("its download to {} is not complete", downloaded->string()),
               fmt::format("`llm download {}` goes on with it", model));
  }
  fail_input(model,
             is_folder ? fmt::format("no model: neither {} and {}, nor a whole checkpoint under "
                                     "checkpoints/",
                                     kConfigFile, kWeightsFile)
                       : "neither a folder nor a downloaded model",
             hint_to_download(model));
}

}  // namespace llm
