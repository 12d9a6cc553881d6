// A small training run in this process, for tests of trainer and checkpoints.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "support/temporary_directory.h"
#include "train/checkpoint.h"
#include "train/pretrain.h"
#include "train/trainer.h"

namespace llm::test {

// One layer of 16 channels over sequences of 16 characters; 4 sequences per step in 2
// micro-batches; a checkpoint and an evaluation every 5 steps.
TrainOptions small_options();

// Everything a Trainer needs, in a temporary folder.
class SmallRun {
 public:
  explicit SmallRun(const TrainOptions& options = small_options(), Objective* objective = nullptr);

  // A fresh model, step 0.
  void initialize();
  // Weights, moments and update count of the newest good checkpoint; the log is cut to it.
  TrainState resume();
  // Trains from `state`; another trainer on the same folder may follow.
  TrainSummary train(const TrainState& state = {});

  // SHA-256 over all values and moments, padding left out.
  std::string tensors_hash() const;
  std::vector<Json> log() const;
  fs::path checkpoints() const { return folder_->checkpoints(); }
  Workspace& workspace() { return *workspace_; }
  TrainOptions& options() { return options_; }
  void set_peak_rate(double tokens_per_second) { peak_rate_ = tokens_per_second; }
  // Of the last train(), also when it threw.
  const TrainState& state() const { return state_; }
  const RunFolder& folder() const { return *folder_; }

 private:
  TemporaryDirectory directory_;
  TrainOptions options_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Comm> comm_;
  NextToken next_token_;
  Dataset dataset_;
  std::unique_ptr<SampleSource> samples_;
  std::vector<ValidationPart> validation_;
  std::unique_ptr<RunFolder> folder_;
  std::unique_ptr<Workspace> workspace_;
  TrainState state_;
  bool resumed_ = false;
  double peak_rate_ = 0;
};

// Records without what differs between two runs: times, speeds.
std::vector<Json> without_times(std::vector<Json> records);

// Changes one byte of a file, or cuts it to half its size.
void flip_byte(const fs::path& path);
void truncate_half(const fs::path& path);

}  // namespace llm::test
