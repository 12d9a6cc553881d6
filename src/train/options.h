// Everything that decides a run, and its form in run.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/dtype.h"
#include "base/file.h"
#include "base/json.h"
#include "model/config.h"
#include "train/finetune_options.h"
#include "train/schedule.h"

namespace llm {

// What happens when a loss is far above those before it (see train/spike_window.h).
enum class SpikeAction { skip, stop, ignore };
std::string spike_action_name(SpikeAction action);
SpikeAction spike_action_from_name(const std::string& name, const std::string& where);

// A dataset of the mixture and what identifies it.
struct DataPart {
  std::string name, path;
  double weight = 1;
  std::string hash;            // of the tokens
  std::string tokenizer_hash;  // empty where unknown
  int64_t train_tokens = 0, val_tokens = 0;
};

struct TrainOptions {
  ModelConfig model;
  std::string init = "random";  // or the folder of a model
  std::vector<DataPart> data;
  std::string dtype = "f32";  // or tf32, bf16
  DType compute_dtype() const { return dtype == "bf16" ? DType::bf16 : DType::f32; }
  bool recompute = false;          // activations, to save memory
  std::string attention = "auto";  // own, cudnn, auto: the faster one; only where there is a choice

  int64_t length = 0;              // tokens per sequence
  int64_t batch = 12;              // sequences per micro-batch and rank
  int64_t total_batch_tokens = 0;  // tokens per step, over all ranks and micro-batches
  int64_t steps = 0;
  int64_t decay_steps = 0;  // length of the schedule; 0: `steps`

  double lr = 6e-4, min_lr = 6e-5;
  int64_t warmup = 0;
  ScheduleKind schedule = ScheduleKind::cosine;
  double decay_share = 0.2;
  double weight_decay = 0.1, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, grad_clip = 1;
  SpikeAction on_spike = SpikeAction::skip;
  int64_t seed = 42;

  int64_t eval_every = 250;  // 0: only at the end
  int64_t eval_batches = 0;  // 0: the whole validation split
  int64_t sample_every = 0;  // 0: never
  int64_t sample_tokens = 100;
  std::string prompt;      // empty: end-of-text
  int64_t save_every = 0;  // 0: only at the end
  int64_t keep = 2;
  bool keep_best = false;

  // Sequences per step.
  int64_t samples_per_step() const { return total_batch_tokens / length; }
  Schedule schedule_of_run() const;
};

// What --dtype and --attention may be. Throw Error{usage} for anything else.
void require_dtype_name(const std::string& name);
void require_attention_name(const std::string& name);

// Throws Error{usage} naming the option if a number makes no sense, for `ranks` processes.
void validate(const TrainOptions& options, int64_t ranks);

// What run.json holds.
struct RunDescription {
  std::string version;               // of the program that began the run
  std::vector<std::string> command;  // the command line that began it
  std::string device;                // "cpu (2 threads)"
  int64_t threads = 0;
  int64_t ranks = 1;
  std::string tokenizer_hash;  // empty: no tokenizer
  TrainOptions options;
  std::optional<FinetuneOptions> finetune;  // nothing for pretraining
  // One entry per --resume: {"step", "command", "device", "ranks"}.
  Json resumes = Json::array();
};

Json to_json(const RunDescription& run);
// Throws Error{input} with `where`.
RunDescription run_description_from_json(const Json& json, const std::string& where);
// From the text of run.json.
RunDescription parse_run_description(std::string_view text, const std::string& where);

// The options that may differ between a run and its resumption, as on the command line.
const std::vector<std::string>& changeable_options();
// Throws Error{usage} naming the first other option that differs, and both values.
void require_resumable(const TrainOptions& before, const TrainOptions& now,
                       const std::string& where);

}  // namespace llm
