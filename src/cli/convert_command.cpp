// llm import and llm export
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/device.h"
#include "cli/output.h"
#include "train/checkpoint.h"
#include "weights/convert.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

struct Arguments {
  std::string from, to, dtype = "keep", format = "hugging-face", config, tokenizer, tokenizer_dir;
  std::optional<int64_t> heads;
  bool untied = false, force = false, json = false;
};

void require_empty(const Arguments& arguments) {
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

// By --tokenizer, or that of the folder where the model lies.
std::unique_ptr<Tokenizer> tokenizer_for(const Arguments& arguments, const fs::path& folder) {
  if (arguments.tokenizer == "none") return nullptr;
  if (!arguments.tokenizer.empty()) {
    return open_tokenizer(arguments.tokenizer, arguments.tokenizer_dir);
  }
  auto tokenizer = with_hint("give another with --tokenizer, or --tokenizer none",
                             [&] { return read_model_tokenizer(folder); });
  if (tokenizer == nullptr) {
    log_warning(fmt::format("there is no tokenizer in {}; --tokenizer adds one", folder.string()));
  } else {
    log_info(fmt::format("with the tokenizer of {}", folder.string()));
  }
  return tokenizer;
}

void report(const Arguments& arguments, const ConversionResult& result, double seconds) {
  const int64_t parameters = parameter_count(result.config);
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

void convert(const Arguments& arguments, const ModelSource& source, ModelConfig config) {
  ConversionTarget target;
  target.format = parse_model_format(arguments.format);
  target.directory = arguments.to;
  if (arguments.dtype != "keep") target.dtype = parse_file_dtype(arguments.dtype);
  const auto tokenizer = tokenizer_for(arguments, source.folder);
  target.tokenizer = tokenizer.get();
  const bool told = source.config && source.naming != Naming::llm_c;  // by a config.json
  const bool other = !arguments.tokenizer.empty();  // than the config was made for
  if (tokenizer != nullptr && (!told || other) && tokenizer->end_of_text()) {
    config.bos_token_id = config.eos_token_id = *tokenizer->end_of_text();
  }
  Progress progress(!arguments.json);
  target.progress = [&](int64_t done, int64_t all) {
    progress.show(fmt::format("{} | {} of {} parameters", target.directory.string(),
                              with_commas(done), with_commas(all)));
  };
  const auto backend = make_backend("cpu");
  const auto start = std::chrono::steady_clock::now();
  const ConversionResult result = convert_model(*backend, source, config, target);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  progress.finish();
  report(arguments, result, seconds.count());
}

void import_model(const Arguments& arguments) {
  require_empty(arguments);
  ModelSource source = open_model_source(arguments.from);
  if (!arguments.config.empty()) {
    source.config = from_hugging_face(read_json_file(arguments.config), arguments.config);
  }
  const ModelConfig config = config_of(source, {arguments.heads, arguments.untied});
  convert(arguments, source, config);
}

void export_model(const Arguments& arguments) {
  parse_model_format(arguments.format);
  require_empty(arguments);
  const fs::path folder = resolve_model_folder(arguments.from);
  verify_model_files(folder);
  const ModelSource source = open_model_source(folder);
  convert(arguments, source, *source.config);
}

void add_common_options(CLI::App& command, Arguments& arguments) {
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
  command.add_flag("--force", arguments.force,
                   "replace files in a folder that is not empty; a tokenizer in it goes");
  command.add_flag("--json", arguments.json, "print the figures as one JSON line");
}

}  // namespace

void add_import_command(CLI::App& app) {
  auto* command = app.add_subcommand("import", "make a model folder of what others trained");
  auto arguments = std::make_shared<Arguments>();
  command
      ->add_option("DIR|FILE", arguments->from,
                   "Hugging Face folder of a GPT-2, .safetensors, a state dict of PyTorch (.pth), "
                   "model file of llm.c (.bin)")
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
  auto arguments = std::make_shared<Arguments>();
  command
      ->add_option("MODEL", arguments->from,
                   "model folder, run folder, checkpoint folder or the name of a downloaded model")
      ->required();
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
      "         llm export runs/mine --format llm.c -o for-llm-c");
  command->callback([arguments] { export_model(*arguments); });
}

}  // namespace llm
