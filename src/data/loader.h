// Batches for training and evaluation. A batch is a pure function of (seed, global sample index),
// so that a resumed run and another number of ranks see the same samples.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/shard.h"

namespace llm {

// B sequences of T tokens; targets are the tokens one later.
struct Batch {
  int64_t batch = 0, length = 0;
  std::vector<int32_t> tokens;      // (B, T)
  std::vector<int32_t> targets;     // (B, T), -100: ignored
  std::vector<int64_t> sample_ids;  // (B) global sample index
};

// One dataset of a weighted mixture. Weights are relative; they need not add up to 1.
struct MixturePart {
  std::string name;
  const Dataset* dataset = nullptr;
  double weight = 1;
};

// The training samples. Windows start at multiples of `length` (an epoch-dependent offset shifts
// the grid so that later epochs see other boundaries); within an epoch of a part every window
// appears exactly once, in a permuted order that is computed, not stored.
class SampleSource {
 public:
  // Throws Error{input} where a part has no full window of length + 1 tokens.
  SampleSource(std::vector<MixturePart> parts, int64_t length, uint64_t seed);

  // Fills one row: tokens and targets of `length` each, for a global sample index >= 0.
  void fill(int64_t sample, std::span<int32_t> tokens, std::span<int32_t> targets) const;
  // The part that a sample comes from, and how many of the samples before it came from each part.
  int64_t part_of(int64_t sample) const;
  std::vector<int64_t> counts_before(int64_t sample) const;
  // Windows in one epoch, summed over the parts (of the single part without a mixture).
  int64_t samples_per_epoch() const;

 private:
  struct Part;
  std::vector<Part> parts_state_;
  int64_t length_;
  uint64_t seed_;
};

// Reads ahead on a thread. Batch k of rank r holds the samples first + (k * ranks + r) * batch + b.
// Errors of the thread are rethrown by next().
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
// last window may be short and is padded with ignored targets. batches(B) = how many batches.
class EvaluationSource {
 public:
  EvaluationSource(const TokenSequence& tokens, int64_t length);
  int64_t windows() const { return windows_; }
  // Batch i of windows [i*batch, ...) in order; rows past the end are all ignored targets.
  Batch batch(int64_t index, int64_t batch) const;

 private:
  const TokenSequence* tokens_;
  int64_t length_, windows_;
};

}  // namespace llm
