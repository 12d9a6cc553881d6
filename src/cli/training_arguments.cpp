#include "cli/training_arguments.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "cli/device.h"

namespace llm {

void add_schedule_options(CLI::App& command, TrainingArguments& a, const std::string& group) {
  command.add_option("--min-lr", a.min_lr, "learning rate at the end [a tenth of --lr]")
      ->group(group);
  command.add_option("--warmup", a.warmup, "steps of linear warm-up [2 % of the steps]")
      ->group(group);
  command.add_option("--schedule", a.schedule, "cosine, linear, constant or wsd [cosine]")
      ->group(group);
}

void add_checkpoint_options(CLI::App& command, TrainingArguments& a, const std::string& group) {
  command.add_option("--keep", a.keep, "checkpoints kept, at least 2 [2]")->group(group);
  command
      .add_flag("--keep-best", a.keep_best,
                "keep the best validation loss's checkpoint; its weights become the run's")
      ->group(group);
  command.add_flag("--resume", a.resume, "continue the run in the folder of -o")->group(group);
}

void add_computing_options(CLI::App& command, TrainingArguments& a, const std::string& group) {
  command
      .add_option("--device", a.device,
                  "auto (LLM_DEVICE of the environment, else a GPU if there is one), cpu or "
                  "cuda[:N] [auto]")
      ->group(group);
  command
      .add_option("--dtype", a.dtype,
                  "what activations and products are in: f32, bf16 or, on a GPU, tf32 [bf16 on a "
                  "GPU, f32 on the CPU]")
      ->group(group);
  command
      .add_flag("--recompute", a.recompute,
                "compute activations again in the backward pass: less memory, a third more time")
      ->group(group);
  command.add_option("--memory-limit", a.memory_limit, "GPU: GiB to use at most [what is free]")
      ->group(group);
  command
      .add_option("--attention", a.attention,
                  "GPU: own kernels, cudnn, or auto: the faster ones [auto]")
      ->group(group);
  command.add_flag("--retune", a.retune, "GPU: time algorithms again instead of the saved choice")
      ->group(group);
  command.add_flag("--json", a.json, "the last line of stdout is the result as JSON")->group(group);
}

void add_device_options(CLI::App& command, TrainingArguments& a, const std::string& group) {
  command.add_option("--timeout", a.timeout, "several processes: seconds until one counts as lost")
      ->group(group);
  add_computing_options(command, a, group);
}

void apply_training_arguments(TrainOptions& options, const TrainingArguments& a) {
  take(options.dtype, a.dtype);
  take(options.attention, a.attention);
  if (a.recompute) options.recompute = true;
  take(options.lr, a.lr);
  if (a.schedule) options.schedule = schedule_from_name(*a.schedule, "--schedule");
  take(options.decay_share, a.decay_share);
  take(options.weight_decay, a.weight_decay);
  take(options.beta1, a.beta1);
  take(options.beta2, a.beta2);
  take(options.grad_clip, a.grad_clip);
  take(options.seed, a.seed);
  take(options.eval_batches, a.eval_batches);
  take(options.keep, a.keep);
  if (a.keep_best) options.keep_best = true;
}

std::unique_ptr<Backend> open_backend(const TrainingArguments& arguments,
                                      const TrainOptions& stored) {
  const std::string dtype = arguments.dtype.value_or(arguments.resume ? stored.dtype : "");
  if (arguments.dtype) require_dtype_name(dtype);
  const double limit = arguments.memory_limit.value_or(0);
  if (!std::isfinite(limit) || limit < 0 || limit > 1e6) {
    fail_usage("--memory-limit", fmt::format("{} GiB", limit));
  }
  DeviceOptions options;
  options.tf32 = dtype == "tf32";
  options.attention = arguments.attention.value_or(stored.attention);
  options.memory_limit = static_cast<int64_t>(limit * 1024 * 1024 * 1024);
  options.retune = arguments.retune;
  std::unique_ptr<Backend> backend = make_backend(arguments.device, options);
  if (!backend->is_host()) return backend;
  if (dtype == "tf32") fail_usage("--dtype", "tf32 needs a GPU", "the CPU trains in f32 or bf16");
  if (arguments.retune) {
    fail_usage("--retune", "the CPU has no algorithms to choose from", "leave it out");
  }
  if (limit > 0) {
    fail_usage("--memory-limit", "is for GPUs", "ulimit -v limits the memory of the host");
  }
  return backend;
}

}  // namespace llm
