#include "cli/pretrain_arguments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "model/config.h"

namespace llm {
namespace {

void add_model_options(CLI::App& command, PretrainArguments& a) {
  const std::string group = "Model";
  command
      .add_option(
          "--model", a.model,
          fmt::format("a preset ({}), a config.json or a model folder, for its shape [gpt2]",
                      fmt::join(model_preset_names(), ", ")))
      ->group(group);
  command
      .add_option("--init", a.init,
                  "`random`, or what to start from: a model folder, or the name of a downloaded "
                  "model [random]")
      ->group(group);
  command.add_option("--layers", a.layers, "number of blocks")->group(group);
  command.add_option("--heads", a.heads, "attention heads; divides the channels")->group(group);
  command.add_option("--channels", a.channels, "width of the residual stream")->group(group);
  command.add_option("--context", a.context, "longest sequence, tokens")->group(group);
  command.add_option("--vocab-size", a.vocab_size, "tokens in the vocabulary [that of the data]")
      ->group(group);
  command.add_option("--dropout", a.dropout, "share of activations dropped while training [0]")
      ->group(group);
  command.add_flag("--no-bias", a.no_bias, "no biases in linear layers and norms")->group(group);
  command.add_flag("--no-qkv-bias", a.no_qkv_bias, "no bias in the q, k, v projection")
      ->group(group);
  command.add_flag("--untied", a.untied, "an output layer of its own, not the token embedding")
      ->group(group);
}

void add_step_options(CLI::App& command, PretrainArguments& a) {
  const std::string group = "Steps";
  command
      .add_option("--batch", a.batch,
                  "sequences per micro-batch and process, or `auto`: what fits [12]")
      ->group(group);
  command.add_option("--length", a.length, "tokens per sequence [the context]")->group(group);
  command
      .add_option("--total-batch-tokens", a.total_batch_tokens,
                  "tokens per step over all micro-batches and processes [batch x length x "
                  "processes]")
      ->group(group);
  auto* steps = command.add_option("--steps", a.steps, "optimizer steps")->group(group);
  command.add_option("--epochs", a.epochs, "passes over the data, instead of --steps [1]")
      ->group(group)
      ->excludes(steps);
}

void add_optimizer_options(CLI::App& command, PretrainArguments& a) {
  const std::string group = "Optimizer (AdamW)";
  command.add_option("--lr", a.lr, "peak learning rate [6e-4]")->group(group);
  add_schedule_options(command, a, group);
  command
      .add_option("--decay-steps", a.decay_steps,
                  "length of the schedule, to be continued with more --steps later [--steps]")
      ->group(group);
  command.add_option("--decay-share", a.decay_share, "wsd: share of the steps that decays [0.2]")
      ->group(group);
  command.add_option("--weight-decay", a.weight_decay, "on matrices only [0.1]")->group(group);
  command.add_option("--beta1", a.beta1, "decay of the first moment [0.9]")->group(group);
  command.add_option("--beta2", a.beta2, "decay of the second moment [0.95]")->group(group);
  command.add_option("--epsilon", a.epsilon, "of AdamW [1e-8]")->group(group);
  command.add_option("--grad-clip", a.grad_clip, "largest norm of the gradient, 0: any [1]")
      ->group(group);
  command
      .add_option("--on-spike", a.on_spike,
                  "a loss far above the last ones (10 robust deviations above the median of 63): "
                  "skip the step, stop, or ignore [skip]")
      ->group(group);
  command.add_option("--seed", a.seed, "of initial weights, order of samples and dropout [42]")
      ->group(group);
}

void add_run_options(CLI::App& command, PretrainArguments& a) {
  const std::string group = "Run";
  command.add_option("--eval-every", a.eval_every, "steps, 0: only at the end [250]")->group(group);
  command
      .add_option("--eval-batches", a.eval_batches,
                  "batches per evaluation, 0: the whole validation split [0]")
      ->group(group);
  command.add_option("--sample-every", a.sample_every, "steps, 0: no samples [0]")->group(group);
  command.add_option("--sample-tokens", a.sample_tokens, "tokens per sample [100]")->group(group);
  command.add_option("--prompt", a.prompt, "what samples continue [the start of a document]")
      ->group(group);
  command
      .add_option("--save-every", a.save_every,
                  "steps, 0: a checkpoint before the first and after the last step only [0]")
      ->group(group);
  add_checkpoint_options(command, a, group);
  command.add_flag("--dry-run", a.dry_run, "print memory, steps and estimated time, and exit")
      ->group(group);
  add_device_options(command, a, group);
}

// Zero stands for "not given" inside TrainOptions, so it must not come from outside.
void require_positive(const char* option, const std::optional<int64_t>& value) {
  if (value && *value <= 0)
    fail_usage(option, fmt::format("{} tokens, must be at least 1", *value));
}

// Where 0 in the options means "not given yet".
void take_positive(int64_t& value, const std::optional<int64_t>& given, const char* option) {
  if (given && *given < 1) {
    fail_usage(option, fmt::format("{} tokens", *given), "must be at least 1");
  }
  take(value, given);
}

}  // namespace

void add_pretrain_options(CLI::App& command, PretrainArguments& a) {
  command
      .add_option("--data", a.data,
                  "a dataset folder of `llm data prepare`, or several, mixed by weight: "
                  "a=DIR:0.6 b=DIR:0.4")
      ->type_name("DIR...");
  command.add_option("-o,--out", a.output, "folder of the run")->required()->type_name("RUN");
  add_model_options(command, a);
  add_step_options(command, a);
  add_optimizer_options(command, a);
  add_run_options(command, a);
  std::vector<std::string> changeable = changeable_options();
  for (std::string& name : changeable) name.insert(0, "--");
  const auto middle = changeable.begin() + static_cast<std::ptrdiff_t>(changeable.size() / 2);
  command.footer(fmt::format(
      "On --resume, options that are not given keep their values. Only these may change, and "
      "--epochs\nwith --steps:\n  {},\n"
      "  {}\n"
      "and the number of processes. Another number of processes or batch size gives the same\n"
      "losses to rounding error; everything else continues to the same bits. A longer --steps\n"
      "stretches the schedule unless the run began with --decay-steps.\n\n"
      "Exit codes: 2 usage, 3 bad input, 4 disk, 5 memory, 6 device or communication, 7 NaN,\n"
      "75 stopped by a signal after saving.\n\n"
      "Example:\n"
      "  llm pretrain --data data/stories -o runs/stories --layers 6 --heads 6 --channels 192 \\\n"
      "      --context 128 --batch 16 --steps 2000 --lr 1e-3 --eval-every 200",
      fmt::join(changeable.begin(), middle, ", "), fmt::join(middle, changeable.end(), ", ")));
}

void apply_arguments(TrainOptions& options, const PretrainArguments& a) {
  require_positive("--length", a.length);
  require_positive("--total-batch-tokens", a.total_batch_tokens);
  take(options.init, a.init);
  take_positive(options.length, a.length, "--length");
  take_positive(options.total_batch_tokens, a.total_batch_tokens, "--total-batch-tokens");
  take(options.decay_steps, a.decay_steps);
  apply_training_arguments(options, a);
  if (a.min_lr || (a.lr && !a.resume)) options.min_lr = a.min_lr.value_or(options.lr / 10);
  take(options.epsilon, a.epsilon);
  if (a.on_spike) options.on_spike = spike_action_from_name(*a.on_spike, "--on-spike");
  take(options.eval_every, a.eval_every);
  take(options.sample_every, a.sample_every);
  take(options.sample_tokens, a.sample_tokens);
  take(options.prompt, a.prompt);
  take(options.save_every, a.save_every);
}

void apply_model_arguments(ModelConfig& config, const PretrainArguments& a) {
  take(config.layers, a.layers);
  take(config.heads, a.heads);
  if (a.heads) config.kv_heads = *a.heads;
  take(config.channels, a.channels);
  if (a.channels) config.hidden = 4 * *a.channels;
  take(config.context, a.context);
  take(config.vocab_size, a.vocab_size);
  // Not that of a config.json: GPT-2's says 0.1, and this one trains long with much text.
  if (a.dropout || !a.resume) config.set_dropout(static_cast<float>(a.dropout.value_or(0)));
  if (a.no_bias) config.bias = false;
  if (a.no_qkv_bias) config.qkv_bias = false;
  if (a.untied) config.tied = false;
}

DataPart parse_data_argument(const std::string& text) {
  DataPart part;
  part.path = text;
  const size_t equals = text.find('=');
  if (!fs::exists(text) && equals != std::string::npos && equals > 0) {
    part.name = text.substr(0, equals);
    part.path = text.substr(equals + 1);
    const size_t colon = part.path.rfind(':');
    if (!fs::exists(part.path) && colon != std::string::npos) {
      const std::string weight = part.path.substr(colon + 1);
      part.path.resize(colon);
      const auto [end, error] =
          std::from_chars(weight.data(), weight.data() + weight.size(), part.weight);
      if (error != std::errc() || end != weight.data() + weight.size() ||
          !std::isfinite(part.weight) || part.weight <= 0 || part.weight > 1e9) {
        fail_usage("--data", fmt::format("\"{}\" is not a weight (in {})", weight, text),
                   "NAME=DIR:WEIGHT with a positive number");
      }
    }
  }
  if (part.name.empty()) {
    fs::path path = part.path;
    if (!path.has_filename()) path = path.parent_path();
    part.name = path.filename().string();
  }
  if (part.path.empty()) fail_usage("--data", fmt::format("\"{}\" names no folder", text));
  return part;
}

}  // namespace llm
