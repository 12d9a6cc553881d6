#include "weights/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "backend/plan_backend.h"
#include "base/error.h"
#include "weights/book_file.h"
#include "weights/llmc_file.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

void check_tokenizer(const Tokenizer& tokenizer, const ModelConfig& config,
                     const std::string& where) {
  if (tokenizer.vocab_size() <= config.vocab_size) return;
  fail_input(where,
             fmt::format("the tokenizer has {} tokens, the model a vocabulary of {}",
                         with_commas(tokenizer.vocab_size()), with_commas(config.vocab_size)),
             "give the right one with --tokenizer");
}

// The book's class and llm.c are GPT-2, and have no place for other facts of a model.
void require_form(const ModelConfig& config, DType dtype, ModelFormat format) {
  if (format == ModelFormat::hugging_face) return;
  const char* option = format == ModelFormat::book ? "--format book" : "--format llm.c";
  const char* hint = "export it in another --format";
  if (config.hidden != 4 * config.channels) {
    fail_usage(option, "its MLP has 4 times as many channels, this model's has not", hint);
  }
  if (const float usual = ModelConfig().norm_epsilon; config.norm_epsilon != usual) {
    fail_usage(option,
               fmt::format("its layer norms add {} to the variance, this model's {}", usual,
                           config.norm_epsilon),
               hint);
  }
  if (format == ModelFormat::llm_c) require_llmc_form(config, dtype);
}

// Writes what belongs to the model and is no weights, and removes files of the tokenizer of another
// model that was in the folder: what is not written anew would be taken for a part of this one.
void finish_folder(const ConversionTarget& target) {
  if (target.taught) write_chat_file(target.directory, *target.taught);
  std::vector<const char*> others = {"added_tokens.json", "special_tokens_map.json",
                                     "chat_template.jinja"};
  const bool bpe = target.tokenizer != nullptr && target.tokenizer->kind() == "bpe";
  if (!bpe) others.insert(others.end(), {"vocab.json", "merges.txt"});
  if (target.tokenizer == nullptr) others.push_back("tokenizer.json");
  const bool described = target.tokenizer != nullptr && target.format == ModelFormat::hugging_face;
  if (!described) others.push_back(kTokenizerConfigFile);
  if (!target.taught) others.push_back(kChatFile);
  for (const char* name : others) remove_tree(target.directory / name);
}

fs::path write_format(const ModelConfig& config, const ParameterStore& store,
                      const ReadParameter& read, DType dtype, const ConversionTarget& target) {
  const Tokenizer* tokenizer = target.tokenizer;
  if (target.format == ModelFormat::hugging_face) {
    write_model_folder(target.directory, {config, store, read, dtype, tokenizer, target.facts});
    return target.directory / kWeightsFile;
  }
  require_language_model(config, "this format");
  const bool book = target.format == ModelFormat::book;
  const fs::path path = target.directory / (book ? "model.pth" : "model.bin");
  make_directories(target.directory);
  write_whole(path, [&](const fs::path& unfinished) {
    book ? write_book_file(unfinished, config, store, read, dtype)
         : write_llmc_file(unfinished, config, store, read, dtype);
  });
  sync_directory(target.directory);
  if (tokenizer != nullptr) tokenizer->save(target.directory);
  if (book) write_model_config(target.directory, config, dtype);  // what a state dict does not tell
  return path;
}

void count_not_finite(ConversionResult& result, std::span<const float> values,
                      const Parameter& parameter) {
  const auto bad =
      std::count_if(values.begin(), values.end(), [](float x) { return !std::isfinite(x); });
  if (bad > 0 && result.not_finite == 0) result.not_finite_in = parameter.name;
  result.not_finite += bad;
}

// Writes the whole folder and counts, on the way, values that are not finite.
void write_counted(ConversionResult& result, const ParameterStore& store, const ReadParameter& read,
                   const ConversionTarget& target) {
  constexpr int64_t kProgressStep = 1 << 24;  // parameters
  int64_t done = 0;
  const ReadParameter counted = [&](std::span<float> into, const ParameterBlock& block) {
    read(into, block);
    count_not_finite(result, into, store.parameters()[static_cast<size_t>(block.index)]);
    const int64_t before = done;
    done += static_cast<int64_t>(into.size());
    if (done / kProgressStep != before / kProgressStep) target.progress(done, result.parameters);
  };
  result.weights = write_format(result.config, store, counted, result.dtype, target);
  finish_folder(target);
}

}  // namespace

ModelFormat parse_model_format(const std::string& name) {
  if (name == "hugging-face") return ModelFormat::hugging_face;
  if (name == "book") return ModelFormat::book;
  if (name == "llm.c") return ModelFormat::llm_c;
  fail_usage("--format", fmt::format("\"{}\" is none of hugging-face, book, llm.c", name));
}

DType parse_file_dtype(const std::string& name) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    if (name == dtype_name(dtype)) return dtype;
  }
  fail_usage("--dtype", fmt::format("\"{}\" is none of keep, f32, bf16, f16", name));
}

ConversionResult convert_model(Backend& backend, const ModelSource& source,
                               const ModelConfig& config, const ConversionTarget& target) {
  LLM_ASSERT(source.naming);
  if (target.tokenizer != nullptr) {
    check_tokenizer(*target.tokenizer, config, source.tensors.where());
  }
  MemoryByPurpose usage;
  const std::unique_ptr<Backend> plan = make_plan_backend(backend, usage);
  const Gpt outline(*plan, config, {});
  const ModelTensors tensors(source.tensors, outline.parameters(), *source.naming);
  ConversionResult result{
      {}, target.dtype.value_or(tensors.dtype()), config, parameter_count(config)};
  require_form(config, result.dtype, target.format);
  int held = -1;
  const ReadParameter read = [&](std::span<float> into, const ParameterBlock& block) {
    if (held >= 0 && held != block.index) tensors.release(held);
    held = block.index;
    tensors.read(into, block);
    if (block.column == 0) tensors.release(block);
  };
  write_counted(result, outline.parameters(), read, target);
  return result;
}

ConversionResult convert_model(const Gpt& model, const ConversionTarget& target) {
  const ModelConfig& config = model.config();
  if (target.tokenizer != nullptr) check_tokenizer(*target.tokenizer, config, "the model");
  ConversionResult result{{}, target.dtype.value_or(DType::f32), config, parameter_count(config)};
  require_form(config, result.dtype, target.format);
  write_counted(result, model.parameters(), reader_of(model), target);
  return result;
}

ConversionResult convert_adapters(const Gpt& model, const AdapterBase& base, bool with_score,
                                  const ConversionTarget& target) {
  if (target.format != ModelFormat::hugging_face) {
    fail_usage("--format", "only hugging-face has adapters",
               "--merge puts them into the weights of their base");
  }
  if (target.dtype.value_or(DType::f32) != DType::f32) {
    fail_usage("--dtype", "adapters are written in f32", "leave it out, or --merge them");
  }
  const ModelConfig& config = model.config();
  if (config.lora.rank == 0) {
    fail_usage("--merge",
               "beside the whole output layer there are no adapters, and PEFT opens none",
               "add it, for a whole model");
  }
  if (target.tokenizer != nullptr) check_tokenizer(*target.tokenizer, config, "the model");
  ConversionResult result{target.directory / kAdapterWeightsFile, DType::f32, config};
  const ParameterStore& store = model.parameters();
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const Parameter& parameter = store.parameters()[i];
    if (!parameter.adapter && !(with_score && parameter.name == "score.weight")) continue;
    count_not_finite(result, store.read(static_cast<int>(i), store.values()), parameter);
    result.parameters += parameter.free_size();
  }
  write_adapter_folder(target.directory, model, base, with_score);
  write_tokenizer_files(target.directory, config, target.tokenizer, target.facts);
  finish_folder(target);
  return result;
}

}  // namespace llm
