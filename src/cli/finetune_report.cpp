#include "cli/finetune_report.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/output.h"
#include "train/run_setup.h"

namespace llm {
namespace {

std::string model_text(const FinetuneSetup& setup, const Backend& backend) {
  const ModelConfig& config = setup.job.run.options.model;
  const FinetuneOptions& finetune = setup.job.finetune();
  const ParameterCounts counts = count_parameters(backend, setup.job);
  std::string text = fmt::format("{} parameters, {} of them trained ({})", with_commas(counts.all),
                                 with_commas(counts.trained), trained_part_name(finetune.trained));
  if (config.lora.rank > 0) {
    text += fmt::format(", rank {} on {}", config.lora.rank, lora_targets_text(config.lora));
  }
  return text;
}

std::string label_counts(const ExamplePart& part, const LabelSet& labels) {
  constexpr int64_t kMost = 12;
  if (labels.size() > kMost) return fmt::format("{} labels", labels.size());
  std::string text;
  for (int64_t label = 0; label < labels.size(); ++label) {
    int64_t count = 0;
    for (const LabeledText& each : part.texts) count += each.label == labels.name(label);
    text += fmt::format("{}{} {}", label > 0 ? ", " : "", labels.name(label).substr(0, 40),
                        with_commas(count));
  }
  return text;
}

// What the rows cost: their positions, and those they would have without buckets or packing.
struct PaddingFigures {
  int64_t tokens = 0, positions = 0, plain_positions = 0;
};

PaddingFigures padding_of(const FinetuneJob& job) {
  PaddingFigures figures;
  const auto batches = batches_of(job.data.train(), job, /*training=*/true);
  const ExampleBatches::Padding padding = batches->padding(0);
  ExampleBatchOptions plain;
  plain.batch = job.run.options.batch;
  plain.step_rows = job.run.options.samples_per_step();
  plain.seed = static_cast<uint64_t>(job.run.options.seed);
  plain.bucket = false;
  plain.max_length = job.run.options.length;
  ExampleBatches without(job.data.train().tokenized.examples, plain);
  figures.tokens = padding.tokens;
  figures.positions = padding.positions;
  figures.plain_positions = without.padding(0).positions;
  return figures;
}

std::string padding_text(const FinetuneJob& job) {
  const PaddingFigures figures = padding_of(job);
  const auto share = [&](int64_t positions) {
    return 100 * (1 - static_cast<double>(figures.tokens) / static_cast<double>(positions));
  };
  const double saved = 100 * (1 - static_cast<double>(figures.positions) /
                                      static_cast<double>(figures.plain_positions));
  return fmt::format(
      "{:.1f} % of the positions of an epoch, {:.1f} % for rows in any order: "
      "{} {:.1f} % of them",
      share(figures.positions), share(figures.plain_positions),
      job.finetune().pack ? "packing saves" : "buckets by length save", saved);
}

std::vector<std::string> description(const FinetuneSetup& setup, const Backend& backend,
                                     int ranks) {
  const FinetuneJob& job = setup.job;
  const TrainOptions& options = job.run.options;
  const bool classifies = job.finetune().task == FinetuneTask::classify;
  std::vector<std::string> lines = {"model   " + model_text(setup, backend)};
  for (const ExamplePart& part : job.data.parts) {
    if (part.empty()) continue;
    const ExampleFigures& figures = part.tokenized.figures;
    std::string line = fmt::format("data    {}: {}", part.name,
                                   counted(part.rows(), classifies ? "text" : "conversation"));
    if (classifies) line += fmt::format(" ({})", label_counts(part, job.data.labels));
    line += fmt::format(", {} tokens, the longest {}", with_commas(figures.tokens),
                        with_commas(figures.longest));
    if (figures.truncated > 0) line += fmt::format("; {} cut off", with_commas(figures.truncated));
    if (figures.without_target > 0) {
      line += fmt::format("; {} without an answer left out", with_commas(figures.without_target));
    }
    lines.push_back(line);
  }
  if (const BadRows& bad = job.data.bad; bad.count() > 0) {
    lines.push_back(fmt::format("data    {} left out; the first one: {}",
                                counted(bad.count(), "bad row"), bad.first().front()));
  }
  lines.push_back("padding " + padding_text(job));
  lines.push_back(fmt::format(
      "steps   {} of {} rows of at most {} tokens ({} x {}{}), {:.2f} epochs, lr {:.2e}",
      with_commas(options.steps), options.samples_per_step(), options.length, options.batch,
      options.samples_per_step() / options.batch / ranks,
      ranks > 1 ? fmt::format(" x {} processes", ranks) : "",
      static_cast<double>(options.steps) / static_cast<double>(setup.steps_per_epoch), options.lr));
  return lines;
}

const PartFigures* find_part(const FinetuneOutcome& outcome, const std::string& name) {
  for (const PartFigures& part : outcome.parts) {
    if (part.name == name) return &part;
  }
  return nullptr;
}

constexpr std::pair<const char*, const char*> kParts[] = {
    {"train", "train"}, {"validation", "val"}, {"test", "test"}};

void add_classifier_figures(Json& json, const FinetuneSetup& setup,
                            const FinetuneOutcome& outcome) {
  const std::vector<std::string>& names = setup.job.run.options.model.labels;
  const PartFigures* shown = nullptr;
  json["labels"] = names;
  json["parts"] = Json::object();
  for (const auto& [name, key] : kParts) {
    const PartFigures* part = find_part(outcome, name);
    json[fmt::format("{}_accuracy", key)] =
        part != nullptr ? Json(part->confusion->accuracy()) : Json(nullptr);
    if (part == nullptr) continue;
    json["parts"][name] = to_json(*part->confusion, names);
    shown = part;
  }
  const PartFigures* test = find_part(outcome, "test");
  json["test_f1"] = test != nullptr ? Json(test->confusion->macro().f1) : Json(nullptr);
  json["confusion"] = json["parts"][shown->name]["confusion"];
}

}  // namespace

void announce(const FinetuneSetup& setup, const MemoryPlan& plan, const Backend& backend,
              const Comm& comm) {
  for (const std::string& line : description(setup, backend, comm.ranks())) log_info(line);
  log_info(fmt::format("memory  {} planned, {} free", format_bytes(plan.total()),
                       format_bytes(backend.memory_available())));
  log_info(fmt::format("device  {}, {}", backend.name(), comm.name()));
}

void print_dry_run(const FinetuneSetup& setup, const MemoryPlan& plan, const Backend& backend,
                   int ranks, bool json) {
  for (const std::string& line : description(setup, backend, ranks)) fmt::print("{}\n", line);
  fmt::print("memory  per process, {} free on {}\n", format_bytes(backend.memory_available()),
             backend.name());
  for (const auto& [purpose, bytes] : plan.bytes) {
    fmt::print("  {:<20} {:>12}\n", purpose, format_bytes(bytes));
  }
  fmt::print("  {:<20} {:>12}{}\n", "total", format_bytes(plan.total()),
             fits_memory(plan, backend) ? "" : "  (does not fit)");
  if (!json) return;
  const ParameterCounts counts = count_parameters(backend, setup.job);
  const PaddingFigures padding = padding_of(setup.job);
  Json result;
  result["steps"] = setup.job.run.options.steps;
  result["steps_per_epoch"] = setup.steps_per_epoch;
  result["parameters"] = counts.all;
  result["trainable_parameters"] = counts.trained;
  result["tokens_per_epoch"] = padding.tokens;
  result["positions_per_epoch"] = padding.positions;
  result["positions_without_buckets"] = padding.plain_positions;
  for (const ExamplePart& part : setup.job.data.parts) result["rows"][part.name] = part.rows();
  result["bad_rows"] = setup.job.data.bad.count();
  result["memory"] = plan.bytes;
  result["memory_bytes"] = plan.total();
  print_json(result);
}

Json report_json(const FinetuneSetup& setup, const FinetuneOutcome& outcome) {
  const TrainSummary& summary = outcome.summary;
  const bool evaluated = summary.best_step >= 0;
  Json json;
  json["run"] = setup.job.folder.string();
  json["task"] = finetune_task_name(setup.job.finetune().task);
  json["steps"] = summary.steps;
  json["tokens"] = summary.tokens;
  json["seconds"] = summary.seconds;
  json["tokens_per_second"] = summary.tokens_per_second;
  json["trainable_parameters"] = outcome.trainable_parameters;
  json["bad_rows"] = setup.job.data.bad.count();
  json["best_val_loss"] = evaluated ? finite_or_null(summary.best_val_loss) : Json(nullptr);
  json["best_step"] = evaluated ? Json(summary.best_step) : Json(nullptr);
  for (const auto& [name, key] : kParts) {
    const PartFigures* part = find_part(outcome, name);
    json[fmt::format("{}_loss", key)] =
        part != nullptr ? finite_or_null(part->loss) : Json(nullptr);
  }
  if (setup.job.finetune().task == FinetuneTask::classify) {
    add_classifier_figures(json, setup, outcome);
  } else if (outcome.responses > 0) {
    json["responses"] = setup.job.responses.string();
  }
  return json;
}

void print_outcome(const FinetuneSetup& setup, const FinetuneOutcome& outcome, bool json) {
  const TrainSummary& summary = outcome.summary;
  std::string text = fmt::format("{}: {} steps, {} tokens, {}, {} tokens/s\n",
                                 setup.job.folder.string(), with_commas(summary.steps),
                                 with_commas(summary.tokens), format_duration(summary.seconds),
                                 with_commas(std::llround(summary.tokens_per_second)));
  for (const PartFigures& part : outcome.parts) {
    text += fmt::format("{:<10} loss {:.4f}", part.name, part.loss);
    if (part.confusion) {
      text += fmt::format(", accuracy {:.2f} % of {}", 100 * part.confusion->accuracy(),
                          counted(part.confusion->texts(), "text"));
    }
    text += "\n";
    if (part.confusion) text += confusion_text(*part.confusion, setup.job.run.options.model.labels);
  }
  if (outcome.responses > 0) {
    text += fmt::format("{} to the test part in {}\n", counted(outcome.responses, "response"),
                        setup.job.responses.string());
  }
  if (summary.skipped > 0) {
    text += fmt::format("{} steps were skipped, see log.jsonl\n", summary.skipped);
  }
  print(text);
  if (json) print_json(report_json(setup, outcome));
}

void print_preempted(const FinetuneSetup& setup, const PreemptedRun& run) {
  Json json;
  json["run"] = setup.job.folder.string();
  json["steps"] = run.summary().steps;
  json["tokens"] = run.summary().tokens;
  json["stopped_by"] = run.stopped_by();
  print_json(json);
}

}  // namespace llm
