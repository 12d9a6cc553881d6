// llm bench train: how fast training steps are, and where their time goes.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <string_view>

#include "backend/device_peak.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/rng.h"
#include "cli/bench_command.h"
#include "cli/model_arguments.h"
#include "cli/output.h"
#include "cli/step_breakdown.h"
#include "cli/training_arguments.h"
#include "train/finetune_options.h"
#include "train/pretrain.h"
#include "train/workspace.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

struct BenchTrainArguments : TrainingArguments {
  std::string model = "gpt2";
  std::optional<int64_t> batch, length, total_batch_tokens, lora_rank;
  std::optional<std::string> lora_targets;
  int64_t timed = 20;
};

constexpr int64_t kWarmUpSteps = 3;

TrainOptions options_of(const BenchTrainArguments& arguments, const Backend& backend) {
  TrainOptions options;
  options.model = shape_named(arguments.model);
  require_language_model(options.model, arguments.model);
  options.model.set_dropout(0);  // as llm pretrain does
  options.dtype = arguments.dtype.value_or(backend.is_host() ? "f32" : "bf16");
  options.attention = arguments.attention.value_or(options.attention);
  options.recompute = arguments.recompute;
  const int64_t context = options.model.context;
  options.length =
      arguments.length.value_or(backend.is_host() ? std::min<int64_t>(64, context) : context);
  options.batch = arguments.batch.value_or(backend.is_host() ? 4 : 16);
  options.total_batch_tokens =
      arguments.total_batch_tokens.value_or(options.batch * options.length);
  options.steps = arguments.timed + kWarmUpSteps;
  validate(options, 1);
  if (arguments.lora_targets && !arguments.lora_rank) {
    fail_usage("--lora-targets", "there are no adapters", "add --lora-rank N");
  }
  if (arguments.lora_rank) {
    FinetuneOptions finetuning;
    finetuning.task = FinetuneTask::instruct;
    finetuning.trained = TrainedPart::lora;
    finetuning.lora.rank = *arguments.lora_rank;
    finetuning.lora.alpha = static_cast<float>(*arguments.lora_rank);
    set_lora_targets(finetuning.lora, arguments.lora_targets.value_or("all"), /*classifier=*/false);
    validate(finetuning, options.model);
    options.model.lora = finetuning.lora;
  }
  return options;
}

// With adapters these alone are trained.
Workload workload_of(const TrainOptions& options) {
  if (options.model.lora.rank == 0) return {};
  return {.trainable = [](const Parameter& parameter) { return parameter.adapter; }};
}

// Token ids as frequent as in text (Zipf's law): a constant id would run faster than text does.
std::vector<Batch> zipf_batches(const TrainOptions& options, int64_t count) {
  const int64_t vocab = options.model.vocab_size;
  std::vector<double> cumulative(static_cast<size_t>(vocab));
  double sum = 0;
  for (int64_t v = 0; v < vocab; ++v) {
    cumulative[static_cast<size_t>(v)] = sum += 1.0 / static_cast<double>(v + 1);
  }
  const Random random(0, stream_id("bench tokens"));
  const auto token = [&](int64_t i) {
    const double at = random.uniform(static_cast<uint64_t>(i)) * sum;
    const auto rank = std::lower_bound(cumulative.begin(), cumulative.end(), at);
    const auto frequent = static_cast<uint64_t>(std::min(rank - cumulative.begin(), vocab - 1));
    return static_cast<int32_t>(
        permute_index(frequent, static_cast<uint64_t>(vocab), 0, stream_id("bench ids")));
  };
  const int64_t tokens = options.batch * options.length;
  std::vector<Batch> batches;
  for (int64_t n = 0; n < count; ++n) {
    Batch batch{options.batch, options.length, {}, {}, {}};
    for (int64_t i = 0; i <= tokens; ++i) {
      const int32_t id = token(n * tokens + i);
      if (i < tokens) batch.tokens.push_back(id);
      if (i > 0) batch.targets.push_back(id);
    }
    for (int64_t b = 0; b < options.batch; ++b) batch.sample_ids.push_back(n * options.batch + b);
    batches.push_back(std::move(batch));
  }
  return batches;
}

class Bench {
 public:
  Bench(const TrainOptions& options, Backend& backend)
      : options_(options), backend_(backend), comm_(make_single_comm()) {
    progress_.show("making the model and the batches");
    const Workload workload = workload_of(options);
    const MemoryPlan plan = plan_memory(backend, objective_, options, workload);
    planned_bytes_ = plan.total();
    require_memory(plan, backend, objective_, options, workload);
    backend.reserve_scratch(plan.scratch());
    workspace_ = std::make_unique<Workspace>(backend, *comm_, objective_, options,
                                             plan.activations(), workload);
    ParameterStore& store = workspace_->model.parameters();
    store.initialize(static_cast<uint64_t>(options.seed));
    store.set_weight_decay(static_cast<float>(options.weight_decay));
    const int64_t per_step = options.total_batch_tokens / (options.batch * options.length);
    batches_ = zipf_batches(options, std::max<int64_t>(per_step, 1));
    backend.set_tuning(true);
    workspace_->step.warm_up(batches_.front(), 0);
    backend.set_tuning(false);
  }

  // Seconds per step over `count` steps, which are `what`.
  double run(std::string_view what, int64_t count) {
    using Clock = std::chrono::steady_clock;
    backend_.synchronize();
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < count; ++i) {
      progress_.show(fmt::format("{} {}/{}", what, i + 1, count));
      StepRequest request;
      request.step = ++step_;
      request.learning_rate = 6e-4 * std::min(1.0, static_cast<double>(step_) / 10);
      request.loss_limit = std::numeric_limits<float>::infinity();
      request.max_norm = 1;
      workspace_->step.enqueue(request, batches_);
      if (i > 0) last_ = workspace_->step.read(step_ - 1);
    }
    last_ = workspace_->step.read(step_);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    return seconds / static_cast<double>(count);
  }

  // Time of each op in one step, run op by op.
  std::vector<OpTime> profile() {
    workspace_->step.forget_recordings();
    backend_.set_profiling(true);
    run("profiled step", 1);
    std::vector<OpTime> times = backend_.op_times();
    backend_.set_profiling(false);
    return times;
  }

  void end_progress() { progress_.finish(); }
  const StepResult& last() const { return last_; }
  int64_t planned_bytes() const { return planned_bytes_; }
  int64_t trained_parameters() const { return workspace_->model.parameters().trainable_count(); }

 private:
  const TrainOptions& options_;
  Backend& backend_;
  std::unique_ptr<Comm> comm_;
  NextToken objective_;
  std::unique_ptr<Workspace> workspace_;
  std::vector<Batch> batches_;
  StepResult last_;
  Progress progress_;
  int64_t step_ = 0, planned_bytes_ = 0;
};

// How fast the step multiplies beside products alone and beside what the device can at most.
void print_arithmetic(double tokens_per_second, const TrainOptions& options, const Backend& backend,
                      const Ceilings& ceilings, Json& result) {
  const double flops = tokens_per_second * training_flop_per_token(options.model, options.length);
  const double share = flops / ceilings.flops(options.compute_dtype());
  const double peak = peak_flops(backend.name(), options.dtype);
  fmt::print("{:.2f} TFLOP/s, {:.0f} % of those of a matrix product alone{}\n", flops / 1e12,
             100 * share, peak > 0 ? fmt::format(", {:.1f} % MFU", 100 * flops / peak) : "");
  result["flops_per_second"] = flops;
  result["share_of_product"] = share;
  if (peak > 0) result["mfu"] = flops / peak;
}

void bench_train(const BenchTrainArguments& arguments) {
  const std::unique_ptr<Backend> backend = open_backend(arguments, {});
  const TrainOptions options = options_of(arguments, *backend);
  Bench bench(options, *backend);
  bench.run("warm-up step", kWarmUpSteps);
  const double seconds = bench.run("step", arguments.timed);
  bench.end_progress();
  const double rate = static_cast<double>(options.total_batch_tokens) / seconds;
  const bool adapters = options.model.lora.rank > 0;
  fmt::print("{} {}: {} parameters, {}, {} x {} tokens per micro-batch, {} per step{}\n",
             backend->name(), arguments.model, with_commas(parameter_count(options.model)),
             options.dtype, options.batch, options.length, with_commas(options.total_batch_tokens),
             options.recompute ? ", recompute" : "");
  if (adapters) {
    fmt::print("adapters of rank {}: {} trained parameters\n", options.model.lora.rank,
               with_commas(bench.trained_parameters()));
  }
  fmt::print("{:.2f} ms per step, {} tokens/s over {} steps; loss {:.4f}\n", seconds * 1e3,
             with_commas(std::llround(rate)), arguments.timed, bench.last().loss);
  fmt::print("{} of device memory planned\n", format_bytes(bench.planned_bytes()));
  Json result{{"device", backend->name()},
              {"model", arguments.model},
              {"seconds_per_step", seconds},
              {"tokens_per_second", rate},
              {"trained_parameters", bench.trained_parameters()},
              {"planned_memory_bytes", bench.planned_bytes()}};
  const std::vector<OpTime> times = bench.profile();
  bench.end_progress();
  const Ceilings ceilings = measure_ceilings(*backend);
  // The arithmetic of a step is known where everything is trained.
  if (!adapters) print_arithmetic(rate, options, *backend, ceilings, result);
  if (!times.empty()) result["parts"] = print_breakdown(times, options, seconds, ceilings);
  if (arguments.json) fmt::print("{}\n", to_line(result));
}

}  // namespace

void add_bench_train_command(CLI::App& bench) {
  auto* command = bench.add_subcommand("train", "time of training steps, and what takes it");
  auto a = std::make_shared<BenchTrainArguments>();
  const CLI::Range at_least_one(int64_t{1}, int64_t{1} << 40);
  command->add_option("--model", a->model,
                      "a preset, config.json or model folder, for its shape [gpt2]");
  command->add_option("--batch", a->batch, "sequences per micro-batch [16; 4 on the CPU]")
      ->check(at_least_one)
      ->type_name("N");
  command->add_option("--length", a->length, "tokens per sequence [the context; 64 on the CPU]")
      ->check(at_least_one)
      ->type_name("N");
  command
      ->add_option("--total-batch-tokens", a->total_batch_tokens,
                   "tokens per step [one micro-batch]")
      ->check(at_least_one)
      ->type_name("N");
  command->add_option("--steps", a->timed, "steps that are timed [20]")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("N");
  command
      ->add_option("--lora-rank", a->lora_rank,
                   "train adapters of this rank and nothing else [everything is trained]")
      ->check(at_least_one)
      ->type_name("N");
  command->add_option("--lora-targets", a->lora_targets, "their layers, as in finetune [all]");
  add_computing_options(*command, *a, command->get_option("--model")->get_group());
  command->footer(
      "Trains on random tokens, as frequent as in text, and keeps nothing.\n\n"
      "Example:\n  llm bench train --model gpt2 --batch 64 --total-batch-tokens 524288");
  command->callback([a] { bench_train(*a); });
}

}  // namespace llm
