// The command line of `llm pretrain`: what was given, and what was not.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/options.h"

namespace llm {

// An option that was not given is empty, so that a resumed run keeps what it began with.
struct PretrainArguments {
  std::vector<std::string> data;
  std::string output;
  std::optional<std::string> model, init, batch, schedule, dtype, attention, on_spike, prompt;
  std::optional<int64_t> layers, heads, channels, context, vocab_size;
  std::optional<double> dropout;
  bool no_bias = false, no_qkv_bias = false, untied = false;

  std::optional<int64_t> length, total_batch_tokens, steps, decay_steps, warmup, seed;
  std::optional<double> epochs, lr, min_lr, decay_share, weight_decay, beta1, beta2, epsilon,
      grad_clip;
  std::optional<int64_t> eval_every, eval_batches, sample_every, sample_tokens, save_every, keep;
  bool keep_best = false, recompute = false;
  std::optional<double> memory_limit;  // GiB

  bool resume = false, dry_run = false, retune = false, json = false;
  std::string device = "auto";
  double timeout = 300;
};

void add_pretrain_options(CLI::App& command, PretrainArguments& arguments);

// Overwrites what was given, but for the model, the data, the batch and the number of steps, which
// need more than a copy. Throws Error{usage} for names that do not exist.
void apply_arguments(TrainOptions& options, const PretrainArguments& arguments);

// The numbers of the model that were given on the command line.
void apply_model_arguments(ModelConfig& config, const PretrainArguments& arguments);

// "DIR", "NAME=DIR" or "NAME=DIR:WEIGHT". Throws Error{usage}.
DataPart parse_data_argument(const std::string& text);

}  // namespace llm
