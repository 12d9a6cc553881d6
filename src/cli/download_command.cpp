// llm download
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/downloads.h"
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "train/signals.h"
#include "weights/download.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

struct DownloadArguments {
  DownloadOptions options;
  std::string output, endpoint;
  bool json = false;
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string without_spaces_around(const std::string& text) {
  constexpr const char* kSpaces = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

fs::path output_folder(const DownloadArguments& arguments) {
  if (!arguments.output.empty()) return arguments.output;
  if (arguments.options.hub.revision != "main") {
    fail_usage("--revision", "the download folder keeps main only", "give another folder with -o");
  }
  const auto folder = downloaded_model_folder(arguments.options.model);
  if (!folder) {
    fail_usage("-o", "is needed: neither LLM_HOME, XDG_DATA_HOME nor HOME is set",
               "give the folder for the model");
  }
  return *folder;
}

void check_numbers(const HubOptions& hub) {
  const auto check = [](const char* option, double seconds, double low, double high) {
    if (std::isfinite(seconds) && seconds >= low && seconds <= high) return;
    fail_usage(option, fmt::format("{} seconds", seconds), fmt::format("{} to {}", low, high));
  };
  check("--timeout", hub.timeout, 1, 86'400);
  check("--retry-delay", hub.retry_delay, 0, 3'600);
}

// Whether commands can read the model; if not, the download has warned.
bool is_readable(const fs::path& folder) {
  try {
    read_model_config(folder);
  } catch (const Error&) {
    return false;
  }
  return true;
}

void print_result(const DownloadArguments& arguments, const fs::path& folder,
                  const DownloadSummary& summary) {
  const std::string& model = arguments.options.model;
  const bool spaces = folder.string().find(' ') != std::string::npos;
  const std::string name = arguments.output.empty() ? short_model_name(model)
                           : spaces                 ? "'" + folder.string() + "'"
                                                    : folder.string();
  const std::string fetched =
      summary.fetched_files == 0
          ? "all there already"
          : fmt::format("{} fetched in {}", format_bytes(summary.fetched_bytes),
                        format_duration(summary.seconds));
  print(fmt::format("{}: {}, {} in {}; {}\n", model, counted(summary.files, "file"),
                    format_bytes(summary.bytes), folder.string(), fetched));
  if (summary.files_without_hash > 0) {
    print(fmt::format("only sizes were checked of {}: the server tells no hash of {}\n",
                      counted(summary.files_without_hash, "file"),
                      summary.files_without_hash == 1 ? "it" : "them"));
  }
  if (!arguments.json) {
    if (!is_readable(folder)) return;
    print(fmt::format("Try it: llm generate {} -p \"Once upon a time\"\n", name));
    return;
  }
  print_json(Json{{"folder", folder.string()},
                  {"repository", summary.repository},
                  {"commit", summary.commit},
                  {"files", summary.files},
                  {"bytes", summary.bytes},
                  {"files_without_hash", summary.files_without_hash},
                  {"fetched_files", summary.fetched_files},
                  {"fetched_bytes", summary.fetched_bytes},
                  {"seconds", summary.seconds}});
}

void download(DownloadArguments arguments) {
  DownloadOptions& options = arguments.options;
  if (!is_model_name(options.model)) {
    fail_usage(options.model, "is no name of a model",
               "gpt2, gpt2-medium, gpt2-large, gpt2-xl or OWNER/NAME");
  }
  check_numbers(options.hub);
  const std::string from_environment = without_spaces_around(variable("HF_ENDPOINT"));
  if (!arguments.endpoint.empty()) {
    options.hub.endpoint = arguments.endpoint;
  } else if (!from_environment.empty()) {
    options.hub.endpoint = from_environment;
  }
  options.hub.token = without_spaces_around(variable("HF_TOKEN"));
  options.folder = output_folder(arguments);
  const StopSignals signals("stopping; once more ends at once");
  options.hub.stop = [] { return StopSignals::requested(); };
  const DownloadSummary summary = download_model(options);
  print_result(arguments, options.folder, summary);
}

}  // namespace

void add_download_command(CLI::App& app) {
  auto* command = app.add_subcommand("download", "bring a model from the Hugging Face hub");
  auto arguments = std::make_shared<DownloadArguments>();
  DownloadOptions& options = arguments->options;
  command
      ->add_option("MODEL", options.model,
                   "gpt2, gpt2-medium, gpt2-large, gpt2-xl or OWNER/NAME, with weights in "
                   "safetensors")
      ->required();
  command
      ->add_option("-o,--out", arguments->output,
                   "folder for the model [the download folder, where commands find it by name]")
      ->type_name("DIR");
  command
      ->add_option("--endpoint", arguments->endpoint,
                   "server with the hub's layout [HF_ENDPOINT, else https://huggingface.co]")
      ->type_name("URL");
  command->add_option("--revision", options.hub.revision, "branch, tag or commit")
      ->type_name("NAME");
  command->add_flag("--force", options.force,
                    "take over a folder that no download of this model made: what is not the "
                    "model's is replaced");
  command
      ->add_option("--retries", options.hub.retries,
                   "after a lost connection or a busy server, in a row without progress")
      ->check(CLI::Range(0, 1000))
      ->type_name("N");
  command
      ->add_option("--retry-delay", options.hub.retry_delay,
                   "seconds before the first one, doubled each time up to 30; a server that names "
                   "a time gets it")
      ->type_name("S");
  command
      ->add_option("--timeout", options.hub.timeout,
                   "seconds without a byte until a connection counts as lost")
      ->type_name("S");
  command->add_flag("--json", arguments->json, "the last line of stdout is a JSON object");
  command->footer(
      "The download folder is LLM_HOME/models, else XDG_DATA_HOME/llm/models, else\n"
      "~/.local/share/llm/models. What is there is not fetched again; after an interruption (also\n"
      "Ctrl-C) the same command goes on. Sizes and hashes are checked before a file gets its "
      "name;\n"
      "where the server tells no hash, what came is known again by a hash of our own.\n"
      "HF_TOKEN of the environment is sent to the endpoint, for private models and those with a\n"
      "licence to accept. Proxies are those of HTTPS_PROXY.\n\n"
      "Example:\n"
      "  llm download gpt2\n"
      "  llm generate gpt2 -p \"Once upon a time\"");
  command->callback([arguments] { download(*arguments); });
}

}  // namespace llm
