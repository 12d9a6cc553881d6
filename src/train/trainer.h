// The training loop: steps, evaluations, samples, checkpoints, stop requests.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/progress.h"
#include "train/checkpoint.h"
#include "train/options.h"
#include "train/run_folder.h"
#include "train/train_state.h"
#include "train/training_data.h"
#include "train/workspace.h"

namespace llm {

// What the model wrote, and what it was asked.
struct TextSample {
  std::string prompt, text;
};

// What a run is made of. Everything outlives the trainer; only rank 0 uses `folder`.
struct TrainerParts {
  const TrainOptions& options;
  Workspace& workspace;
  TrainingData& data;
  const std::vector<ValidationPart>& validation;
  const CheckpointForm& form;  // what checkpoints hold
  RunFolder& folder;
  // What the model as it is makes of some prompts; empty: no samples.
  std::function<std::vector<TextSample>(int64_t step)> sample;
  // Tokens per second if all devices multiplied at their peak, for the model FLOP utilization
  // (MFU); 0: not known.
  double peak_rate = 0;
};

struct TrainSummary {
  int64_t steps = 0, tokens = 0;  // since the beginning of the run
  double train_loss = 0;          // mean of the last steps (kTrainLossSteps)
  double val_loss = 0, best_val_loss = 0;
  int64_t best_step = -1;  // -1: there was nothing to evaluate
  int64_t skipped = 0;
  double tokens_per_second = 0;  // of this process's training steps
  double seconds = 0;            // of this process
};

// What Trainer::run() throws after a stop request was served: how far it came.
class PreemptedRun : public Error {
 public:
  PreemptedRun(const std::string& folder, const std::string& stopped_by, TrainSummary summary);

  const std::string& stopped_by() const { return stopped_by_; }  // "SIGTERM", "another process"
  const TrainSummary& summary() const { return summary_; }

 private:
  std::string stopped_by_;
  TrainSummary summary_;
};

class Trainer {
 public:
  static constexpr int64_t kTrainLossSteps = 50;
  static constexpr int64_t kMostBadInARow = 3;

  // Not resumed: TrainState{} and initial weights. Resumed: what load_checkpoint() gave.
  Trainer(const TrainerParts& parts, const TrainState& state, bool resumed);

  // Trains up to options.steps. Throws PreemptedRun after a stop request (StopSignals) was
  // served, Error{numerics} after three steps in a row without a finite loss or on a spike with
  // --on-spike stop, Error{disk} if the last checkpoint cannot be saved.
  TrainSummary run();

  const TrainState& state() const { return state_; }

 private:
  using Clock = std::chrono::steady_clock;

  // A step that is queued and whose result is not read yet.
  struct Pending {
    int64_t step = -1;
    float limit = 0;                 // the loss limit it runs under
    int64_t tokens = 0, so_far = 0;  // trained on, in it and up to its end
    Clock::time_point queued;        // when queueing it returned
  };

  void train();
  void enqueue(int64_t step);
  void settle(const Pending& pending);
  void note_bad_step(const Pending& pending, const StepResult& result, bool finite);
  void pause(int64_t step, bool last, const char* stopped_by);
  bool due(int64_t every, int64_t step, bool last) const;
  void evaluate_now();
  void sample_now();
  void save_now(bool must_succeed);
  void save_and_log();
  bool stop_requested();
  [[noreturn]] void leave(const char* stopped_by);  // what is done is saved: PreemptedRun
  TrainSummary summary() const;
  void show_step(const Pending& pending, const StepResult& result);
  double elapsed() const;
  bool writes() const { return parts_.workspace.comm.rank() == 0; }

  TrainerParts parts_;
  const TrainOptions& options_;
  Schedule schedule_;
  TrainState state_;
  bool resumed_;
  RunLog log_;
  Progress progress_;
  int64_t saved_step_ = -1;  // the newest step that is on disk
  Pending pending_;
  Clock::time_point began_, last_done_;
  double step_seconds_ = 0;  // spent in steps by this process
  int64_t step_tokens_ = 0;  // trained on by this process
  double smoothed_rate_ = 0;
};

}  // namespace llm
