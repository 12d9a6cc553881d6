#include "train/options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "train/option_visitors.h"

namespace llm {
namespace {

constexpr double kMostNumber = OptionReader::kMostNumber;

struct NamedAction {
  const char* name;
  SpikeAction action;
};
constexpr std::array kActions = {NamedAction{"skip", SpikeAction::skip},
                                 NamedAction{"stop", SpikeAction::stop},
                                 NamedAction{"ignore", SpikeAction::ignore}};

// The one list of options that run.json stores, under their names on the command line. `Options` is
// TrainOptions or const TrainOptions.
template <typename Options, typename Visitor>
void visit_options(Options& options, Visitor& visitor) {
  visitor.text("init", options.init);
  visitor.text("dtype", options.dtype);
  visitor.boolean_since("recompute", options.recompute);
  visitor.text_since("attention", options.attention);
  visitor.integer("length", options.length, 1);
  visitor.integer("batch", options.batch, 1);
  visitor.integer("total-batch-tokens", options.total_batch_tokens, 1);
  visitor.integer("steps", options.steps, 1);
  visitor.integer("decay-steps", options.decay_steps, 0);
  visitor.number("lr", options.lr);
  visitor.number("min-lr", options.min_lr);
  visitor.integer("warmup", options.warmup, 0);
  visitor.named("schedule", options.schedule, schedule_name, schedule_from_name);
  visitor.number("decay-share", options.decay_share);
  visitor.number("weight-decay", options.weight_decay);
  visitor.number("beta1", options.beta1);
  visitor.number("beta2", options.beta2);
  visitor.number("epsilon", options.epsilon);
  visitor.number("grad-clip", options.grad_clip);
  visitor.named("on-spike", options.on_spike, spike_action_name, spike_action_from_name);
  visitor.integer("seed", options.seed, 0);
  visitor.integer("eval-every", options.eval_every, 0);
  visitor.integer("eval-batches", options.eval_batches, 0);
  visitor.integer("sample-every", options.sample_every, 0);
  visitor.integer("sample-tokens", options.sample_tokens, 1);
  visitor.text("prompt", options.prompt);
  visitor.integer("save-every", options.save_every, 0);
  visitor.integer("keep", options.keep, 2);
  visitor.boolean("keep-best", options.keep_best);
}

Json to_json(const DataPart& part) {
  Json json;
  json["name"] = part.name;
  json["path"] = part.path;
  json["weight"] = part.weight;
  json["hash"] = part.hash;
  json["tokenizer_hash"] = part.tokenizer_hash;
  json["train_tokens"] = part.train_tokens;
  json["val_tokens"] = part.val_tokens;
  return json;
}

DataPart data_part_from_json(const Json& json, const std::string& where) {
  const JsonObject object(json, where);
  DataPart part;
  part.name = object.text("name");
  part.path = object.text("path");
  part.weight = object.number("weight", 0, kMostNumber);
  part.hash = object.text("hash");
  part.tokenizer_hash = object.text("tokenizer_hash");
  part.train_tokens = object.integer("train_tokens", 0, kMaxJsonInteger);
  part.val_tokens = object.integer("val_tokens", 0, kMaxJsonInteger);
  return part;
}

// What is compared on resuming: the options and, under the names of the command line, the model.
Json comparable(const TrainOptions& options) {
  OptionWriter writer;
  const ModelConfig& model = options.model;
  writer.json["layers"] = model.layers;
  writer.json["heads"] = model.heads;
  writer.json["channels"] = model.channels;
  writer.json["context"] = model.context;
  writer.json["vocab-size"] = model.vocab_size;
  writer.json["no-bias"] = !model.bias;
  writer.json["no-qkv-bias"] = !model.has_qkv_bias();
  writer.json["untied"] = !model.tied;
  writer.json["dropout"] = model.residual_dropout;
  writer.json["model"] = to_hugging_face(model);
  visit_options(options, writer);
  Json data = Json::array();
  for (const DataPart& part : options.data) {  // where it lies may change, what it is may not
    data.push_back(Json{{"name", part.name}, {"weight", part.weight}, {"hash", part.hash}});
  }
  writer.json["data"] = data;
  return writer.json;
}

void check(bool good, const char* option, const std::string& what, std::string hint = {}) {
  if (!good) fail_usage(fmt::format("--{}", option), what, std::move(hint));
}

void check_number(const char* option, double value, double low, double high) {
  check(std::isfinite(value) && value >= low && value <= high, option,
        fmt::format("{} is not in [{}, {}]", value, low, high));
}

void check_optimizer(const TrainOptions& options) {
  check(std::isfinite(options.lr) && options.lr > 0 && options.lr <= 1e6, "lr",
        fmt::format("{} is not a learning rate", options.lr), "for example 6e-4");
  check(std::isfinite(options.min_lr) && options.min_lr >= 0 && options.min_lr <= options.lr,
        "min-lr", fmt::format("{} is not in [0, {}], the peak", options.min_lr, options.lr));
  check_number("weight-decay", options.weight_decay, 0, 1e6);
  check(options.beta1 >= 0 && options.beta1 < 1, "beta1",
        fmt::format("{} is not in [0, 1)", options.beta1));
  check(options.beta2 >= 0 && options.beta2 < 1, "beta2",
        fmt::format("{} is not in [0, 1)", options.beta2));
  check_number("epsilon", options.epsilon, 1e-30, 1);
  check_number("grad-clip", options.grad_clip, 0, 1e6);
  check_number("decay-share", options.decay_share, 0, 1);
  const int64_t schedule = options.decay_steps > 0 ? options.decay_steps : options.steps;
  check(options.warmup >= 0 && options.warmup <= schedule, "warmup",
        fmt::format("{} steps do not fit into {}", options.warmup, schedule));
}

}  // namespace

std::string spike_action_name(SpikeAction action) {
  for (const NamedAction& named : kActions) {
    if (named.action == action) return named.name;
  }
  return "";
}

SpikeAction spike_action_from_name(const std::string& name, const std::string& where) {
  for (const NamedAction& named : kActions) {
    if (name == named.name) return named.action;
  }
  fail_usage(where, fmt::format("\"{}\" is none of skip, stop, ignore", name));
}

void require_dtype_name(const std::string& name) {
  check(name == "f32" || name == "tf32" || name == "bf16", "dtype",
        fmt::format("\"{}\" is none of f32, tf32, bf16", name));
}

void require_attention_name(const std::string& name) {
  check(name == "auto" || name == "own" || name == "cudnn", "attention",
        fmt::format("\"{}\" is none of auto, own, cudnn", name));
}

Schedule TrainOptions::schedule_of_run() const {
  Schedule result;
  result.kind = schedule;
  result.peak = lr;
  result.minimum = min_lr;
  result.warmup = warmup;
  result.steps = decay_steps > 0 ? decay_steps : steps;
  result.decay_share = decay_share;
  return result;
}

void validate(const TrainOptions& options, int64_t ranks) {
  validate(options.model, "model");
  check(options.length >= 1 && options.length <= options.model.context, "length",
        fmt::format("{} tokens, but the model's context is {}", options.length,
                    options.model.context));
  check(options.batch >= 1 && options.batch <= (1 << 20), "batch",
        fmt::format("{} sequences", options.batch), "1 to 1,048,576, or auto");
  const int64_t micro = options.batch * options.length * ranks;
  check(options.total_batch_tokens >= 1 && options.total_batch_tokens <= (int64_t{1} << 40),
        "total-batch-tokens", fmt::format("{} tokens", options.total_batch_tokens));
  check(options.total_batch_tokens % micro == 0, "total-batch-tokens",
        fmt::format("{} tokens per step cannot be divided into micro-batches of {} ({} sequences x "
                    "{} tokens x {} {})",
                    with_commas(options.total_batch_tokens), with_commas(micro), options.batch,
                    options.length, ranks, ranks == 1 ? "process" : "processes"),
        fmt::format("for example {}", (options.total_batch_tokens + micro - 1) / micro * micro));
  check(options.steps >= 1 && options.steps <= kMaxJsonInteger / options.total_batch_tokens,
        "steps", fmt::format("{} steps", options.steps), "at least 1");
  check(options.decay_steps >= 0 && options.decay_steps <= kMaxJsonInteger, "decay-steps",
        fmt::format("{} steps", options.decay_steps));
  check_optimizer(options);
  require_dtype_name(options.dtype);
  require_attention_name(options.attention);
  check(options.seed >= 0 && options.seed <= kMaxJsonInteger, "seed",
        fmt::format("{} is not in [0, 2^53]", options.seed));
  check(options.eval_every >= 0, "eval-every", fmt::format("{} steps", options.eval_every));
  check(options.eval_batches >= 0, "eval-batches", fmt::format("{} batches", options.eval_batches));
  check(options.sample_every >= 0, "sample-every", fmt::format("{} steps", options.sample_every));
  check(options.sample_tokens >= 1 && options.sample_tokens <= (1 << 20), "sample-tokens",
        fmt::format("{} tokens", options.sample_tokens));
  check(options.save_every >= 0, "save-every", fmt::format("{} steps", options.save_every));
  check(options.keep >= 2, "keep", fmt::format("{} checkpoints", options.keep),
        "at least two are always kept, so that a damaged one costs one interval only");
}

Json to_json(const RunDescription& run) {
  Json json;
  json["format"] = 1;
  json["version"] = run.version;
  json["command"] = run.command;
  json["device"] = run.device;
  json["threads"] = run.threads;
  json["ranks"] = run.ranks;
  json["tokenizer_hash"] = run.tokenizer_hash;
  json["model"] = to_hugging_face(run.options.model);
  json["data"] = Json::array();
  for (const DataPart& part : run.options.data) json["data"].push_back(to_json(part));
  OptionWriter writer;
  visit_options(run.options, writer);
  json["options"] = writer.json;
  if (run.finetune) json["finetune"] = to_json(*run.finetune);
  json["resumes"] = run.resumes;
  return json;
}

RunDescription run_description_from_json(const Json& json, const std::string& where) {
  const JsonObject object(json, where);
  RunDescription run;
  object.integer("format", 1, 1);
  run.version = object.text("version");
  for (const Json& word : object.array("command")) {
    if (!word.is_string()) object.fail("command", "is not a list of words");
    run.command.push_back(word.get<std::string>());
  }
  run.device = object.text("device");
  run.threads = object.integer("threads", 0, 1 << 20);
  run.ranks = object.integer("ranks", 1, 1 << 20);
  run.tokenizer_hash = object.text("tokenizer_hash");
  run.options.model = from_hugging_face(object.value("model"), where);
  for (const Json& part : object.array("data")) {
    run.options.data.push_back(data_part_from_json(part, where));
  }
  OptionReader reader(object.object("options"));
  visit_options(run.options, reader);
  try {
    validate(run.options, 1);
  } catch (const Error& error) {  // the numbers come from a file, not from the command line
    fail_input(where, fmt::format("{}: {}", error.where(), error.problem()), error.hint());
  }
  if (object.has("finetune")) {
    run.finetune = finetune_options_from_json(object.value("finetune"), where);
    run.options.model.lora = run.finetune->lora;
  }
  run.resumes = object.array("resumes");
  return run;
}

RunDescription parse_run_description(std::string_view text, const std::string& where) {
  return run_description_from_json(parse_json(text, where, {.max_bytes = 16 << 20}), where);
}

const std::vector<std::string>& changeable_options() {
  static const std::vector<std::string> names = {"steps",        "batch",         "eval-every",
                                                 "sample-every", "sample-tokens", "prompt",
                                                 "save-every",   "keep",          "recompute"};
  return names;
}

void require_resumable(const TrainOptions& before, const TrainOptions& now,
                       const std::string& where) {
  const Json old_values = comparable(before), new_values = comparable(now);
  for (const auto& [name, value] : new_values.items()) {
    const auto& names = changeable_options();
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    if (value == old_values[name]) continue;
    if (name == "data") {
      fail_usage("--data", fmt::format("other tokens or weights than {} began with", where),
                 "give the same datasets in the same order (folder and name may be new ones), or "
                 "start a new run");
    }
    fail_usage(where,
               fmt::format("--{} is {}, but the run began with {}", name, value.dump(),
                           old_values[name].dump()),
               "leave the option out or start a new run; --help names what may change");
  }
}

}  // namespace llm
