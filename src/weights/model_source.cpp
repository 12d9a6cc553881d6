#include "weights/model_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"
#include "weights/llmc_file.h"
#include "weights/model_folder.h"
#include "weights/torch_file.h"

namespace llm {
namespace {

constexpr const char* kTorchWeights = "pytorch_model.bin";
constexpr std::array kExported = {"model.pth", "model.bin"};  // what `llm export` writes alone
constexpr const char* kForms = "files of Hugging Face GPT-2, of the book's GPTModel and of llm.c";

std::optional<Naming> naming_of(const TensorSource& tensors) {
  if (tensors.find("tok_emb.weight") != nullptr) return Naming::book;
  const bool bare = tensors.find("wte.weight") != nullptr;
  if (bare || tensors.find("transformer.wte.weight") != nullptr) return Naming::hugging_face;
  return std::nullopt;
}

// A safetensors file: the length of a JSON object, and the object.
bool may_be_safetensors(const fs::path& path, Bytes bytes) {
  return path.extension() == ".safetensors" || (bytes.size() > 8 && bytes[8] == std::byte{'{'});
}

[[noreturn]] void refuse_unknown_file(const fs::path& path, Bytes bytes) {
  fail_input(path.string(), bytes.empty() ? "is empty" : "is no file of weights of a known form",
             "safetensors, a state dict of PyTorch (.pth) and a model file of llm.c (.bin) are "
             "read");
}

ModelSource open_file(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::vector<MappedFile> files;
  const Bytes bytes = files.emplace_back(path).bytes();
  if (is_llmc_file(bytes)) {
    LlmcModel model = parse_llmc_file(bytes, path.string());
    const bool f32 = model.tensors.front().dtype == DType::f32;
    return {f32 ? "llm.c, version 3" : "llm.c, version 5",
            TensorSource(path.string(), std::move(files), std::move(model.tensors)), Naming::llm_c,
            model.config, folder};
  }
  const bool torch = is_torch_file(bytes);
  if (bytes.empty() || (!torch && !may_be_safetensors(path, bytes))) {
    refuse_unknown_file(path, bytes);
  }
  ModelSource source{torch ? "PyTorch state dict" : "safetensors",
                     torch ? open_torch_file(path) : open_safetensors(path),
                     {},
                     {},
                     folder};
  source.naming = naming_of(source.tensors);
  if (source.naming && fs::exists(folder / "config.json")) {
    source.config = read_model_config(folder);
  }
  return source;
}

// The number of blocks, from names like "trf_blocks.11.norm1.scale".
int64_t count_layers(const TensorSource& tensors, Naming naming) {
  int64_t layers = 0;
  for (const SourceTensor& tensor : tensors.tensors()) {
    std::string_view name = tensor.name;
    if (name.starts_with("transformer."))
      name.remove_prefix(std::string_view("transformer.").size());
    const std::string_view block = naming == Naming::book ? "trf_blocks." : "h.";
    if (!name.starts_with(block)) continue;
    name.remove_prefix(block.size());
    int32_t layer = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
    if (error != std::errc() || layer < 0 || end == name.data() + name.size() || *end != '.') {
      fail_input(tensors.where(),
                 fmt::format("tensor {} is in no block", quoted_name(tensor.name)));
    }
    layers = std::max(layers, int64_t{layer} + 1);
  }
  return layers;
}

// Finds tensors by the names of parameters.
class Reader {
 public:
  Reader(const TensorSource& tensors, Naming naming) : tensors_(tensors), naming_(naming) {}

  const SourceTensor* find(const std::string& ours, const std::string& of_book) const {
    if (naming_ == Naming::book) return tensors_.find(of_book);
    const SourceTensor* prefixed = tensors_.find("transformer." + ours);
    return prefixed != nullptr ? prefixed : tensors_.find(ours);
  }
  // A matrix that must be there.
  const SourceTensor& matrix(const std::string& ours, const std::string& of_book) const {
    const SourceTensor* tensor = find(ours, of_book);
    const std::string& name = naming_ == Naming::book ? of_book : ours;
    if (tensor == nullptr) {
      fail_input(tensors_.where(), fmt::format("tensor {} is missing", quoted_name(name)));
    }
    if (tensor->shape.size() != 2) {
      fail_input(tensors_.where(), fmt::format("tensor {} has shape {}, not that of a matrix",
                                               quoted_name(name), shape_text(tensor->shape)));
    }
    return *tensor;
  }

 private:
  const TensorSource& tensors_;
  Naming naming_;
};

bool same_tables(const SourceTensor& head, const SourceTensor& table) {
  return is_floating(head.dtype) && head.shape == table.shape && same_values(head, table);
}

// Everything but the number of heads, which no shape tells.
ModelConfig config_from_tensors(const TensorSource& tensors, Naming naming, bool untied) {
  const Reader reader(tensors, naming);
  const bool book = naming == Naming::book;
  const SourceTensor& table = reader.matrix("wte.weight", "tok_emb.weight");
  const SourceTensor& up = reader.matrix("h.0.mlp.c_fc.weight", "trf_blocks.0.ff.layers.0.weight");
  ModelConfig config;
  config.layers = count_layers(tensors, naming);
  config.vocab_size = table.shape[0];
  config.channels = table.shape[1];
  config.context = reader.matrix("wpe.weight", "pos_emb.weight").shape[0];
  config.hidden = up.shape[book ? 0 : 1];
  config.qkv_bias = reader.find("h.0.attn.c_attn.bias", "trf_blocks.0.att.W_query.bias") != nullptr;
  const SourceTensor* head = tensors.find(book ? "out_head.weight" : "lm_head.weight");
  const bool same = head != nullptr && is_floating(table.dtype) && same_tables(*head, table);
  config.tied = !untied && (head == nullptr || same);
  config.heads = config.kv_heads = 1;
  try {
    validate(config, tensors.where());
  } catch (const Error& error) {  // the numbers come from a file, not from the command line
    fail_input(error.where(), error.problem(), error.hint());
  }
  return config;
}

// Options that say otherwise than the file does.
void check_facts(const ModelConfig& config, const ModelFacts& facts, const std::string& where) {
  if (facts.heads && *facts.heads != config.heads) {
    fail_usage("--heads", fmt::format("{}, but {} has {}", *facts.heads, where, config.heads),
               "leave it out");
  }
  if (facts.untied && config.tied) {
    fail_usage("--untied", fmt::format("{} is tied", where), "leave it out");
  }
}

std::string heads_hint(int64_t channels) {
  for (const std::string& name : model_preset_names()) {
    const ModelConfig preset = model_preset(name);
    if (preset.channels != channels) continue;
    return fmt::format("give --heads or --config; {}, as wide, has {} heads", name, preset.heads);
  }
  return "give --heads or --config";
}

bool names_a_file(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".safetensors" || extension == ".pth" || extension == ".pt" ||
         extension == ".bin";
}

}  // namespace

ModelSource open_model_source(const fs::path& path) {
  // What is not there may be the name of a downloaded model, unless it is a file's name.
  if (!fs::is_directory(path) && (fs::exists(path) || names_a_file(path))) return open_file(path);
  if (fs::exists(path / "config.json") && fs::exists(path / kTorchWeights) && !has_weights(path)) {
    return open_file(path / kTorchWeights);
  }
  for (const char* name : kExported) {
    if (fs::exists(path / name) && !has_weights(path)) return open_file(path / name);
  }
  const fs::path folder = resolve_model_folder(path.string());
  ModelSource source{"safetensors", open_folder_weights(folder), {}, {}, folder};
  source.config = read_model_config(folder);
  source.naming = Naming::hugging_face;
  return source;
}

ModelConfig config_of(const ModelSource& source, const ModelFacts& facts) {
  const std::string& where = source.tensors.where();
  if (!source.naming) {
    const auto tensors = source.tensors.tensors();
    fail_input(where,
               tensors.empty() ? "there are no tensors in it"
                               : fmt::format("its tensors have names of no known form: {}, ...",
                                             quoted_name(tensors.front().name)),
               fmt::format("{} are read", kForms));
  }
  if (source.config) {
    check_facts(*source.config, facts, where);
    return *source.config;
  }
  ModelConfig config = config_from_tensors(source.tensors, *source.naming, facts.untied);
  if (!facts.heads) {
    fail_usage("--heads",
               fmt::format("{} does not say how many attention heads the model has", where),
               heads_hint(config.channels));
  }
  config.heads = config.kv_heads = *facts.heads;
  validate(config, "--heads");
  return config;
}

}  // namespace llm
