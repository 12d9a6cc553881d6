#include "train/finetune_options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "train/option_visitors.h"

namespace llm {
namespace {

template <typename T>
struct Named {
  const char* name;
  T value;
};
constexpr std::array kTasks = {Named<FinetuneTask>{"classify", FinetuneTask::classify},
                               Named<FinetuneTask>{"instruct", FinetuneTask::instruct}};
constexpr std::array kParts = {Named<TrainedPart>{"head", TrainedPart::head},
                               Named<TrainedPart>{"last-block", TrainedPart::last_block},
                               Named<TrainedPart>{"all", TrainedPart::all},
                               Named<TrainedPart>{"lora", TrainedPart::lora}};

template <typename List, typename T>
std::string name_in(const List& list, T value) {
  for (const auto& named : list) {
    if (named.value == value) return named.name;
  }
  return "";
}

template <typename List>
auto named_in(const List& list, const std::string& name, const std::string& where) {
  std::vector<std::string_view> names;
  for (const auto& named : list) {
    if (name == named.name) return named.value;
    names.emplace_back(named.name);
  }
  fail_usage(where,
             fmt::format("\"{}\" is none of {}", name.substr(0, 100), fmt::join(names, ", ")));
}

struct LoraTarget {
  std::string_view name;
  bool LoraConfig::*wanted;
};
constexpr std::array kTargets = {LoraTarget{"qkv", &LoraConfig::qkv},
                                 LoraTarget{"q", &LoraConfig::q},
                                 LoraTarget{"k", &LoraConfig::k},
                                 LoraTarget{"v", &LoraConfig::v},
                                 LoraTarget{"projection", &LoraConfig::projection},
                                 LoraTarget{"up", &LoraConfig::up},
                                 LoraTarget{"down", &LoraConfig::down},
                                 LoraTarget{"score", &LoraConfig::score}};

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t comma = text.find(',');
    words.push_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return words;
    text.remove_prefix(comma + 1);
  }
}

std::string chat_name(ChatTemplate format) { return std::string(chat_template_name(format)); }
ChatTemplate chat_named(const std::string& name, const std::string&) {
  return chat_template_named(name);
}

std::string weights_text(const std::vector<float>& weights) {
  return fmt::format("{}", fmt::join(weights, ","));
}

// The one list of options of fine-tuning that run.json stores, under their names on the command
// line.
template <typename Options, typename Visitor>
void visit_finetune_options(Options& options, Visitor& visitor) {
  visitor.named("task", options.task, finetune_task_name, finetune_task_named);
  visitor.text("model", options.base);
  visitor.text("model-hash", options.base_hash);
  visitor.named("trainable", options.trained, trained_part_name, trained_part_named);
  visitor.integer("max-length", options.max_length, 0);
  visitor.boolean("skip-bad-rows", options.skip_bad_rows);
  visitor.named("template", options.format, chat_name, chat_named);
  visitor.boolean("mask-prompt", options.mask_prompt);
  visitor.boolean("pack", options.pack);
  visitor.integer("answers", options.answers, 0);
  visitor.integer("answer-tokens", options.answer_tokens, 1);
  visitor.integer("lora-rank", options.lora.rank, 0);
}

std::optional<float> parse_weight(std::string_view text) {
  float value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  const bool good = error == std::errc() && stopped == end && std::isfinite(value) && value >= 0;
  return good ? std::optional(value) : std::nullopt;
}

void check_finetune(bool good, const char* option, const std::string& what, std::string hint = {}) {
  if (!good) fail_usage(option, what, std::move(hint));
}

}  // namespace

std::string finetune_task_name(FinetuneTask task) { return name_in(kTasks, task); }
FinetuneTask finetune_task_named(const std::string& name, const std::string& where) {
  return named_in(kTasks, name, where);
}
std::string trained_part_name(TrainedPart part) { return name_in(kParts, part); }
TrainedPart trained_part_named(const std::string& name, const std::string& where) {
  return named_in(kParts, name, where);
}

Json to_json(const FinetuneOptions& options) {
  OptionWriter writer;
  visit_finetune_options(options, writer);
  writer.json["lora-alpha"] = decimal(options.lora.alpha);
  writer.json["lora-dropout"] = decimal(options.lora.dropout);
  writer.json["lora-targets"] = lora_targets_text(options.lora);
  writer.json["class-weights"] = weights_text(options.class_weights);
  return writer.json;
}

FinetuneOptions finetune_options_from_json(const Json& json, const std::string& where) {
  const JsonObject object(json, where);
  FinetuneOptions options;
  OptionReader reader(object);
  visit_finetune_options(options, reader);
  options.lora.alpha = static_cast<float>(object.number("lora-alpha", 0, 1e6));
  options.lora.dropout = static_cast<float>(object.number("lora-dropout", 0, 0.999));
  try {
    if (options.lora.rank > 0) {
      set_lora_targets(options.lora, object.text("lora-targets"), /*classifier=*/true);
    }
  } catch (const Error& error) {  // it comes from a file, not from the command line
    fail_input(where, fmt::format("{}: {}", error.where(), error.problem()));
  }
  const std::string weights = object.text("class-weights");
  if (weights.empty()) return options;
  for (const std::string_view word : words_of(weights)) {
    const std::optional<float> weight = parse_weight(word);
    if (!weight) object.fail("class-weights", "is not a list of numbers");
    options.class_weights.push_back(*weight);
  }
  return options;
}

void set_lora_targets(LoraConfig& lora, const std::string& text, bool classifier) {
  for (const LoraTarget& target : kTargets) lora.*target.wanted = false;
  for (const std::string_view word : words_of(text)) {
    if (word == "all") {
      lora.q = lora.k = lora.v = lora.projection = lora.up = lora.down = true;
      lora.score = lora.score || classifier;
      continue;
    }
    const auto* const found =
        std::find_if(kTargets.begin(), kTargets.end(),
                     [&](const LoraTarget& target) { return target.name == word; });
    if (found == kTargets.end()) {
      fail_usage("--lora-targets", fmt::format("\"{}\" is no layer", word.substr(0, 60)),
                 "some of qkv (or q, k, v), projection, up, down, score, or all");
    }
    lora.*found->wanted = true;
  }
  check_finetune(!(lora.qkv && (lora.q || lora.k || lora.v)), "--lora-targets",
                 "one adapter for qkv or some for q, k and v, not both");
  check_finetune(classifier || !lora.score, "--lora-targets",
                 "only a classifier has the layer score");
}

std::string lora_targets_text(const LoraConfig& lora) {
  std::vector<std::string_view> names;
  for (const LoraTarget& target : kTargets) {
    if (lora.*target.wanted) names.push_back(target.name);
  }
  return fmt::format("{}", fmt::join(names, ","));
}

bool is_trained(const Parameter& parameter, TrainedPart part, const ModelConfig& config) {
  const bool head = parameter.name.starts_with("score.") || parameter.name.starts_with("lm_head.");
  switch (part) {
    case TrainedPart::head:
      return head;
    case TrainedPart::last_block:
      return parameter.layer >= config.layers;
    case TrainedPart::all:
      return true;
    case TrainedPart::lora:
      return parameter.adapter || (config.is_classifier() && !config.lora.score && head);
  }
  return true;
}

std::vector<float> parse_class_weights(const std::string& text,
                                       const std::vector<std::string>& labels) {
  const std::string hint = fmt::format("for example {}=1,{}=4", labels[0], labels[1]);
  std::vector<float> weights(labels.size(), 1);
  const std::vector<std::string_view> words = words_of(text);
  const bool by_name = text.find('=') != std::string::npos;
  check_finetune(by_name || words.size() == labels.size(), "--class-weights",
                 fmt::format("{} weights for {} labels", words.size(), labels.size()), hint);
  for (size_t i = 0; i < words.size(); ++i) {
    const size_t equals = words[i].rfind('=');
    check_finetune(!by_name || equals != std::string_view::npos, "--class-weights",
                   fmt::format("\"{}\" is not LABEL=WEIGHT", words[i]), hint);
    size_t label = i;
    if (by_name) {
      const auto found = std::find(labels.begin(), labels.end(), words[i].substr(0, equals));
      check_finetune(found != labels.end(), "--class-weights",
                     fmt::format("\"{}\" is no label of the data", words[i].substr(0, equals)),
                     hint);
      label = static_cast<size_t>(found - labels.begin());
    }
    const auto weight = parse_weight(by_name ? words[i].substr(equals + 1) : words[i]);
    check_finetune(weight.has_value(), "--class-weights",
                   fmt::format("\"{}\" is no weight", words[i]), hint);
    weights[label] = *weight;
  }
  const bool any = std::any_of(weights.begin(), weights.end(), [](float each) { return each > 0; });
  check_finetune(any, "--class-weights", "all are 0", hint);
  return weights;
}

void validate(const FinetuneOptions& options, const ModelConfig& config) {
  const bool classifies = options.task == FinetuneTask::classify;
  check_finetune(
      options.max_length >= 0 && options.max_length <= config.context, "--max-length",
      fmt::format("{} tokens, the model's context is {}", options.max_length, config.context));
  check_finetune(options.answers >= 0 && options.answers <= 1000, "--answers",
                 fmt::format("{} instructions", options.answers));
  check_finetune(options.answer_tokens >= 1 && options.answer_tokens <= (1 << 20),
                 "--answer-tokens", fmt::format("{} tokens", options.answer_tokens));
  if (options.trained == TrainedPart::head) {
    check_finetune(
        classifies || !config.tied, "--trainable",
        "the output layer of this model is its token embedding: there is no head to train alone",
        "last-block, lora or all");
  }
  if (options.trained != TrainedPart::lora) return;
  check_finetune(options.lora.rank >= 1 && options.lora.rank <= config.channels, "--lora-rank",
                 fmt::format("{} is not in [1, {}], the width of the model", options.lora.rank,
                             config.channels));
  check_finetune(options.lora.alpha > 0 && options.lora.alpha < 1e6f, "--lora-alpha",
                 fmt::format("{} is not a positive number", options.lora.alpha));
  check_finetune(options.lora.dropout >= 0 && options.lora.dropout < 1, "--lora-dropout",
                 fmt::format("{} is not in [0, 1)", options.lora.dropout));
  // It goes into files whole, and PEFT opens no adapters without a target.
  check_finetune(lora_targets_text(options.lora) != "score", "--lora-targets",
                 "score alone would be no adapters in a file",
                 "name layers of the blocks too, or train the output layer: --trainable head");
}

void require_resumable(const FinetuneOptions& before, const FinetuneOptions& now,
                       const std::string& where) {
  const Json old_values = to_json(before), new_values = to_json(now);
  for (const auto& [name, value] : new_values.items()) {
    if (name == "answers" || name == "answer-tokens") continue;
    if (value == old_values[name]) continue;
    fail_usage(where,
               fmt::format("--{} is {}, but the run began with {}", name, value.dump(),
                           old_values[name].dump()),
               "leave the option out or start a new run");
  }
}

}  // namespace llm
