#include "data/example_batches.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/integer.h"
#include "base/rng.h"

namespace llm {
namespace {

// A computed permutation of [0, count), one for each (seed, what, epoch).
std::vector<size_t> shuffled(size_t count, uint64_t seed, const char* what, int64_t epoch) {
  const uint64_t stream = Random(seed, stream_id(what)).bits64(static_cast<uint64_t>(epoch));
  std::vector<size_t> order(count);
  for (size_t i = 0; i < count; ++i) order[i] = permute_index(i, count, seed, stream);
  return order;
}

std::vector<size_t> in_order(size_t count) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  return order;
}

// Shuffles the blocks of `size` elements, but for the last one if it is smaller.
std::vector<size_t> shuffle_blocks(const std::vector<size_t>& order, size_t size, uint64_t seed,
                                   int64_t epoch) {
  const size_t blocks = order.size() / size;
  std::vector<size_t> result;
  result.reserve(order.size());
  for (const size_t block : shuffled(blocks, seed, "order of steps", epoch)) {
    const auto begin = order.begin() + static_cast<std::ptrdiff_t>(block * size);
    result.insert(result.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
  }
  result.insert(result.end(), order.begin() + static_cast<std::ptrdiff_t>(blocks * size),
                order.end());
  return result;
}

}  // namespace

ExampleBatches::ExampleBatches(std::span<const TokenizedExample> examples,
                               const ExampleBatchOptions& options)
    : examples_(examples), options_(options) {
  if (options_.step_rows == 0) options_.step_rows = options_.batch;
  LLM_ASSERT(options_.batch > 0 && options_.step_rows % options_.batch == 0);
  LLM_ASSERT(options_.length >= 0 && options_.multiple_of > 0 && !examples.empty());
  LLM_ASSERT(!options_.pack || (options_.length > 0 && !options_.bucket));
  const int64_t most = options_.length > 0 ? options_.length : options_.max_length;
  const bool with_targets = !examples[0].targets.empty();
  for (const TokenizedExample& example : examples) {
    LLM_ASSERT(!example.tokens.empty() && static_cast<int64_t>(example.tokens.size()) <= most,
               "line {}: {} tokens in rows of {}", example.line, example.tokens.size(), most);
    LLM_ASSERT(example.targets.size() == (with_targets ? example.tokens.size() : 0));
  }
  with_labels_ = !with_targets;
  LLM_ASSERT(!(with_labels_ && options_.pack), "texts with labels have rows of their own");
  batches_per_step_ = options_.step_rows / options_.batch;
  if (options_.pack) {
    pack_rows();
  } else {
    for (int64_t i = 0; i < this->examples(); ++i) rows_.push_back({i});
  }
  const auto rows = static_cast<int64_t>(rows_.size());
  steps_per_epoch_ = (rows + options_.step_rows - 1) / options_.step_rows;
}

// First fit, the longest first: with it a row is left with so little room that the examples of a
// window hardly ever need a row more than the sum of their lengths does.
void ExampleBatches::pack_rows() {
  const size_t count = examples_.size();
  const std::vector<size_t> order =
      options_.shuffle ? shuffled(count, options_.seed, "windows of packing", 0) : in_order(count);
  for (size_t begin = 0; begin < count; begin += kPackExamples) {
    const size_t end = std::min(count, begin + static_cast<size_t>(kPackExamples));
    std::vector<size_t> window(order.begin() + static_cast<std::ptrdiff_t>(begin),
                               order.begin() + static_cast<std::ptrdiff_t>(end));
    std::stable_sort(window.begin(), window.end(), [&](size_t a, size_t b) {
      return examples_[a].tokens.size() > examples_[b].tokens.size();
    });
    const size_t first = rows_.size();
    std::vector<int64_t> room;  // of the rows of this window
    for (const size_t index : window) {
      const auto tokens = static_cast<int64_t>(examples_[index].tokens.size());
      const auto fits =
          std::find_if(room.begin(), room.end(), [&](int64_t left) { return left >= tokens; });
      const auto at = static_cast<size_t>(fits - room.begin());
      if (fits == room.end()) {
        room.push_back(options_.length);
        rows_.emplace_back();
      }
      room[at] -= tokens;
      rows_[first + at].push_back(static_cast<int64_t>(index));
    }
  }
  for (const Row& row : rows_) {
    const int64_t padding = length_of(row) < options_.length ? 1 : 0;
    most_sequences_in_row_ =
        std::max(most_sequences_in_row_, static_cast<int64_t>(row.size()) + padding);
  }
}

int64_t ExampleBatches::length_of(const Row& row) const {
  int64_t length = 0;
  for (const int64_t index : row) {
    length += static_cast<int64_t>(examples_[static_cast<size_t>(index)].tokens.size());
  }
  return length;
}

std::vector<size_t> ExampleBatches::order_rows(int64_t epoch) const {
  std::vector<size_t> order =
      options_.shuffle ? shuffled(rows_.size(), options_.seed, "order of examples", epoch)
                       : in_order(rows_.size());
  if (!options_.bucket) return order;
  const auto step = static_cast<size_t>(options_.step_rows);
  const size_t window = options_.shuffle ? step * kBucketSteps : order.size();
  for (size_t begin = 0; begin < order.size(); begin += window) {
    const size_t end = std::min(order.size(), begin + window);
    std::stable_sort(order.begin() + static_cast<std::ptrdiff_t>(begin),
                     order.begin() + static_cast<std::ptrdiff_t>(end),
                     [&](size_t a, size_t b) { return length_of(rows_[a]) < length_of(rows_[b]); });
  }
  return options_.shuffle ? shuffle_blocks(order, step, options_.seed, epoch) : order;
}

void ExampleBatches::plan(int64_t epoch) {
  if (planned_epoch_ == epoch) return;
  planned_.clear();
  for (const size_t row : order_rows(epoch)) planned_.push_back(rows_[row]);
  planned_epoch_ = epoch;
}

std::span<const ExampleBatches::Row> ExampleBatches::rows_of_batch(int64_t index) {
  plan(index / batches_per_epoch());
  const auto rows = static_cast<int64_t>(planned_.size());
  const int64_t begin = std::min(rows, index % batches_per_epoch() * options_.batch);
  const int64_t count = std::min(options_.batch, rows - begin);
  return std::span(planned_).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
}

int64_t ExampleBatches::length_of_batch(std::span<const Row> rows) const {
  if (options_.length > 0) return options_.length;
  int64_t longest = 1;
  for (const Row& row : rows) longest = std::max(longest, length_of(row));
  return std::min(round_up(longest, options_.multiple_of), options_.max_length);
}

int64_t ExampleBatches::longest_row() const { return length_of_batch(rows_); }

void ExampleBatches::add_sequence(Batch& batch, int64_t begin, int64_t end) const {
  if (begin == end) return;
  batch.sequence_offsets.push_back(static_cast<int32_t>(end));
  for (int64_t i = 0; i < end - begin; ++i) batch.positions.push_back(static_cast<int32_t>(i));
}

void ExampleBatches::fill_row(Batch& batch, int64_t row, const Row& examples, int64_t epoch) const {
  const int64_t begin = row * batch.length;
  int64_t at = begin;
  for (const int64_t index : examples) {
    const TokenizedExample& example = examples_[static_cast<size_t>(index)];
    std::copy(example.tokens.begin(), example.tokens.end(), batch.tokens.begin() + at);
    std::copy(example.targets.begin(), example.targets.end(), batch.targets.begin() + at);
    const auto tokens = static_cast<int64_t>(example.tokens.size());
    if (options_.pack) add_sequence(batch, at, at + tokens);
    at += tokens;
    if (with_labels_) batch.labels[static_cast<size_t>(row)] = example.label;
  }
  if (options_.pack) add_sequence(batch, at, begin + batch.length);
  if (with_labels_) batch.lengths[static_cast<size_t>(row)] = static_cast<int32_t>(at - begin);
  batch.sample_ids[static_cast<size_t>(row)] = epoch * this->examples() + examples.front();
}

Batch ExampleBatches::batch(int64_t index) {
  LLM_ASSERT(index >= 0);
  const std::span<const Row> rows = rows_of_batch(index);
  Batch result{options_.batch, length_of_batch(rows), {}, {}, {}};
  const auto size = static_cast<size_t>(result.batch * result.length);
  LLM_ASSERT(result.batch * result.length <= INT32_MAX);
  result.tokens.assign(size, options_.pad_id);
  result.targets.assign(size, Batch::kIgnored);
  result.sample_ids.assign(static_cast<size_t>(result.batch), -1);
  if (options_.pack) result.sequence_offsets = {0};
  if (with_labels_) {
    result.labels.assign(static_cast<size_t>(result.batch), Batch::kIgnored);
    result.lengths.assign(static_cast<size_t>(result.batch), 1);
  }
  for (int64_t row = 0; row < result.batch; ++row) {
    if (row < static_cast<int64_t>(rows.size())) {
      fill_row(result, row, rows[static_cast<size_t>(row)], index / batches_per_epoch());
    } else if (options_.pack) {
      add_sequence(result, row * result.length, (row + 1) * result.length);
    }
  }
  return result;
}

int64_t ExampleBatches::tokens_of(int64_t index) {
  int64_t tokens = 0;
  for (const Row& row : rows_of_batch(index)) tokens += length_of(row);
  return tokens;
}

ExampleBatches::Padding ExampleBatches::padding(int64_t epoch) {
  Padding result;
  for (int64_t i = 0; i < batches_per_epoch(); ++i) {
    const std::span<const Row> rows = rows_of_batch(epoch * batches_per_epoch() + i);
    for (const Row& row : rows) result.tokens += length_of(row);
    result.positions += options_.batch * length_of_batch(rows);
  }
  return result;
}

}  // namespace llm
