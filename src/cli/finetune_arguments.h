// The command line of `llm finetune`: what was given, and what was not.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "cli/training_arguments.h"

namespace llm {

struct FinetuneArguments : TrainingArguments {
  std::string model;
  std::optional<std::string> task;

  std::string train, validation, test, quoting, text_column, label_column;
  std::optional<std::string> split, split_order, class_weights;
  bool balance = false, skip_bad_rows = false;
  std::optional<int64_t> max_length;

  std::optional<std::string> trained, pool, init;
  std::optional<std::string> format, responses;
  bool mask_prompt = false, pack = false;
  std::optional<int64_t> answers, answer_tokens;

  std::optional<int64_t> lora_rank;
  std::optional<double> lora_alpha, lora_dropout;
  std::optional<std::string> lora_targets;
  bool merge = false;

  std::optional<int64_t> batch, total_batch;
};

void add_finetune_options(CLI::App& command, FinetuneArguments& arguments);

// Overwrites what was given, but for what needs the model or the data: the task, the base, the
// length of rows, class weights, batch and steps. Throws Error{usage} for names that do not exist.
void apply_arguments(RunDescription& run, const FinetuneArguments& arguments);

// The learning rate where none is given, for a model of so many channels.
double default_learning_rate(TrainedPart part, int64_t channels);

}  // namespace llm
