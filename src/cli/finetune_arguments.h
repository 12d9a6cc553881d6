// The command line of `llm finetune`: what was given, and what was not.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "train/options.h"

namespace llm {

// An option that was not given is empty, so that a resumed run keeps what it began with.
struct FinetuneArguments {
  std::string model, output;
  std::optional<std::string> task;

  std::string train, validation, test, quoting, header, text_column, label_column;
  std::optional<std::string> split, split_order, class_weights;
  bool balance = false, skip_bad_rows = false;
  std::optional<int64_t> max_length;

  std::optional<std::string> trained, pool, init;
  std::optional<double> dropout;
  std::optional<std::string> format, responses;
  bool mask_prompt = false, pack = false;
  std::optional<int64_t> answers, answer_tokens;

  std::optional<int64_t> lora_rank;
  std::optional<double> lora_alpha, lora_dropout;
  std::optional<std::string> lora_targets;
  bool merge = false;

  std::optional<int64_t> batch, total_batch, steps, warmup, seed;
  std::optional<double> epochs, lr, min_lr, decay_share, weight_decay, beta1, beta2, grad_clip;
  std::optional<std::string> schedule, dtype, attention;
  std::optional<int64_t> eval_every, eval_batches, sample_every, save_every, keep;
  std::optional<double> memory_limit;  // GiB
  bool keep_best = false, recompute = false;

  bool resume = false, dry_run = false, retune = false, json = false;
  std::string device = "auto";
  double timeout = 300;
};

void add_finetune_options(CLI::App& command, FinetuneArguments& arguments);

// Overwrites what was given, but for what needs the model or the data: the task, the base, the
// length of rows, class weights, batch and steps. Throws Error{usage} for names that do not exist.
void apply_arguments(RunDescription& run, const FinetuneArguments& arguments);

// The learning rate where none is given, for a model of so many channels.
double default_learning_rate(TrainedPart part, int64_t channels);

}  // namespace llm
