// llm import and llm export
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/downloads.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/model_arguments.h"
#include "cli/output.h"
#include "train/checkpoint.h"
#include "weights/adapted_model.h"
#include "weights/adapter_folder.h"
#include "weights/convert.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"
#include "weights/weights_hash.h"

namespace llm {
namespace {

struct ConvertArguments {
  std::string from, base, to, dtype = "keep", format = "hugging-face", config, tokenizer,
                              tokenizer_dir;
  std::optional<int64_t> heads;
  bool untied = false, merge = false, force = false, json = false;
};

void require_empty(const ConvertArguments& arguments) {
  const fs::path to = arguments.to;
  if (fs::exists(to) && !fs::is_directory(to)) {
    fail_usage("--out", fmt::format("{} is a file, a folder is to be written", arguments.to));
  }
  if (fs::exists(to / "run.json")) {
    fail_usage(arguments.to, "is the folder of a run, whose weights are its own",
               "choose another with -o");
  }
  if (arguments.force || !fs::exists(to) || fs::is_empty(to)) return;
  fail_usage(arguments.to, "the folder is not empty",
             "choose another with -o, or replace files in it with --force");
}

// --force replaces files, and other weights beside the new ones would be read instead of them or be
// in their way.   source: the folder that is read
void require_no_other_weights(const ConvertArguments& arguments, bool adapters,
                              const fs::path& source) {
  const fs::path to = arguments.to;
  const bool hugging_face = parse_model_format(arguments.format) == ModelFormat::hugging_face;
  std::error_code error;
  if (!hugging_face && fs::equivalent(source, to, error)) return;  // the same model's
  std::vector<const char*> others;
  if (adapters || !hugging_face) others = {kWeightsFile, kIndexFile};
  if (!adapters) others.push_back(kAdapterConfigFile);
  for (const char* name : others) {
    if (!fs::exists(to / name, error)) continue;
    fail_usage(arguments.to, fmt::format("has {}, which would stay beside the new weights", name),
               "remove it, or choose another folder with -o");
  }
}

// By --tokenizer, or that of the folder where the model lies.
std::unique_ptr<Tokenizer> tokenizer_for(const ConvertArguments& arguments,
                                         const ModelLocation& location) {
  if (arguments.tokenizer == "none") return nullptr;
  if (!arguments.tokenizer.empty()) {
    return open_tokenizer(arguments.tokenizer, arguments.tokenizer_dir);
  }
  auto tokenizer = with_hint("give another with --tokenizer, or --tokenizer none",
                             [&] { return read_tokenizer_of(location); });
  const std::string folder = location.named().string();
  if (tokenizer == nullptr) {
    log_warning(fmt::format("there is no tokenizer in {}; --tokenizer adds one", folder));
  } else {
    log_info(fmt::format("with the tokenizer of {}", folder));
  }
  return tokenizer;
}

void report(const ConvertArguments& arguments, const ConversionResult& result, double seconds) {
  const int64_t parameters = result.parameters;
  if (result.not_finite > 0) {
    log_warning(
        fmt::format("{} of {} weights are NaN or infinite, the first in {}: the model "
                    "cannot compute with them",
                    with_commas(result.not_finite), with_commas(parameters), result.not_finite_in));
  }
  const auto bytes = static_cast<int64_t>(fs::file_size(result.weights));
  if (!arguments.json) {
    print(fmt::format("{} parameters in {}, {}, {:.1f} s -> {}\n", with_commas(parameters),
                      dtype_name(result.dtype), format_bytes(bytes), seconds,
                      result.weights.string()));
    return;
  }
  print_json(Json{{"parameters", parameters},
                  {"dtype", dtype_name(result.dtype)},
                  {"bytes", bytes},
                  {"seconds", seconds},
                  {"tied", result.config.tied},
                  {"not_finite", result.not_finite},
                  {"weights", result.weights.string()}});
}

// The target but for what depends on the model; `location`: where its tokenizer lies. Runs
// convert(target) and reports what it returns.
template <typename Convert>
void run_conversion(const ConvertArguments& arguments, const ModelLocation& location,
                    const Tokenizer* tokenizer, const Convert& convert) {
  ConversionTarget target;
  target.format = parse_model_format(arguments.format);
  target.directory = arguments.to;
  if (arguments.dtype != "keep") target.dtype = parse_file_dtype(arguments.dtype);
  target.tokenizer = tokenizer;
  if (fs::is_directory(location.named())) target.taught = chat_template_of(location);
  if (tokenizer != nullptr && arguments.tokenizer.empty()) {
    target.facts = read_tokenizer_facts(tokenizer_folder_of(location));
  }
  Progress progress(!arguments.json);
  target.progress = [&](int64_t done, int64_t all) {
    progress.show(fmt::format("{} | {} of {} parameters", target.directory.string(),
                              with_commas(done), with_commas(all)));
  };
  const auto start = std::chrono::steady_clock::now();
  const ConversionResult result = convert(target);
  const double seconds = seconds_since(start);
  progress.finish();
  report(arguments, result, seconds);
}

void convert(const ConvertArguments& arguments, const ModelSource& source, ModelConfig config) {
  require_no_other_weights(arguments, /*adapters=*/false, source.folder);
  const ModelLocation location{source.folder, {}};
  const auto tokenizer = tokenizer_for(arguments, location);
  const bool told = source.config && source.naming != Naming::llm_c;  // by a config.json
  const bool other = !arguments.tokenizer.empty();  // than the config was made for
  if (tokenizer != nullptr && (!told || other) && tokenizer->end_of_text()) {
    config.bos_token_id = config.eos_token_id = *tokenizer->end_of_text();
  }
  const auto backend = make_backend("cpu");
  run_conversion(arguments, location, tokenizer.get(), [&](const ConversionTarget& target) {
    return convert_model(*backend, source, config, target);
  });
}

// What the folder of adapters says that they are for: the name of a downloaded model as it is, and
// a folder by its whole path, which PEFT understands wherever it runs.
std::string base_for(const ConvertArguments& arguments, const ModelLocation& location) {
  const std::string base =
      arguments.base.empty() ? read_adapter_config(location.adapters).base : arguments.base;
  const auto downloaded = downloaded_model_folder(base);
  std::error_code error;
  if (downloaded && fs::equivalent(*downloaded, location.folder, error)) return base;
  return fs::canonical(location.folder).string();
}

// The adapters' own hash was compared when they were read; those of PEFT get one here.
AdapterBase adapter_base_for(const ConvertArguments& arguments, const ModelLocation& location) {
  const std::string hash = read_base_hash(location.adapters);
  return {base_for(arguments, location), hash.empty() ? hash_of_weights(location.folder) : hash};
}

// Reading them compares all shapes with those of the base.
void convert_from_adapters(const ConvertArguments& arguments, const ModelLocation& location) {
  require_no_other_weights(arguments, !arguments.merge, location.adapters);
  verify_model_files(location.folder);
  verify_model_files(location.adapters);
  const auto backend = make_backend("cpu");
  const auto tokenizer = tokenizer_for(arguments, location);
  const auto model =
      arguments.merge ? load_merged_model(*backend, location) : load_model(*backend, location);
  run_conversion(arguments, location, tokenizer.get(), [&](const ConversionTarget& target) {
    return arguments.merge ? convert_model(*model, target)
                           : convert_adapters(*model, adapter_base_for(arguments, location),
                                              has_output_layer(location.adapters), target);
  });
}

// Options of adapters, for something that is none.
void refuse_adapter_options(const ConvertArguments& arguments) {
  for (const auto& [given, option] :
       {std::pair{!arguments.base.empty(), "--base"}, std::pair{arguments.merge, "--merge"}}) {
    if (!given) continue;
    fail_usage(option, fmt::format("is of adapters, and {} has none", arguments.from),
               "leave it out");
  }
}

void import_model(const ConvertArguments& arguments) {
  require_empty(arguments);
  if (fs::is_directory(arguments.from) && is_adapter_folder(arguments.from)) {
    if (arguments.heads || !arguments.config.empty() || arguments.untied) {
      fail_usage(arguments.from,
                 "are adapters, whose base has a config.json: leave --heads, "
                 "--config and --untied out");
    }
    return convert_from_adapters(arguments, locate_model(arguments.from, arguments.base));
  }
  refuse_adapter_options(arguments);
  ModelSource source = open_model_source(arguments.from);
  if (!arguments.config.empty()) {
    source.config = from_hugging_face(read_json_file(arguments.config), arguments.config);
  }
  const ModelConfig config = config_of(source, {arguments.heads, arguments.untied});
  convert(arguments, source, config);
}

// transformers' class reads the last token that is not padding, whatever the config says.
void require_last_token(const ModelConfig& config, const std::string& where) {
  if (!config.is_classifier() || config.pooling == Pooling::last_token) return;
  fail_usage(where,
             fmt::format("this classifier pools by \"{}\", and GPT2ForSequenceClassification of "
                         "transformers always takes the last token: its answers would differ",
                         pooling_name(config.pooling)),
             "fine-tune with --pool last-token");
}

void export_model(const ConvertArguments& arguments) {
  const ModelFormat format = parse_model_format(arguments.format);
  require_empty(arguments);
  const ModelLocation location = locate_model(arguments.from, arguments.base);
  const ModelConfig config = read_config(location);
  if (format == ModelFormat::hugging_face) require_last_token(config, arguments.from);
  if (location.adapted()) return convert_from_adapters(arguments, location);
  refuse_adapter_options(arguments);
  verify_model_files(location.folder);
  const ModelSource source = open_model_source(location.folder);
  convert(arguments, source, *source.config);
}

void add_common_options(CLI::App& command, ConvertArguments& arguments) {
  command.add_option("-o,--out", arguments.to, "folder to write, a new or an empty one")
      ->required()
      ->type_name("DIR");
  command
      .add_option("--dtype", arguments.dtype,
                  "type of the weights in the file: f32, bf16, f16, or keep that of the source")
      ->type_name("TYPE");
  command
      .add_option("--tokenizer", arguments.tokenizer,
                  "folder, `gpt2`, `bytes` or `none` (default: the tokenizer beside the model)")
      ->type_name("T");
  command.add_option("--tokenizer-dir", arguments.tokenizer_dir, "folder with the files of `gpt2`")
      ->type_name("DIR");
  add_base_option(command, arguments.base);
  command.add_flag("--merge", arguments.merge,
                   "of adapters: put them into the weights of their base, as a whole model");
  command.add_flag("--force", arguments.force,
                   "replace files in a folder that is not empty; a tokenizer in it goes");
  command.add_flag("--json", arguments.json, "print the figures as one JSON line");
}

}  // namespace

void add_import_command(CLI::App& app) {
  auto* command = app.add_subcommand("import", "make a model folder of what others trained");
  auto arguments = std::make_shared<ConvertArguments>();
  command
      ->add_option("DIR|FILE", arguments->from,
                   "Hugging Face folder of a GPT-2, .safetensors, a state dict of PyTorch (.pth), "
                   "model file of llm.c (.bin), folder of LoRA adapters of PEFT")
      ->required();
  add_common_options(*command, *arguments);
  command
      ->add_option(
          "--heads", arguments->heads,
          "attention heads, where neither the file nor a config.json beside it tells (a state "
          "dict does not)")
      ->check(CLI::Range(1, 1 << 20))
      ->type_name("N");
  command->add_option("--config", arguments->config, "config.json that describes the model")
      ->type_name("FILE");
  command->add_flag("--untied", arguments->untied,
                    "keep an output layer that equals the token embedding as one of its own");
  command->footer(
      "Example: llm import gpt2-small-124M.pth --heads 12 --tokenizer gpt2 \\\n"
      "             --tokenizer-dir gpt2-files -o models/gpt2\n"
      "State dicts are those of Hugging Face's GPT2LMHeadModel and of GPTModel in the book \"Build "
      "a\n"
      "Large Language Model (From Scratch)\". They are read as data: no code in them is run.");
  command->callback([arguments] { import_model(*arguments); });
}

void add_export_command(CLI::App& app) {
  auto* command = app.add_subcommand("export", "write a model in a form that others read");
  auto arguments = std::make_shared<ConvertArguments>();
  command->add_option("MODEL", arguments->from, kModelHelp)->required();
  command
      ->add_option(
          "--format", arguments->format,
          "hugging-face: a folder that transformers opens; book: model.pth for GPTModel of "
          "\"Build a Large Language Model (From Scratch)\", with a config.json for `llm import`; "
          "llm.c: model.bin")
      ->type_name("hugging-face|book|llm.c");
  add_common_options(*command, *arguments);
  command->footer(
      "Example: llm export runs/mine --dtype bf16 -o exported\n"
      "         llm export runs/mine --format llm.c -o for-llm-c\n"
      "         llm export runs/lora --merge -o whole\n"
      "Adapters stay adapters, in a folder that PEFT opens, unless --merge is given.");
  command->callback([arguments] { export_model(*arguments); });
}

}  // namespace llm
