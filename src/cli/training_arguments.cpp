#include "cli/training_arguments.h"

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

void add_device_options(CLI::App& command, TrainingArguments& a, const std::string& group) {
  command.add_option("--device", a.device, "auto, cpu or cuda[:N] [auto]")->group(group);
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
  command.add_option("--timeout", a.timeout, "several processes: seconds until one counts as lost")
      ->group(group);
  command.add_flag("--json", a.json, "the last line of stdout is the result as JSON")->group(group);
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

}  // namespace llm
