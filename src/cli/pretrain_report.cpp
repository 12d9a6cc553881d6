#include "cli/pretrain_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "model/config.h"

namespace llm {
namespace {

double epochs_of(const PretrainSetup& setup) {
  const TrainOptions& options = setup.job.run.options;
  return static_cast<double>(options.steps) * static_cast<double>(options.samples_per_step()) /
         static_cast<double>(std::max<int64_t>(setup.samples_per_epoch, 1));
}

// FLOP/s of a matrix product of the model's width, over a twentieth of a second.
double measured_flops(Backend& backend, const ModelConfig& config, DType dtype) {
  constexpr double kSeconds = 0.05;
  const int64_t rows = backend.is_host() ? 512 : 16384;
  const int64_t width = std::min<int64_t>(config.channels, backend.is_host() ? 1024 : 4096);
  const int64_t x_bytes = rows * width * dtype_bytes(dtype);
  const auto memory =
      backend.allocate(2 * x_bytes + width * width * dtype_bytes(dtype), "measurement");
  auto* at = static_cast<std::byte*>(memory->data());
  const Tensor x(at, dtype, {rows, width}), y(at + x_bytes, dtype, {rows, width});
  Weight weight;
  weight.data = Tensor(at + 2 * x_bytes, dtype, {width, width});
  backend.fill(x, 1);
  backend.fill(weight.data, 1);
  backend.linear_forward(y, x, weight, {});
  backend.synchronize();
  const auto start = std::chrono::steady_clock::now();
  double flops = 0, seconds = 0;
  while (seconds < kSeconds) {
    backend.linear_forward(y, x, weight, {});
    backend.synchronize();
    flops += 2.0 * static_cast<double>(rows * width * width);
    seconds = seconds_since(start);
  }
  return flops / seconds;
}

// Training alone. A step does little but products, and those at about two thirds of the speed of a
// product that stays in the cache.
double estimated_seconds(const TrainOptions& options, Backend& backend, int ranks) {
  constexpr double kShareOfProducts = 0.65;
  const double flop = training_flop_per_token(options.model, options.length) *
                      static_cast<double>(options.total_batch_tokens) *
                      static_cast<double>(options.steps);
  const double rate = measured_flops(backend, options.model, options.compute_dtype());
  return flop / (kShareOfProducts * rate * ranks);
}

std::string steps_text(const PretrainSetup& setup, int64_t ranks) {
  const TrainOptions& options = setup.job.run.options;
  const int64_t micro = options.batch * options.length * ranks;
  return fmt::format("{} steps of {} tokens ({} x {} x {}{}), {:.2f} epochs",
                     with_commas(options.steps), with_commas(options.total_batch_tokens),
                     options.batch, options.length, options.total_batch_tokens / micro,
                     ranks > 1 ? fmt::format(" x {} processes", ranks) : "", epochs_of(setup));
}

std::string model_text(const ModelConfig& config) {
  return fmt::format("{} parameters ({} layers, {} heads, {} channels, context {}, vocabulary {})",
                     with_commas(parameter_count(config)), config.layers, config.heads,
                     config.channels, with_commas(config.context), with_commas(config.vocab_size));
}

int64_t peak_bytes(const Backend& backend) {
  return backend.is_host() ? peak_resident_bytes() : backend.peak_memory();
}

Json summary_json(const PretrainSetup& setup, const TrainSummary& summary, const MemoryPlan& plan,
                  const Backend& backend) {
  const bool evaluated = summary.best_step >= 0;
  Json result;
  result["run"] = setup.job.folder.string();
  result["steps"] = summary.steps;
  result["tokens"] = summary.tokens;
  result["train_loss"] = finite_or_null(summary.train_loss);
  result["val_loss"] = evaluated ? finite_or_null(summary.val_loss) : Json(nullptr);
  result["best_val_loss"] = evaluated ? finite_or_null(summary.best_val_loss) : Json(nullptr);
  result["best_step"] = evaluated ? Json(summary.best_step) : Json(nullptr);
  result["skipped"] = summary.skipped;
  result["tokens_per_second"] = summary.tokens_per_second;
  result["seconds"] = summary.seconds;
  result["parameters"] = parameter_count(setup.job.run.options.model);
  result["peak_memory_bytes"] = peak_bytes(backend);
  result["planned_memory_bytes"] = plan.total();
  if (!backend.is_host())
    result["process_memory_bytes"] = peak_bytes(backend) + backend.foreign_memory();
  return result;
}

}  // namespace

void announce(const PretrainSetup& setup, const MemoryPlan& plan, const Backend& backend,
              const Comm& comm) {
  const TrainOptions& options = setup.job.run.options;
  log_info(fmt::format("model   {}", model_text(options.model)));
  for (const DataPart& part : options.data) {
    log_info(fmt::format("data    {}: {} training tokens, {} validation tokens{}", part.path,
                         with_commas(part.train_tokens), with_commas(part.val_tokens),
                         options.data.size() > 1 ? fmt::format(", weight {:g}", part.weight) : ""));
  }
  log_info(fmt::format("steps   {}", steps_text(setup, comm.ranks())));
  log_info(fmt::format("memory  {} planned, {} free", format_bytes(plan.total()),
                       format_bytes(backend.memory_available())));
  log_info(fmt::format("device  {}, {}", backend.name(), comm.name()));
}

void print_dry_run(const PretrainSetup& setup, const MemoryPlan& plan, Backend& backend, int ranks,
                   bool json) {
  const TrainOptions& options = setup.job.run.options;
  // Before anything is measured: what the process will hold.
  const int64_t process_bytes = plan.total() + backend.foreign_memory();
  const double seconds = estimated_seconds(options, backend, ranks);
  fmt::print("model   {}\n", model_text(options.model));
  fmt::print("steps   {}\n", steps_text(setup, ranks));
  fmt::print("memory  per process, {} free on {}\n", format_bytes(backend.memory_available()),
             backend.name());
  for (const auto& [purpose, bytes] : plan.bytes) {
    fmt::print("  {:<20} {:>12}\n", purpose, format_bytes(bytes));
  }
  fmt::print("  {:<20} {:>12}{}\n", "total", format_bytes(plan.total()),
             fits_memory(plan, backend) ? "" : "  (does not fit)");
  if (!backend.is_host()) {
    fmt::print("  {:<20} {:>12}\n", "with the driver's", format_bytes(process_bytes));
  }
  fmt::print("time    about {} for the steps alone (estimated from one matrix product)\n",
             format_duration(seconds));
  if (!json) return;
  Json result;
  result["steps"] = options.steps;
  result["tokens_per_step"] = options.total_batch_tokens;
  result["tokens"] = options.steps * options.total_batch_tokens;
  result["epochs"] = epochs_of(setup);
  result["parameters"] = parameter_count(options.model);
  result["memory"] = plan.bytes;
  result["memory_bytes"] = plan.total();
  result["process_memory_bytes"] = process_bytes;
  result["memory_available_bytes"] = backend.memory_available();
  result["estimated_seconds"] = seconds;
  fmt::print("{}\n", to_line(result));
}

void print_summary(const PretrainSetup& setup, const TrainSummary& summary, const MemoryPlan& plan,
                   const Backend& backend, bool json) {
  const std::string run = setup.job.folder.string();
  const bool evaluated = summary.best_step >= 0;
  fmt::print("{}: {} steps, {} tokens, {}, {} tokens/s\n", run, with_commas(summary.steps),
             with_commas(summary.tokens), format_duration(summary.seconds),
             with_commas(std::llround(summary.tokens_per_second)));
  fmt::print("train loss {:.4f} (mean of the last {} steps)", summary.train_loss,
             std::min(Trainer::kTrainLossSteps, summary.steps));
  if (evaluated) {
    fmt::print(", val loss {:.4f}, best {:.4f} at step {}", summary.val_loss, summary.best_val_loss,
               summary.best_step);
  }
  fmt::print("\npeak memory {}, planned {}\n", format_bytes(peak_bytes(backend)),
             format_bytes(plan.total()));
  if (summary.skipped > 0) fmt::print("{} steps were skipped, see log.jsonl\n", summary.skipped);
  if (json) fmt::print("{}\n", to_line(summary_json(setup, summary, plan, backend)));
}

void print_preempted(const PretrainSetup& setup, const PreemptedRun& run, const MemoryPlan& plan,
                     const Backend& backend) {
  Json result = summary_json(setup, run.summary(), plan, backend);
  result["stopped_by"] = run.stopped_by();
  fmt::print("{}\n", to_line(result));
}

}  // namespace llm
