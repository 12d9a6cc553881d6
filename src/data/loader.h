// Batches for training and evaluation. A batch is a pure function of (seed, global sample index),
// so that a resumed run and another number of ranks see the same samples.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/shard.h"

namespace llm {

// B sequences of T tokens; targets are the tokens one later. What is below sample_ids is for
// fine-tuning and empty where it is not used.
struct Batch {
  // A target that does not count in the loss, and the label of a row that has none.
  static constexpr int32_t kIgnored = -100;

  int64_t batch = 0, length = 0;
  std::vector<int32_t> tokens;      // (B, T)
  std::vector<int32_t> targets;     // (B, T), -100: ignored
  std::vector<int64_t> sample_ids;  // (B) global sample index
  // Of rows with several sequences: the position of each token in its sequence, and where in the
  // B * T tokens the N sequences begin; the last offset is B * T.
  std::vector<int32_t> positions = {};         // (B, T); empty: 0 ... T - 1 in each row
  std::vector<int32_t> sequence_offsets = {};  // (N + 1)
  // Of texts with labels.
  std::vector<int32_t> labels = {};   // (B), -100: none
  std::vector<int32_t> lengths = {};  // (B) tokens before the padding, at least 1
};

// One dataset of a weighted mixture. Weights are relative; they need not add up to 1.
struct MixturePart {
  std::string name;
  const Dataset* dataset = nullptr;
  double weight = 1;
};

// The training samples: a pure function of (parts, length, seed, index).
//
// Windows. A part with N tokens has W = floor((N - 1) / T) windows of T + 1 tokens in each epoch.
// Epoch e lays a grid with offset o_e over it, window k beginning at o_e + k T, where o_0 = 0 and
// later offsets are drawn from [0, T), so that later epochs see other boundaries. Where the last
// window of a shifted grid would reach past the end, it begins at 0 instead and so covers the head
// that the shift leaves out. Within an epoch every window appears exactly once, in an order that is
// computed (permute_index), not stored.
//
// Mixtures. A fixed schedule of kScheduleSlots samples says which part each comes from; it repeats.
// After any number of samples each part is less than one sample away from its share, so even one
// batch has nearly the right proportions. Shares are rounded to the schedule, never to zero.
class SampleSource {
 public:
  static constexpr int64_t kScheduleSlots = int64_t{1} << 16;

  // Throws Error{input} where a part has no full window of length + 1 tokens, and Error{usage} for
  // weights that are not positive numbers.
  SampleSource(std::vector<MixturePart> parts, int64_t length, uint64_t seed);

  // Fills one row: tokens and targets of `length` each, for a global sample index >= 0. Safe to
  // call from several threads at once.
  void fill(int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets) const;
  // The part that a sample comes from, and how many of the samples before it came from each part.
  int64_t part_of(int64_t sample) const;
  std::vector<int64_t> counts_before(int64_t sample) const;
  // Windows in one epoch, summed over the parts (of the single part without a mixture).
  int64_t samples_per_epoch() const;

  int64_t length() const { return length_; }
  std::span<const MixturePart> parts() const { return parts_; }
  // Where in the tokens of its part the window of a sample begins.
  int64_t window_begin(int64_t sample) const;

 private:
  // The how-manieth sample of its part this one is.
  int64_t index_in_part(int64_t sample) const;

  std::vector<MixturePart> parts_;
  std::vector<int64_t> windows_;  // per part: in one epoch
  std::vector<int64_t> slots_;    // per part: in the schedule
  struct Slot {
    int32_t part;
    int32_t before;  // slots of the same part before this one
  };
  std::vector<Slot> schedule_;  // empty for a single part
  int64_t length_;
  uint64_t seed_;
};

// Reads ahead on a thread, a few batches far. Batch k of rank r holds the samples
// first + (k * ranks + r) * batch + b. Errors of the thread are rethrown by next(). The source must
// live longer.
class BatchLoader {
 public:
  BatchLoader(const SampleSource& source, int64_t batch, int64_t length, int64_t first_sample,
              int rank = 0, int ranks = 1);
  ~BatchLoader();
  Batch next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Evaluation: the split front to back in windows of `length`, each token a target exactly once; the
// last window may be short and is padded with ignored targets. The first token of the split has no
// predecessor and is no target, so that a split of N tokens has N - 1 targets; none for N < 2.
class EvaluationSource {
 public:
  EvaluationSource(const TokenSequence& tokens, int64_t length);
  int64_t windows() const { return windows_; }
  int64_t batches(int64_t batch) const { return (windows_ + batch - 1) / batch; }
  int64_t targets() const;
  // Batch i of windows [i*batch, ...) in order; rows past the end are all ignored targets.
  Batch batch(int64_t index, int64_t batch) const;

 private:
  const TokenSequence* tokens_;
  int64_t length_, windows_;
};

}  // namespace llm
