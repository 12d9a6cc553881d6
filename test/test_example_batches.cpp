#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/rng.h"
#include "data/example_batches.h"
#include "support/sample_data.h"

namespace llm::test {
namespace {

using Examples = std::vector<TokenizedExample>;
constexpr TokenId kPad = 99'999;

// Example i has tokens and targets that tell which one it is: 100 i + j, and one more.
Examples numbered_examples(int64_t count, int64_t longest, bool with_labels = false) {
  RandomSequence random(7, stream_id("lengths"));
  Examples examples(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    TokenizedExample& example = examples[static_cast<size_t>(i)];
    const auto length = static_cast<int64_t>(1 + random.below(static_cast<uint64_t>(longest)));
    for (int64_t j = 0; j < length; ++j) {
      example.tokens.push_back(static_cast<TokenId>(100 * i + j));
      if (!with_labels) example.targets.push_back(static_cast<int32_t>(100 * i + j + 1));
    }
    if (with_labels) example.label = static_cast<int32_t>(i % 3);
    example.line = i + 1;
  }
  return examples;
}

ExampleBatchOptions options_of(int64_t batch, bool bucket = true, int64_t step_rows = 0) {
  ExampleBatchOptions options;
  options.batch = batch;
  options.bucket = bucket;
  options.step_rows = step_rows;
  options.pad_id = kPad;
  return options;
}

ExampleBatchOptions packed_options(int64_t batch, int64_t length) {
  ExampleBatchOptions options = options_of(batch, false);
  options.pack = true;
  options.length = length;
  return options;
}

std::vector<int32_t> row_of(const std::vector<int32_t>& all, const Batch& batch, int64_t row) {
  const auto begin = all.begin() + row * batch.length;
  return {begin, begin + batch.length};
}

// A row is one example and its padding, or padding alone. Returns the example, or -1.
int64_t check_row(const Examples& examples, const Batch& batch, int64_t row) {
  std::vector<int32_t> tokens(static_cast<size_t>(batch.length), kPad),
      targets(static_cast<size_t>(batch.length), Batch::kIgnored);
  const int64_t id = batch.sample_ids[static_cast<size_t>(row)];
  const int64_t index = id < 0 ? -1 : id % static_cast<int64_t>(examples.size());
  if (index >= 0) {
    const TokenizedExample& example = examples[static_cast<size_t>(index)];
    std::copy(example.tokens.begin(), example.tokens.end(), tokens.begin());
    std::copy(example.targets.begin(), example.targets.end(), targets.begin());
  }
  EXPECT_EQ(row_of(batch.tokens, batch, row), tokens);
  EXPECT_EQ(row_of(batch.targets, batch, row), targets);
  return index;
}

bool same(const Batch& a, const Batch& b) {
  return a.batch == b.batch && a.length == b.length && a.tokens == b.tokens &&
         a.targets == b.targets && a.sample_ids == b.sample_ids && a.positions == b.positions &&
         a.sequence_offsets == b.sequence_offsets && a.labels == b.labels && a.lengths == b.lengths;
}

TEST(ExampleBatches, EveryExampleOncePerEpoch) {
  for (const int64_t count : {1, 7, 8, 9, 100, 1000}) {
    const Examples examples = numbered_examples(count, 60);
    for (const bool bucket : {false, true}) {
      ExampleBatches batches(examples, options_of(8, bucket));
      ASSERT_EQ(batches.batches_per_epoch(), (count + 7) / 8);
      std::set<std::vector<int64_t>> orders;
      for (int64_t epoch = 0; epoch < 3; ++epoch) {
        std::vector<int64_t> seen;
        for (int64_t i = 0; i < batches.batches_per_epoch(); ++i) {
          const Batch batch = batches.batch(epoch * batches.batches_per_epoch() + i);
          ASSERT_EQ(batch.batch, 8);
          ASSERT_TRUE(batch.positions.empty() && batch.sequence_offsets.empty());
          ASSERT_TRUE(batch.labels.empty() && batch.lengths.empty());
          for (int64_t row = 0; row < 8; ++row) {
            const int64_t index = check_row(examples, batch, row);
            if (index < 0) continue;
            ASSERT_EQ(batch.sample_ids[static_cast<size_t>(row)] / count, epoch);
            seen.push_back(index);
          }
        }
        orders.insert(seen);
        std::sort(seen.begin(), seen.end());
        ASSERT_EQ(static_cast<int64_t>(seen.size()), count);
        for (int64_t i = 0; i < count; ++i) ASSERT_EQ(seen[static_cast<size_t>(i)], i);
      }
      // Each epoch has its own order; a single step that is sorted by length has but one.
      if (count >= 100) {
        EXPECT_EQ(orders.size(), 3u) << count;
      }
    }
  }
}

TEST(ExampleBatches, ABatchIsAFunctionOfItsNumber) {
  const Examples examples = numbered_examples(300, 40);
  ExampleBatchOptions options = options_of(8);
  for (const ExampleBatchOptions& each : {options, options_of(8, false), packed_options(8, 64)}) {
    ExampleBatches forward(examples, each), backward(examples, each);
    std::map<int64_t, Batch> seen;
    for (int64_t i = 0; i < 80; ++i) seen[i] = forward.batch(i);
    for (int64_t i = 79; i >= 0; --i) ASSERT_TRUE(same(backward.batch(i), seen[i])) << i;
    ExampleBatchOptions other = each;
    other.seed = 43;
    EXPECT_FALSE(same(ExampleBatches(examples, other).batch(0), seen[0]));
  }
}

// The sample ids of the steps, however they are cut into batches.
std::vector<std::vector<int64_t>> steps_of(const Examples& examples, int64_t batch, int ranks,
                                           bool pack) {
  constexpr int64_t kStepRows = 12;
  ExampleBatchOptions options = pack ? packed_options(batch, 64) : options_of(batch);
  options.step_rows = kStepRows;
  const int64_t micro_batches = kStepRows / batch / ranks;
  std::vector<std::vector<int64_t>> steps;
  ExampleBatches count(examples, options);
  for (int64_t step = 0; step < 2 * count.steps_per_epoch(); ++step) {
    std::vector<int64_t> ids;
    for (int rank = 0; rank < ranks; ++rank) {
      ExampleBatches batches(examples, options);
      for (int64_t i = 0; i < micro_batches; ++i) {
        const int64_t k = step * micro_batches + i;  // of this rank
        const Batch made = batches.batch(k * ranks + rank);
        ids.insert(ids.end(), made.sample_ids.begin(), made.sample_ids.end());
      }
    }
    std::sort(ids.begin(), ids.end());
    steps.push_back(ids);
  }
  return steps;
}

TEST(ExampleBatches, AnotherNumberOfRanksSeesTheSameSamples) {
  for (const bool pack : {false, true}) {
    for (const int64_t count : {97, 99, 105, 108}) {
      const Examples examples = numbered_examples(count, 40);
      const auto expected = steps_of(examples, 12, 1, pack);
      EXPECT_EQ(steps_of(examples, 4, 1, pack), expected);
      EXPECT_EQ(steps_of(examples, 6, 2, pack), expected);
      EXPECT_EQ(steps_of(examples, 2, 3, pack), expected);
      EXPECT_EQ(steps_of(examples, 1, 4, pack), expected);
    }
  }
}

TEST(ExampleBatches, RowsAreAsLongAsTheyNeedToBe) {
  const Examples examples = numbered_examples(500, 61);
  ExampleBatches batches(examples, options_of(4));
  std::set<int64_t> lengths;
  for (int64_t i = 0; i < batches.batches_per_epoch(); ++i) {
    const Batch batch = batches.batch(i);
    size_t longest = 0;
    for (const int64_t id : batch.sample_ids) {
      longest = std::max(longest, examples[static_cast<size_t>(id)].tokens.size());
    }
    ASSERT_EQ(batch.length, (static_cast<int64_t>(longest) + 7) / 8 * 8);
    lengths.insert(batch.length);
  }
  EXPECT_EQ(*lengths.rbegin(), batches.longest_row());
  EXPECT_GT(lengths.size(), 4u);
  ExampleBatchOptions options = options_of(4);
  options.max_length = 61;  // a context that is no multiple of 8
  EXPECT_EQ(ExampleBatches(examples, options).longest_row(), 61);
  options.multiple_of = 1;
  EXPECT_LE(ExampleBatches(examples, options).longest_row(), 61);
  options.length = 64;
  ExampleBatches fixed(examples, options);
  for (int64_t i = 0; i < fixed.batches_per_epoch(); ++i) ASSERT_EQ(fixed.batch(i).length, 64);
}

TEST(ExampleBatches, TheEndOfAnEpochIsPadded) {
  const Examples examples = numbered_examples(10, 20);
  ExampleBatchOptions options = options_of(4, true, 8);
  ExampleBatches batches(examples, options);
  ASSERT_EQ(batches.steps_per_epoch(), 2);
  ASSERT_EQ(batches.batches_per_epoch(), 4);
  const Batch last = batches.batch(2), empty = batches.batch(3);
  EXPECT_EQ(std::count(last.sample_ids.begin(), last.sample_ids.end(), -1), 2);
  EXPECT_EQ(std::count(empty.sample_ids.begin(), empty.sample_ids.end(), -1), 4);
  EXPECT_EQ(std::count(empty.targets.begin(), empty.targets.end(), Batch::kIgnored), 4 * 8);
  EXPECT_EQ(empty.length, 8);
  for (int64_t row = 0; row < 4; ++row) check_row(examples, last, row);
}

TEST(ExampleBatches, InOrderWithoutShuffling) {
  const Examples examples = numbered_examples(50, 30);
  ExampleBatchOptions options = options_of(8, false);
  options.shuffle = false;
  ExampleBatches batches(examples, options);
  for (int64_t i = 0; i < batches.batches_per_epoch(); ++i) {
    for (int64_t row = 0; row < 8; ++row) {
      const int64_t expected = 8 * i + row < 50 ? 8 * i + row : -1;
      EXPECT_EQ(batches.batch(i).sample_ids[static_cast<size_t>(row)], expected);
      EXPECT_EQ(check_row(examples, batches.batch(7 + i), row), expected);
    }
  }
  options.bucket = true;  // the shortest ones first
  ExampleBatches sorted(examples, options);
  for (int64_t i = 1; i < sorted.batches_per_epoch(); ++i) {
    EXPECT_GE(sorted.batch(i).length, sorted.batch(i - 1).length);
  }
}

TEST(ExampleBatches, LabelsAndLengths) {
  const Examples examples = numbered_examples(21, 30, true);
  ExampleBatches batches(examples, options_of(4));
  std::set<int64_t> seen;
  for (int64_t i = 0; i < batches.batches_per_epoch(); ++i) {
    const Batch batch = batches.batch(i);
    ASSERT_EQ(batch.labels.size(), 4u);
    ASSERT_EQ(batch.lengths.size(), 4u);
    for (int64_t row = 0; row < 4; ++row) {
      const auto at = static_cast<size_t>(row);
      const int64_t index = check_row(examples, batch, row);
      if (index < 0) {
        EXPECT_EQ(batch.labels[at], Batch::kIgnored);
        EXPECT_EQ(batch.lengths[at], 1);
        continue;
      }
      seen.insert(index);
      const TokenizedExample& example = examples[static_cast<size_t>(index)];
      EXPECT_EQ(batch.labels[at], example.label);
      EXPECT_EQ(batch.lengths[at], static_cast<int32_t>(example.tokens.size()));
    }
  }
  EXPECT_EQ(seen.size(), 21u);
}

// Looks at the sequences of a packed batch; adds the examples that it has to `seen`.
void check_packed(const Examples& examples, const Batch& batch, std::vector<int64_t>& seen) {
  const auto& offsets = batch.sequence_offsets;
  ASSERT_EQ(offsets.front(), 0);
  ASSERT_EQ(offsets.back(), batch.batch * batch.length);
  ASSERT_EQ(static_cast<int64_t>(batch.positions.size()), batch.batch * batch.length);
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    const auto begin = static_cast<size_t>(offsets[s]), end = static_cast<size_t>(offsets[s + 1]);
    ASSERT_LT(begin, end);
    // No sequence reaches over the end of its row.
    ASSERT_EQ(offsets[s] / batch.length, (offsets[s + 1] - 1) / batch.length);
    for (size_t i = begin; i < end; ++i) {
      ASSERT_EQ(batch.positions[i], static_cast<int32_t>(i - begin));
    }
    if (batch.tokens[begin] == kPad) {
      for (size_t i = begin; i < end; ++i) {
        ASSERT_EQ(batch.tokens[i], kPad);
        ASSERT_EQ(batch.targets[i], Batch::kIgnored);
      }
      continue;
    }
    const int64_t index = batch.tokens[begin] / 100;
    const TokenizedExample& example = examples[static_cast<size_t>(index)];
    ASSERT_EQ(end - begin, example.tokens.size());
    ASSERT_TRUE(std::equal(example.tokens.begin(), example.tokens.end(),
                           batch.tokens.begin() + offsets[s]));
    ASSERT_TRUE(std::equal(example.targets.begin(), example.targets.end(),
                           batch.targets.begin() + offsets[s]));
    seen.push_back(index);
  }
}

TEST(ExampleBatches, PackedRowsHaveEveryExampleOnce) {
  const Examples examples = numbered_examples(300, 64);
  ExampleBatches batches(examples, packed_options(4, 64));
  int64_t most = 0;
  std::set<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<int64_t> seen;
    for (int64_t i = 0; i < batches.batches_per_epoch(); ++i) {
      const Batch batch = batches.batch(epoch * batches.batches_per_epoch() + i);
      ASSERT_NO_FATAL_FAILURE(check_packed(examples, batch, seen));
      most = std::max(most, static_cast<int64_t>(batch.sequence_offsets.size()) - 1);
    }
    orders.insert(seen);
    std::sort(seen.begin(), seen.end());
    ASSERT_EQ(seen.size(), 300u);
    for (int64_t i = 0; i < 300; ++i) ASSERT_EQ(seen[static_cast<size_t>(i)], i);
  }
  EXPECT_EQ(orders.size(), 2u);
  EXPECT_LE(most, batches.most_sequences());
  EXPECT_LT(batches.padding(0).share(), 0.04);
  // All in one row, with sequences of its own for the three rows of padding.
  const Examples few = numbered_examples(3, 20);
  ExampleBatches one(few, packed_options(4, 64));
  EXPECT_EQ(one.batches_per_epoch(), 1);
  EXPECT_EQ(one.batch(0).sequence_offsets.size(), 1 + 4u + 3);
}

TEST(ExampleBatches, PaddingIsCounted) {
  Examples examples = numbered_examples(5, 1);
  examples[1].tokens.assign(17, 1);
  examples[1].targets.assign(17, 2);
  ExampleBatchOptions options = options_of(2, false);
  options.shuffle = false;
  ExampleBatches batches(examples, options);
  const ExampleBatches::Padding padding = batches.padding(0);
  EXPECT_EQ(padding.tokens, 21);
  EXPECT_EQ(padding.positions, 2 * 24 + 2 * 8 + 2 * 8);
  EXPECT_DOUBLE_EQ(padding.share(), 1 - 21.0 / 80);
}

// What buckets and packing save on real instructions: 935 of them, as the book trains on.
TEST(ExampleBatches, SavingOnTheInstructionsOfTheReference) {
  const auto instructions = sample_data("instruction-data.json"), gpt2 = sample_data("gpt2");
  if (!instructions || !gpt2) GTEST_SKIP() << "no sample data";
  const auto tokenizer = load_tokenizer(*gpt2);
  const Conversations talks = read_conversations(*instructions);
  BadRows bad;
  ConversationOptions book;
  book.format = ChatTemplate::book;
  const TokenizedExamples all = tokenize_conversations(*tokenizer, std::span(talks.all).first(935),
                                                       book, "instruction-data.json", bad);
  const auto share_of = [&](const ExampleBatchOptions& options) {
    ExampleBatches batches(all.examples, options);
    const ExampleBatches::Padding padding = batches.padding(0);
    EXPECT_EQ(padding.tokens, all.figures.tokens);
    return padding.share();
  };
  const double plain = share_of(options_of(8, false)), bucket = share_of(options_of(8));
  EXPECT_NEAR(plain, 0.235, 0.005);
  EXPECT_NEAR(bucket, 0.073, 0.005);  // most of it because rows are multiples of 8
  ExampleBatchOptions exact = options_of(8);
  exact.multiple_of = 1;
  EXPECT_LT(share_of(exact), 0.02);
  EXPECT_LT(share_of(packed_options(1, 256)), 0.06);
  EXPECT_LT(share_of(packed_options(1, 1024)), 0.03);
}

}  // namespace
}  // namespace llm::test
