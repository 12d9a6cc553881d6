// A whole run of fine-tuning: run folder, model, examples, trainer, root weights, final figures.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "backend/comm.h"
#include "base/file.h"
#include "data/example_batches.h"
#include "text/tokenizer.h"
#include "train/confusion.h"
#include "train/finetune_data.h"
#include "train/options.h"
#include "train/trainer.h"
#include "train/workspace.h"

namespace llm {

struct FinetuneJob {
  RunDescription run;  // options complete and validated, run.finetune there
  fs::path folder;
  bool resume = false;
  bool retune = false;
  FinetuneData data;  // tokenized
  const Tokenizer* tokenizer = nullptr;
  fs::path responses;  // to the test part; empty: none are written
  bool merge = false;  // adapters: write a whole model to RUN/merged as well

  const FinetuneOptions& finetune() const { return *run.finetune; }
};

// The batches of a part: of training shuffled by epoch, else in order.
std::unique_ptr<ExampleBatches> batches_of(const ExamplePart& part, const FinetuneJob& job,
                                           bool training);
// The tokens of every row of training, or of the longest one.
int64_t row_length(const FinetuneData& data, const FinetuneOptions& finetune,
                   const ModelConfig& config);
// The objective of a task.
std::unique_ptr<Objective> objective_of(FinetuneTask task);
// What device memory is needed for, beside the numbers of the options.
Workload workload_of(const FinetuneJob& job);

// Of a part at the end of the run.
struct PartFigures {
  std::string name;
  double loss = 0;
  std::optional<ConfusionMatrix> confusion;  // of a classifier
};

struct FinetuneOutcome {
  TrainSummary summary;
  std::vector<PartFigures> parts;  // those that have rows
  int64_t trainable_parameters = 0;
  int64_t responses = 0;  // written
};

// Numbers of parameters for a model with this config, without its memory.
struct ParameterCounts {
  int64_t all = 0, trained = 0;
};
ParameterCounts count_parameters(const Backend& backend, const FinetuneJob& job);

// Throws as run_pretraining().
FinetuneOutcome run_finetuning(const FinetuneJob& job, Backend& backend, Comm& comm);

}  // namespace llm
