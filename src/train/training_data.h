// What a trainer learns from: the batches of one step after the other.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/example_batches.h"
#include "data/loader.h"
#include "train/evaluation.h"

namespace llm {

// The micro-batches of a step for one rank.
struct StepBatches {
  std::vector<Batch> micro_batches;
  int64_t tokens = 0;  // of all ranks, padding not counted
};

class TrainingData {
 public:
  virtual ~TrainingData() = default;
  // Goes to the step whose first sample is the global one of this number.
  virtual void begin(int64_t samples) = 0;
  // The batches of a step and of those after it, one call each.
  virtual StepBatches next() = 0;
  // What share of the first samples came from each part of a mixture; null where there is none.
  virtual Json mixture(int64_t /*samples*/) const { return nullptr; }
};

// How the batches of a step are dealt out.
struct StepShape {
  int64_t batch = 0;          // rows of a micro-batch
  int64_t rows_per_step = 0;  // of all micro-batches and ranks; batch x ranks divides it
  int rank = 0, ranks = 1;

  int64_t micro_batches() const { return rows_per_step / (batch * ranks); }
};

// Windows of token sequences: pretraining.
class WindowData : public TrainingData {
 public:
  WindowData(const SampleSource& samples, const StepShape& shape);
  void begin(int64_t samples) override;
  StepBatches next() override;
  Json mixture(int64_t samples) const override;

 private:
  const SampleSource& samples_;
  StepShape shape_;
  std::optional<BatchLoader> loader_;
};

// Examples in epochs: fine-tuning. `batches` has steps of shape.rows_per_step rows.
class ExampleData : public TrainingData {
 public:
  ExampleData(ExampleBatches& batches, const StepShape& shape);
  void begin(int64_t samples) override { step_ = samples / shape_.rows_per_step; }
  StepBatches next() override;

 private:
  ExampleBatches& batches_;
  StepShape shape_;
  int64_t step_ = 0;
};

// A validation split and its weight in the validation loss.
struct ValidationPart {
  std::string name;
  double weight = 1;
  std::function<EvaluationResult(Workspace&)> evaluate;
};

// The first most_batches batches (0: all) of a split of tokens, which must live longer.
ValidationPart window_validation(const std::string& name, double weight,
                                 const EvaluationSource& source, int64_t most_batches);

}  // namespace llm
