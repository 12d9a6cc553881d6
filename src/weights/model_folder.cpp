#include "weights/model_folder.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/plan_backend.h"
#include "base/downloads.h"
#include "base/error.h"
#include "base/log.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

constexpr const char* kConfigFile = "config.json";
constexpr const char* kGenerationConfigFile = "generation_config.json";
constexpr JsonLimits kModelConfigLimits = {
    .max_depth = 16, .max_bytes = 4 << 20, .max_values = 200'000};

// Gives values of a model's parameters: in place where the host can see them, else through a copy
// of the parameter that was asked for last.
class StoreReader {
 public:
  explicit StoreReader(const Gpt& model)
      : store_(model.parameters()), is_host_(model.backend().is_host()) {}

  void read(std::span<float> into, const ParameterBlock& block) {
    const Parameter& parameter = store_.parameters()[static_cast<size_t>(block.index)];
    const int64_t columns = parameter.shape.size() == 1 ? 1 : parameter.shape[1];
    const auto* data = reinterpret_cast<const std::byte*>(values_of(block.index));
    read_block(into, {data, DType::f32, parameter.shape[0], columns, columns, 1}, block.row,
               block.rows, block.column, block.columns);
  }

 private:
  const float* values_of(int index) {
    const Parameter& parameter = store_.parameters()[static_cast<size_t>(index)];
    if (is_host_) return store_.values().f32() + parameter.offset;
    if (index != held_) {
      copy_.resize(static_cast<size_t>(parameter.size()));
      store_.read(index, store_.values(), copy_);
      held_ = index;
    }
    return copy_.data();
  }

  const ParameterStore& store_;
  bool is_host_;
  int held_ = -1;
  std::vector<float> copy_;
};

void write_weights(const fs::path& path, const ParameterStore& store, const ReadParameter& read,
                   DType dtype) {
  const std::vector<FileTensor> tensors = file_tensors(store);
  std::vector<TensorInfo> infos;
  infos.reserve(tensors.size());
  for (const FileTensor& tensor : tensors) infos.push_back({tensor.name, dtype, tensor.shape});
  SafetensorsWriter writer(path, infos);
  for (const FileTensor& tensor : tensors) {
    stream_tensor(tensor, read, dtype, [&](Bytes bytes) { writer.write(bytes); });
  }
  writer.finish();
}

Json config_json(const ModelConfig& config, DType dtype) {
  Json json = to_hugging_face(config);
  json["torch_dtype"] = dtype == DType::bf16  ? "bfloat16"
                        : dtype == DType::f16 ? "float16"
                                              : "float32";
  return json;
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
Json tokenizer_config(const ModelConfig& config, const Tokenizer& tokenizer,
                      const TokenizerFacts& facts) {
  Json json;
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  json["model_max_length"] = config.context;
  json["clean_up_tokenization_spaces"] = false;
  for (const SpecialToken& token : tokenizer.special_tokens()) {
    if (token.id == tokenizer.end_of_text()) json["bos_token"] = json["eos_token"] = token.text;
  }
  for (const SpecialToken& token : tokenizer.special_tokens()) {
    for (const auto& [key, text] :
         {std::pair("bos_token", &facts.bos), std::pair("eos_token", &facts.eos),
          std::pair("unk_token", &facts.unk), std::pair("pad_token", &facts.pad)}) {
      if (token.text == *text) json[key] = token.text;
    }
  }
  if (!facts.chat_template.is_null()) json["chat_template"] = facts.chat_template;
  return json;
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

std::string quoted_path(const fs::path& path) { return "'" + path.string() + "'"; }

// What is there instead of a model, and what may help.
[[noreturn]] void refuse_file(const std::string& model) {
  fail_input(model, "is a file; a model is a folder",
             fmt::format("if it holds weights, `llm import {} -o DIR` makes a model folder of it",
                         quoted_path(model)));
}

[[noreturn]] void refuse_folder(const fs::path& folder) {
  if (fs::exists(folder / "adapter_config.json")) {
    fail_input(folder.string(), "holds adapters, not a whole model",
               fmt::format("`llm export {} --merge -o DIR` makes a model of them and their base",
                           quoted_path(folder)));
  }
  const bool config = fs::exists(folder / kConfigFile);
  for (const char* name : {"pytorch_model.bin", "model.pth", "model.bin"}) {
    if (!fs::exists(folder / name)) continue;
    fail_input(folder.string(), fmt::format("has {}, not {}", name, kWeightsFile),
               fmt::format("`llm import {} -o DIR` makes a model folder of it",
                           quoted_path(config ? folder : folder / name)));
  }
  if (config && !fs::exists(folder / "run.json")) {
    fail_input(folder.string(),
               fmt::format("has {}, but no weights: neither {} nor {}", kConfigFile, kWeightsFile,
                           kIndexFile),
               "is it whole? the weights are in the same folder");
  }
  for (const char* name : {kWeightsFile, kIndexFile}) {
    if (!fs::exists(folder / name)) continue;
    fail_input(folder.string(), fmt::format("has {}, but no {}", name, kConfigFile),
               "copy it there from where the weights come from");
  }
  fail_input(folder.string(),
             fmt::format("no model: neither {} and {}, nor a whole checkpoint under checkpoints/",
                         kConfigFile, kWeightsFile),
             hint_to_download(folder.string()));
}

}  // namespace

bool has_weights(const fs::path& directory) {
  return fs::exists(directory / kConfigFile) &&
         (fs::exists(directory / kWeightsFile) || fs::exists(directory / kIndexFile));
}

void write_model_folder(const fs::path& directory, const ModelFolderContents& contents) {
  make_directories(directory);
  write_whole(directory / kWeightsFile, [&](const fs::path& unfinished) {
    write_weights(unfinished, contents.store, contents.read, contents.dtype);
  });
  write_file_atomically(directory / kGenerationConfigFile,
                        to_pretty_text(generation_config(contents.config)));
  write_tokenizer_files(directory, contents.config, contents.tokenizer, contents.facts);
  write_model_config(directory, contents.config, contents.dtype);
  sync_directory(directory);
}

void write_model_folder(const fs::path& directory, const Gpt& model, const Tokenizer* tokenizer) {
  write_model_folder(directory,
                     {model.config(), model.parameters(), reader_of(model), DType::f32, tokenizer});
}

ReadParameter reader_of(const Gpt& model) {
  return [reader = std::make_shared<StoreReader>(model)](
             std::span<float> into, const ParameterBlock& block) { reader->read(into, block); };
}

void write_model_config(const fs::path& directory, const ModelConfig& config, DType dtype) {
  write_file_atomically(directory / kConfigFile, to_pretty_text(config_json(config, dtype)));
}

void write_tokenizer_files(const fs::path& directory, const ModelConfig& config,
                           const Tokenizer* tokenizer, const TokenizerFacts& facts) {
  if (tokenizer == nullptr) return;
  tokenizer->save(directory);
  write_file_atomically(directory / kTokenizerConfigFile,
                        to_pretty_text(tokenizer_config(config, *tokenizer, facts)));
}

ModelConfig read_model_config(const fs::path& directory) {
  const fs::path path = directory / kConfigFile;
  return with_hint("GPT-2 models in Hugging Face's format are read: is this one, undamaged?", [&] {
    return from_hugging_face(read_json_file(path, kModelConfigLimits), path.string());
  });
}

void require_language_model(const ModelConfig& config, const std::string& where) {
  if (!config.is_classifier()) return;
  fail_input(where,
             fmt::format("a classifier of {} labels, not a language model", config.labels.size()),
             "`llm classify` asks it; for text, take the model that it was made from");
}

void require_classifier(const ModelConfig& config, const std::string& where) {
  if (config.is_classifier()) return;
  fail_input(where, "a language model, not a classifier: it has no labels",
             "`llm finetune MODEL --task classify` makes a classifier of it");
}

TensorSource open_folder_weights(const fs::path& directory) {
  const fs::path whole = directory / kWeightsFile, index = directory / kIndexFile;
  if (!fs::exists(whole) && fs::exists(index)) return open_sharded_safetensors(index);
  return open_safetensors(whole);
}

OutputLayer output_layer_of(const ModelConfig& base, const ModelConfig& whole) {
  const bool new_one = whole.is_classifier() && !base.is_classifier();
  return new_one ? OutputLayer::new_one : OutputLayer::in_file;
}

void read_model_weights(const fs::path& directory, Gpt& model, OutputLayer output) {
  ParameterStore& store = model.parameters();
  const TensorSource source = open_folder_weights(directory);
  copy_to_store(store, ModelTensors(source, store, Naming::hugging_face, output));
}

std::unique_ptr<Gpt> load_model(Backend& backend, const fs::path& directory,
                                const StoreOptions& options) {
  return load_model(backend, directory, read_model_config(directory), OutputLayer::in_file,
                    options);
}

std::unique_ptr<Gpt> load_model(Backend& backend, const fs::path& directory,
                                const ModelConfig& config, OutputLayer output,
                                const StoreOptions& options) {
  const TensorSource source = open_folder_weights(directory);
  {
    MemoryByPurpose usage;
    const std::unique_ptr<Backend> plan = make_plan_backend(backend, usage);
    const Gpt outline(*plan, config, {});
    ModelTensors(source, outline.parameters(), Naming::hugging_face, output);
  }
  auto model = std::make_unique<Gpt>(backend, config, options);
  if (options.training) model->parameters().initialize(0);  // moments and gradients become zero
  copy_to_store(model->parameters(),
                ModelTensors(source, model->parameters(), Naming::hugging_face, output));
  return model;
}

bool has_tokenizer(const fs::path& directory) {
  return fs::exists(directory / "tokenizer.json") || fs::exists(directory / "vocab.json");
}

std::unique_ptr<Tokenizer> read_model_tokenizer(const fs::path& directory) {
  return has_tokenizer(directory) ? load_tokenizer(directory) : nullptr;
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
  if (is_folder) refuse_folder(directory);
  if (fs::is_regular_file(directory)) refuse_file(model);
  fail_input(model, "neither a folder nor a downloaded model", hint_to_download(model));
}

}  // namespace llm
