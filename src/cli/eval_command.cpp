// llm eval
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/eval_data.h"
#include "cli/model_arguments.h"
#include "cli/output.h"
#include "train/multiple_choice.h"
#include "train/perplexity.h"

namespace llm {
namespace {

// Of tokens that are computed together unless --batch says otherwise.
constexpr int64_t kHostTokens = 8192, kDeviceTokens = 65536, kMostBatch = 4096;

struct EvalArguments {
  ModelArguments model;
  std::string data, text_key = "text", tasks, shots_file;
  std::optional<std::string> split;
  std::optional<int64_t> context, stride, batch;
  int64_t shots = 0, seed = 42;
  bool json = false;
};

void check_eval_arguments(const EvalArguments& arguments) {
  if (arguments.data.empty() && arguments.tasks.empty()) {
    fail_usage("", "there is nothing to evaluate on: give --data or --tasks");
  }
  const bool no_folder = arguments.data.empty() || fs::is_regular_file(arguments.data);
  if (arguments.split && no_folder) {
    fail_usage("--split", "is of a dataset folder, and --data names none");
  }
  if (arguments.stride && arguments.data.empty()) {
    fail_usage("--stride", "is between windows of --data, which is not given");
  }
  if (arguments.tasks.empty() && (arguments.shots > 0 || !arguments.shots_file.empty())) {
    fail_usage("--shots", "are examples for --tasks");
  }
  if (!arguments.shots_file.empty() && arguments.shots == 0) {
    fail_usage("--shots-file", "needs --shots, the number of examples");
  }
}

WindowOptions window_options(const EvalArguments& arguments, const ModelConfig& config) {
  WindowOptions windows;
  windows.context = arguments.context.value_or(config.context);
  if (windows.context > config.context) {
    fail_usage("--context", fmt::format("{} tokens, the model's is {}",
                                        with_commas(windows.context), with_commas(config.context)));
  }
  windows.stride = arguments.stride.value_or(windows.context);
  if (windows.stride > windows.context) {
    fail_usage("--stride", fmt::format("{} tokens, more than the context of {}: some would be "
                                       "skipped",
                                       with_commas(windows.stride), with_commas(windows.context)));
  }
  return windows;
}

// A live line with what is left to do.
class Meter {
 public:
  Meter(int64_t total, std::string unit) : total_(total), unit_(std::move(unit)) {}
  void show(int64_t done, const std::string& figures) {
    const double seconds = seconds_since(start_);
    const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
    progress_.show(fmt::format("{}/{} {}{} | {}/s | {} left", with_commas(done),
                               with_commas(total_), unit_, figures,
                               with_commas(static_cast<int64_t>(rate)),
                               format_duration(static_cast<double>(total_ - done) / rate)));
  }
  double seconds() const { return seconds_since(start_); }

 private:
  int64_t total_;
  std::string unit_;
  Progress progress_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

void evaluate_text(const EvalArguments& arguments, const OpenedModel& opened, TokenScorer& scorer,
                   const WindowOptions& windows, const EvalData& data, Json& json) {
  Meter meter(data.text.size - 1, "tokens");
  const TextScore score =
      score_text(scorer, *opened.tokenizer, data.text, windows, [&](const TextScore& so_far) {
        meter.show(so_far.tokens, fmt::format(" | loss {:.4f}", so_far.loss()));
      });
  const double seconds = meter.seconds();
  json["loss"] = score.loss();
  json["perplexity"] = score.perplexity();
  json["bits_per_byte"] = score.bits_per_byte();
  json["tokens"] = score.tokens;
  json["bytes"] = score.bytes;
  json["context"] = windows.context;
  json["stride"] = windows.stride;
  json["seconds"] = seconds;
  json["tokens_per_second"] = static_cast<double>(score.tokens) / seconds;
  if (arguments.json) return;
  print(fmt::format("{}: {} | loss {:.4f} | perplexity {:.4f} | bits per byte {:.4f}\n", data.name,
                    counted(score.tokens, "token"), score.loss(), score.perplexity(),
                    score.bits_per_byte()));
}

void evaluate_tasks(const EvalArguments& arguments, const OpenedModel& opened, TokenScorer& scorer,
                    const std::vector<ChoiceItem>& items, const std::vector<ChoiceItem>& pool,
                    Json& json) {
  const ShotPrompts prompts(pool, {arguments.shots, static_cast<uint64_t>(arguments.seed)});
  int64_t endings = 0;
  for (const ChoiceItem& item : items) endings += static_cast<int64_t>(item.endings.size());
  Meter meter(endings, "endings");
  const ChoiceScore score = score_choices(scorer, *opened.tokenizer, items, prompts,
                                          [&](int64_t done) { meter.show(done, ""); });
  if (score.truncated > 0) {
    log_warning(fmt::format("{} of {} did not fit into the context of {} and lost their beginning",
                            with_commas(score.truncated), counted(score.endings, "ending"),
                            with_commas(scorer.length())));
  }
  json["accuracy"] = score.accuracy();
  json["accuracy_normalized"] = score.accuracy_normalized();
  json["items"] = score.items;
  json["shots"] = arguments.shots;
  json["truncated"] = score.truncated;
  if (arguments.json) return;
  print(fmt::format("{}: {}, {} | accuracy {:.4f} | length-normalized {:.4f}\n", arguments.tasks,
                    counted(score.items, "item"), counted(arguments.shots, "example"),
                    score.accuracy(), score.accuracy_normalized()));
}

void evaluate(const EvalArguments& arguments) {
  check_eval_arguments(arguments);
  const bool with_data = !arguments.data.empty(), with_tasks = !arguments.tasks.empty();
  std::vector<ChoiceItem> items, pool;
  if (with_tasks) items = read_choice_items(arguments.tasks);
  if (!arguments.shots_file.empty()) pool = read_choice_items(arguments.shots_file);

  const OpenedModel opened = open_model(arguments.model);
  const WindowOptions windows = window_options(arguments, opened.config);
  EvalData data;
  if (with_data) {
    data = open_eval_data(arguments.data, arguments.split.value_or("val"), arguments.text_key,
                          *opened.tokenizer, opened.config, arguments.model.model);
  }
  const std::unique_ptr<Gpt> model = load_weights(opened);
  const int64_t at_once = opened.backend->is_host() ? kHostTokens : kDeviceTokens;
  const int64_t batch =
      arguments.batch.value_or(std::clamp<int64_t>(at_once / windows.context, 1, kMostBatch));
  TokenScorer scorer(*model, batch, windows.context);
  Json json;
  if (with_data) evaluate_text(arguments, opened, scorer, windows, data, json);
  if (with_tasks) {
    evaluate_tasks(arguments, opened, scorer, items, arguments.shots_file.empty() ? items : pool,
                   json);
  }
  if (arguments.json) print_json(json);
}

void add_text_options(CLI::App& command, EvalArguments& arguments) {
  const char* group = "Prediction of text";
  command
      .add_option("--data", arguments.data,
                  "dataset folder, .bin shard, or a text or .jsonl file, which the model's "
                  "tokenizer encodes")
      ->type_name("DIR|FILE")
      ->group(group);
  command.add_option("--split", arguments.split, "of a dataset folder")
      ->default_str("val")
      ->type_name("val|train")
      ->group(group);
  command.add_option("--text-key", arguments.text_key, "of the objects in a .jsonl file")
      ->type_name("KEY")
      ->group(group);
  command
      .add_option("--stride", arguments.stride,
                  "tokens from one window to the next (default: the context). Each token is "
                  "predicted once, in the first window that holds it")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->type_name("N")
      ->group(group);
}

void add_task_options(CLI::App& command, EvalArguments& arguments) {
  const char* group = "Multiple choice";
  command
      .add_option(
          "--tasks", arguments.tasks,
          "a line of JSON for each question: ctx, endings, label (the right one, from 0); a "
          "space goes between ctx and an ending that brings none")
      ->type_name("FILE.jsonl")
      ->group(group);
  command.add_option("--shots", arguments.shots, "solved examples before each question")
      ->check(CLI::Range(int64_t{0}, int64_t{1000}))
      ->type_name("K")
      ->group(group);
  command
      .add_option("--shots-file", arguments.shots_file,
                  "take them from here; unless given, from --tasks, never the question itself")
      ->type_name("FILE.jsonl")
      ->group(group);
  command.add_option("--seed", arguments.seed, "which items are the examples")
      ->check(seed_range())
      ->type_name("N")
      ->group(group);
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto* command = app.add_subcommand("eval", "measure how well a model predicts");
  auto arguments = std::make_shared<EvalArguments>();
  add_text_options(*command, *arguments);
  add_task_options(*command, *arguments);
  command
      ->add_option("--context", arguments->context,
                   "tokens that the model sees at most (default: its context)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->type_name("N");
  command
      ->add_option("--batch", arguments->batch,
                   "texts computed together (default: by the context, more on a GPU)")
      ->check(CLI::Range(int64_t{1}, kMostBatch))
      ->type_name("N");
  add_model_options(*command, arguments->model);
  command->add_flag("--json", arguments->json, "one JSON object instead of text");
  command->footer(
      "Example: llm eval runs/mine --data data/mine\n"
      "         llm eval models/gpt2 --data wikitext.txt --context 1024 --stride 512\n"
      "         llm eval models/gpt2 --tasks hellaswag.jsonl --shots 5 --json\n"
      "Perplexity is exp(loss), the loss per token. Bits per byte count the bytes of the text "
      "that\n"
      "is predicted, without special tokens, so that models with other tokenizers compare.\n"
      "The answer to a question is the ending whose tokens have the highest sum of\n"
      "log-probabilities (accuracy), or the highest sum divided by the bytes of the ending\n"
      "(length-normalized).");
  command->callback([arguments] { evaluate(*arguments); });
}

}  // namespace llm
