// What the command lines of `llm pretrain` and `llm finetune` have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "train/options.h"

namespace llm {

// An option that was not given is empty, so that a resumed run keeps what it began with.
struct TrainingArguments {
  std::string output;
  std::optional<int64_t> steps, warmup, seed;
  std::optional<double> epochs, dropout, lr, min_lr, decay_share, weight_decay, beta1, beta2,
      grad_clip;
  std::optional<std::string> schedule, dtype, attention;
  std::optional<int64_t> eval_every, eval_batches, sample_every, save_every, keep;
  std::optional<double> memory_limit;  // GiB
  bool keep_best = false, recompute = false;

  bool resume = false, dry_run = false, retune = false, json = false;
  std::string device = "auto";
  double timeout = 300;
};

template <typename T, typename U>
void take(T& value, const std::optional<U>& given) {
  if (given) value = static_cast<T>(*given);
}

// Those whose text and default are the same for both: how the learning rate changes, which
// checkpoints stay, and how and on what a run computes.
void add_schedule_options(CLI::App& command, TrainingArguments& a, const std::string& group);
void add_checkpoint_options(CLI::App& command, TrainingArguments& a, const std::string& group);
void add_device_options(CLI::App& command, TrainingArguments& a, const std::string& group);
// Of those, what a single process that only measures knows too.
void add_computing_options(CLI::App& command, TrainingArguments& a, const std::string& group);

// Overwrites what was given, but for what depends on the data or on other options: steps, epochs,
// warm-up, min_lr, dropout and how often something is done. Throws Error{usage} for names that do
// not exist.
void apply_training_arguments(TrainOptions& options, const TrainingArguments& a);

// The device of --device with the types and limits that the arguments want; stored: what a resumed
// run began with, for what was not given. Throws Error{usage} for names that do not exist and for
// options that the device has no use for, and what make_backend() throws.
std::unique_ptr<Backend> open_backend(const TrainingArguments& arguments,
                                      const TrainOptions& stored);

}  // namespace llm
