#include "cli/model_arguments.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "train/checkpoint.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

void check_dtype(const std::string& dtype) {
  if (dtype == "auto" || dtype == "f32" || dtype == "tf32" || dtype == "bf16") return;
  fail_usage("--dtype", fmt::format("\"{}\" is none of auto, f32, tf32, bf16", dtype));
}

// Ids mean the tokens that the model was trained with.
void warn_about_another_tokenizer(const Tokenizer& given, const ModelLocation& location) {
  std::unique_ptr<Tokenizer> own;
  try {
    own = read_tokenizer_of(location);
  } catch (const Error&) {  // a broken one is a reason to give another
  }
  if (own == nullptr || own->hash() == given.hash()) return;
  log_warning(
      fmt::format("--tokenizer differs from the tokenizer in {}; unless the model was trained with "
                  "it, the text will be wrong",
                  location.named().string()));
}

std::unique_ptr<Tokenizer> find_tokenizer(const ModelArguments& arguments,
                                          const ModelLocation& location) {
  if (!arguments.tokenizer.empty()) {
    auto given = open_tokenizer(arguments.tokenizer, arguments.tokenizer_dir);
    warn_about_another_tokenizer(*given, location);
    return given;
  }
  auto tokenizer = read_tokenizer_of(location);
  if (tokenizer == nullptr) {
    fail_input(location.named().string(), "has no tokenizer",
               "give the folder of one, or bytes or gpt2, with --tokenizer");
  }
  return tokenizer;
}

}  // namespace

ModelConfig shape_named(const std::string& model) {
  if (fs::is_directory(model)) return read_model_config(resolve_model_folder(model));
  if (fs::exists(model)) return from_hugging_face(read_json_file(model), model);
  if (model.find_first_of("/.") != std::string::npos && !model.starts_with("gpt3-")) {
    fail_input(model, "no such file or folder",
               "--model takes a preset, a config.json or a model folder");
  }
  return model_preset(model);
}

void add_model_options(CLI::App& command, ModelArguments& arguments) {
  command.add_option("MODEL", arguments.model, kModelHelp)->required();
  add_base_option(command, arguments.base);
  command
      .add_option("--tokenizer", arguments.tokenizer,
                  "folder, `gpt2` or `bytes`, for a model folder that has none")
      ->type_name("T");
  command.add_option("--tokenizer-dir", arguments.tokenizer_dir, "folder with the files of `gpt2`")
      ->type_name("DIR");
  add_device_option(command, arguments.device);
  arguments.dtype = "auto";
  command
      .add_option(
          "--dtype", arguments.dtype,
          "what weights, key-value cache and activations are: f32, bf16 (half the memory, on "
          "a CPU nearly twice as fast), tf32 (f32 with faster products, GPUs); auto is f32 "
          "on the CPU and bf16 on a GPU")
      ->type_name("TYPE")
      ->default_str("auto");
}

void add_base_option(CLI::App& command, std::string& base) {
  command
      .add_option("--base", base,
                  "model that the adapters in MODEL are for, if it is not where their "
                  "adapter_config.json says")
      ->type_name("MODEL");
}

OpenedModel open_model(const ModelArguments& arguments, ModelKind kind) {
  check_dtype(arguments.dtype);
  OpenedModel opened;
  opened.location = locate_model(arguments.model, arguments.base);
  verify_model_files(opened.location.folder);
  if (opened.location.adapted()) verify_model_files(opened.location.adapters);
  opened.backend = make_backend(arguments.device, {.tf32 = arguments.dtype == "tf32"});
  const bool on_host = opened.backend->is_host();
  if (on_host && arguments.dtype == "tf32") {
    fail_usage("--dtype", "tf32 needs a GPU", "the CPU computes in f32 or bf16");
  }
  const bool bf16 = arguments.dtype == "bf16" || (arguments.dtype == "auto" && !on_host);
  opened.dtype = bf16 ? DType::bf16 : DType::f32;
  opened.config = read_config(opened.location);
  const std::string where = opened.location.named().string();
  kind == ModelKind::language ? require_language_model(opened.config, where)
                              : require_classifier(opened.config, where);
  opened.tokenizer = find_tokenizer(arguments, opened.location);
  return opened;
}

std::optional<ChatTemplate> chat_template_of(const ModelLocation& location) {
  const auto own = read_chat_template(location.named());
  return own || !location.adapted() ? own : read_chat_template(location.folder);
}

fs::path tokenizer_folder_of(const ModelLocation& location) {
  const bool own = !location.adapted() || has_tokenizer(location.named());
  return own ? location.named() : location.folder;
}

std::unique_ptr<Tokenizer> read_tokenizer_of(const ModelLocation& location) {
  return read_model_tokenizer(tokenizer_folder_of(location));
}

std::unique_ptr<Gpt> load_weights(const OpenedModel& opened) {
  return load_model(*opened.backend, opened.location, {.dtype = opened.dtype});
}

void require_stop_texts(const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    if (stop.empty()) fail_usage("--stop", "the text is empty; is a shell variable not set?");
  }
}

void add_sampler_options(CLI::App& command, SamplerOptions& sampler, int64_t& seed) {
  const char* group = "Sampling";
  command.add_option("--temperature", sampler.temperature, "0: always the most likely token")
      ->group(group);
  command.add_option("--top-k", sampler.top_k, "draw from the K most likely tokens; 0: all")
      ->type_name("K")
      ->group(group);
  command.add_option("--top-p", sampler.top_p, "and of those the fewest that add up to P")
      ->type_name("P")
      ->group(group);
  command.add_option("--min-p", sampler.min_p, "and those at least P times as likely as the first")
      ->type_name("P")
      ->group(group);
  command
      .add_option("--repetition-penalty", sampler.repetition_penalty,
                  "above 1 makes tokens that occurred less likely")
      ->group(group);
  command.add_option("--seed", seed, "the same seed gives the same text")
      ->check(seed_range())
      ->type_name("N")
      ->group(group);
}

}  // namespace llm
