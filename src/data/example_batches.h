// Batches of examples for fine-tuning: a pure function of the examples, the options, and the number
// of the batch.
//
// An epoch has every example exactly once, in an order of its own. It is dealt out in steps of
// step_rows rows, what all ranks learn from together, and a step is cut into batches; so the number
// of ranks and the size of a batch do not change which examples a step has. As for pretraining,
// batch k of rank r is the global batch k * ranks + r. The last step of an epoch may have fewer
// examples: its other rows are padding, whose targets and labels do not count.
//
// Buckets. The shuffled examples are sorted by length within windows of kBucketSteps steps, so that
// those of a step are about equally long; then the steps are shuffled, but for the last one.
//
// Packing. Windows of kPackExamples shuffled examples are laid into rows of `length` tokens, the
// longest example first, each into the first row with room for it. The rows are laid once; each
// epoch shuffles them anew. A row's padding is one more sequence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/examples.h"
#include "data/loader.h"

namespace llm {

struct ExampleBatchOptions {
  int64_t batch = 8;      // rows of a batch
  int64_t step_rows = 0;  // rows of a step, a multiple of `batch`; 0: `batch`
  uint64_t seed = 42;
  bool shuffle = true;  // false: the examples in order (with buckets by length) in every epoch
  bool bucket = true;
  bool pack = false;        // several examples in a row; needs `length`, excludes `bucket`
  int64_t length = 0;       // tokens of every row; 0: those of the longest example of the batch
  int64_t multiple_of = 8;  // with `length` 0: rounded up to it
  // With `length` 0: the most tokens of a row (the context), also where that is no such multiple.
  int64_t max_length = INT64_MAX;
  TokenId pad_id = 0;
};

class ExampleBatches {
 public:
  static constexpr int64_t kBucketSteps = 32;
  static constexpr int64_t kPackExamples = 4096;

  // The examples must live longer. All have targets, or all have labels or none; no one is longer
  // than a row may be. Not for several threads at once: the plan of the last epoch is kept.
  ExampleBatches(std::span<const TokenizedExample> examples, const ExampleBatchOptions& options);

  // A multiple of the batches in a step.
  int64_t batches_per_epoch() const { return steps_per_epoch_ * batches_per_step_; }
  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  int64_t examples() const { return static_cast<int64_t>(examples_.size()); }

  // The global batch `index` of all epochs. Its sample ids are epoch * examples() + the index of
  // the example (the first one in a packed row), and -1 for rows that are padding.
  Batch batch(int64_t index);
  // Its tokens, padding not counted.
  int64_t tokens_of(int64_t index);

  // The most sequences of a packed batch, its padding counted: what sequence_offsets needs room
  // for.
  int64_t most_sequences() const { return options_.batch * most_sequences_in_row_; }
  // The longest row of any batch.
  int64_t longest_row() const;

  struct Padding {
    int64_t tokens = 0;     // of examples
    int64_t positions = 0;  // of all rows, padding rows included
    double share() const {
      return positions == 0 ? 0 : 1 - static_cast<double>(tokens) / static_cast<double>(positions);
    }
  };
  Padding padding(int64_t epoch);

 private:
  using Row = std::vector<int64_t>;  // indices of examples; empty: padding

  void pack_rows();
  void plan(int64_t epoch);
  std::vector<size_t> order_rows(int64_t epoch) const;
  std::span<const Row> rows_of_batch(int64_t index);  // fewer than a batch has at the end
  int64_t length_of(const Row& row) const;
  int64_t length_of_batch(std::span<const Row> rows) const;
  void fill_row(Batch& batch, int64_t row, const Row& examples, int64_t epoch) const;
  void add_sequence(Batch& batch, int64_t begin, int64_t end) const;

  std::span<const TokenizedExample> examples_;
  ExampleBatchOptions options_;
  std::vector<Row> rows_;  // of every epoch, before they are ordered
  int64_t steps_per_epoch_ = 0, batches_per_step_ = 1, most_sequences_in_row_ = 1;
  bool with_labels_ = false;
  int64_t planned_epoch_ = -1;
  std::vector<Row> planned_;  // rows in the order of the planned epoch
};

}  // namespace llm
