// The command line of `llm pretrain`: what was given, and what was not.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/training_arguments.h"

namespace llm {

struct PretrainArguments : TrainingArguments {
  std::vector<std::string> data;
  std::optional<std::string> model, init, batch, on_spike, prompt;
  std::optional<int64_t> layers, heads, channels, context, vocab_size;
  bool no_bias = false, no_qkv_bias = false, untied = false;

  std::optional<int64_t> length, total_batch_tokens, decay_steps, sample_tokens;
  std::optional<double> epsilon;
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
