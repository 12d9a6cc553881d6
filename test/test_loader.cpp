#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <set>
#include <thread>

#include "base/error.h"
#include "data/loader.h"
#include "support/dataset_files.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

constexpr int64_t kLoaderVocab = 60'000;

class LoaderTest : public testing::Test {
 protected:
  Dataset counting_dataset(const std::string& name, int64_t tokens, int64_t per_shard = 1000) {
    return make_dataset(folder_.path(), name, counting_tokens(tokens, kLoaderVocab), kLoaderVocab,
                        per_shard);
  }
  TemporaryDirectory folder_;
};

std::pair<std::vector<int32_t>, std::vector<int32_t>> row_of(const SampleSource& source,
                                                             int64_t sample) {
  std::vector<int32_t> tokens(static_cast<size_t>(source.length()), -1), targets = tokens;
  source.fill(sample, tokens, targets);
  return {tokens, targets};
}

TEST_F(LoaderTest, EveryWindowOfAnEpochOnce) {
  for (const auto& [count, length] : std::vector<std::pair<int64_t, int64_t>>{
           {2, 1}, {9, 8}, {16, 8}, {17, 8}, {1001, 10}, {1009, 10}, {5000, 64}, {4097, 1}}) {
    const Dataset dataset = counting_dataset("train", count, 700);
    const SampleSource source({{"d", &dataset, 1}}, length, 42);
    const int64_t windows = (count - 1) / length;
    ASSERT_EQ(source.samples_per_epoch(), windows);
    for (int64_t epoch = 0; epoch < 4; ++epoch) {
      std::vector<int64_t> begins;
      for (int64_t i = 0; i < windows; ++i) {
        begins.push_back(source.window_begin(epoch * windows + i));
      }
      std::sort(begins.begin(), begins.end());
      // The grid of this epoch: where its first window lies tells the offset, unless a window at 0
      // stands for one that did not fit.
      const int64_t first = begins[0];
      if (epoch == 0) {
        for (int64_t i = 0; i < windows; ++i) {
          ASSERT_EQ(begins[static_cast<size_t>(i)], i * length);
        }
        continue;
      }
      const bool moved = first == 0 && windows > 1 && begins[1] != length;
      for (size_t i = moved ? 2 : 1; i < begins.size(); ++i) {
        ASSERT_EQ(begins[i] - begins[i - 1], length);
      }
      if (windows > 1) {
        ASSERT_LT(begins[moved ? 1 : 0], length);
      }
      ASSERT_LE(begins.back() + length + 1, count);
      ASSERT_EQ(std::set<int64_t>(begins.begin(), begins.end()).size(), begins.size());
    }
  }
}

TEST_F(LoaderTest, OrderAndOffsetsDifferByEpochAndSeed) {
  const Dataset dataset = counting_dataset("train", 64 * 100 + 40);
  const SampleSource source({{"d", &dataset, 1}}, 64, 1), other({{"d", &dataset, 1}}, 64, 2);
  const int64_t windows = source.samples_per_epoch();
  const auto order = [&](const SampleSource& from, int64_t epoch) {
    std::vector<int64_t> begins;
    for (int64_t i = 0; i < windows; ++i) begins.push_back(from.window_begin(epoch * windows + i));
    return begins;
  };
  EXPECT_NE(order(source, 0), order(other, 0));
  EXPECT_NE(order(source, 0), order(source, 1));
  EXPECT_EQ(order(source, 1), order(SampleSource({{"d", &dataset, 1}}, 64, 1), 1));
  auto sorted = order(source, 0);
  EXPECT_FALSE(std::is_sorted(sorted.begin(), sorted.end()));
  std::set<int64_t> offsets;
  for (int64_t epoch = 1; epoch < 30; ++epoch) {
    for (const int64_t begin : order(source, epoch)) {
      if (begin != 0) offsets.insert(begin % 64);
    }
  }
  EXPECT_GT(offsets.size(), 15u);  // of 29 epochs with 64 possible offsets
}

TEST_F(LoaderTest, TargetsAreTheTokensOneLater) {
  const Dataset dataset = counting_dataset("train", 3001, 97);
  const SampleSource source({{"d", &dataset, 1}}, 50, 7);
  for (int64_t sample = 0; sample < 150; ++sample) {
    const auto [tokens, targets] = row_of(source, sample);
    for (size_t i = 0; i < tokens.size(); ++i) {
      ASSERT_EQ(tokens[i], source.window_begin(sample) + static_cast<int64_t>(i));
      ASSERT_EQ(targets[i], tokens[i] + 1);
    }
  }
}

TEST_F(LoaderTest, RefusesTooLittleTextAndBadWeights) {
  const Dataset dataset = counting_dataset("train", 64);
  expect_error(ErrorKind::input, "tiny: 64 training tokens, a sample needs 65", [&] {
    SampleSource({{"tiny", &dataset, 1}}, 64, 1);
  });
  EXPECT_EQ(SampleSource({{"tiny", &dataset, 1}}, 63, 1).samples_per_epoch(), 1);
  for (const double weight : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    expect_error(ErrorKind::usage, "weight", [&] {
      SampleSource({{"tiny", &dataset, weight}}, 8, 1);
    });
  }
}

TEST_F(LoaderTest, MixtureKeepsItsProportionsAtAllTimes) {
  const Dataset dataset = counting_dataset("train", 2001);
  // Common Crawl, WebText2, Books1, Books2 and Wikipedia in GPT-3 (Brown et al. 2020, table 2.2).
  const std::vector<double> weights{60, 22, 8, 8, 3};
  std::vector<MixturePart> parts;
  for (const double weight : weights) parts.push_back({"part", &dataset, weight});
  const SampleSource source(parts, 10, 42);
  std::vector<int64_t> counts(weights.size());
  const int64_t total = 2 * SampleSource::kScheduleSlots + 12'345;
  for (int64_t sample = 0; sample < total; ++sample) {
    if (sample % 4999 == 0) {
      ASSERT_EQ(source.counts_before(sample), counts);
    }
    ++counts[static_cast<size_t>(source.part_of(sample))];
    for (size_t i = 0; i < weights.size(); ++i) {
      const double share = weights[i] / 101 * static_cast<double>(sample + 1);
      // Less than one sample off, and what rounding the shares to the schedule adds.
      const double rounding =
          static_cast<double>(sample + 1) / static_cast<double>(SampleSource::kScheduleSlots);
      ASSERT_LT(std::abs(static_cast<double>(counts[i]) - share), 1 + rounding)
          << "part " << i << " after " << sample + 1;
    }
  }
  EXPECT_EQ(source.counts_before(total), counts);
}

TEST_F(LoaderTest, MixtureRepeatsSmallPartsMoreOften) {
  // 20 windows and 1000 windows at equal weights: the small part's windows come in whole epochs.
  const Dataset small = counting_dataset("small", 201), large = counting_dataset("large", 10'001);
  const SampleSource source({{"small", &small, 1}, {"large", &large, 1}}, 10, 3);
  EXPECT_EQ(source.samples_per_epoch(), 1020);
  std::map<int64_t, int64_t> small_begins, large_begins;
  for (int64_t sample = 0; sample < 2000; ++sample) {
    auto& begins = source.part_of(sample) == 0 ? small_begins : large_begins;
    ++begins[source.window_begin(sample)];
  }
  EXPECT_EQ(large_begins.size(), 1000u);
  for (const auto& [begin, count] : large_begins) ASSERT_EQ(count, 1) << begin;
  int64_t seen = 0;
  for (const auto& [begin, count] : small_begins) seen += count;
  EXPECT_EQ(seen, 1000);  // 50 epochs
  EXPECT_GT(small_begins.size(), 100u);
}

TEST_F(LoaderTest, TinyWeightsAreNeverZero) {
  const Dataset dataset = counting_dataset("train", 101);
  const SampleSource source({{"a", &dataset, 1}, {"b", &dataset, 1e-12}, {"c", &dataset, 1e-12}},
                            10, 3);
  const std::vector<int64_t> counts = source.counts_before(SampleSource::kScheduleSlots);
  EXPECT_EQ(counts, (std::vector<int64_t>{SampleSource::kScheduleSlots - 2, 1, 1}));
}

TEST_F(LoaderTest, BatchesAreThoseOfTheSource) {
  const Dataset dataset = counting_dataset("train", 4001, 333);
  const SampleSource source({{"d", &dataset, 1}}, 16, 9);
  BatchLoader loader(source, 3, 16, 100);
  for (int64_t k = 0; k < 50; ++k) {
    const Batch batch = loader.next();
    ASSERT_EQ(batch.batch, 3);
    ASSERT_EQ(batch.length, 16);
    for (int64_t row = 0; row < 3; ++row) {
      const int64_t sample = 100 + k * 3 + row;
      ASSERT_EQ(batch.sample_ids[static_cast<size_t>(row)], sample);
      const auto [tokens, targets] = row_of(source, sample);
      ASSERT_TRUE(std::equal(tokens.begin(), tokens.end(), batch.tokens.begin() + row * 16));
      ASSERT_TRUE(std::equal(targets.begin(), targets.end(), batch.targets.begin() + row * 16));
    }
  }
}

TEST_F(LoaderTest, RanksTogetherSeeWhatOneRankSees) {
  const Dataset dataset = counting_dataset("train", 4001);
  const SampleSource source({{"d", &dataset, 1}}, 16, 9);
  BatchLoader one(source, 4, 16, 20);
  std::vector<std::unique_ptr<BatchLoader>> ranks;
  for (int rank = 0; rank < 2; ++rank) {
    ranks.push_back(std::make_unique<BatchLoader>(source, 2, 16, 20, rank, 2));
  }
  for (int k = 0; k < 20; ++k) {
    const Batch whole = one.next();
    std::vector<int32_t> tokens;
    std::vector<int64_t> ids;
    for (auto& rank : ranks) {
      const Batch part = rank->next();
      tokens.insert(tokens.end(), part.tokens.begin(), part.tokens.end());
      ids.insert(ids.end(), part.sample_ids.begin(), part.sample_ids.end());
    }
    ASSERT_EQ(tokens, whole.tokens);
    ASSERT_EQ(ids, whole.sample_ids);
  }
}

TEST_F(LoaderTest, ErrorsOfTheThreadComeOutOfNext) {
  std::vector<TokenId> tokens = counting_tokens(1000, 500);
  tokens[700] = 600;
  const Dataset good = make_dataset(folder_.path(), "train", tokens, 601);
  Dataset bad = make_dataset(folder_.path(), "train", tokens, 601);
  std::vector<Shard> shards;
  shards.emplace_back(folder_ / "train_000000.bin");
  bad.train = TokenSequence(std::move(shards), 500);
  const SampleSource source({{"bad", &bad, 1}}, 10, 1), reference({{"good", &good, 1}}, 10, 1);
  BatchLoader loader(source, 1, 10, 0);
  int64_t batches = 0;
  try {
    for (; batches < 99; ++batches) {
      const Batch batch = loader.next();
      const auto [expected, targets] = row_of(reference, batches);
      ASSERT_EQ(batch.tokens, expected);
    }
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 3);
    EXPECT_NE(std::string(error.what()).find("token id 600"), std::string::npos);
    // Exactly the sample with the bad token.
    const auto [expected, targets] = row_of(reference, batches);
    EXPECT_TRUE(std::count(expected.begin(), expected.end(), 600) +
                    std::count(targets.begin(), targets.end(), 600) >
                0);
  }
  expect_error(ErrorKind::input, "token id 600", [&] { loader.next(); });
}

TEST_F(LoaderTest, StopsAtAnyMoment) {
  const Dataset dataset = counting_dataset("train", 100'001, 5000);
  const SampleSource source({{"d", &dataset, 1}}, 100, 9);
  for (int i = 0; i < 50; ++i) {
    BatchLoader loader(source, 8, 100, i);
    for (int k = 0; k < i % 7; ++k) loader.next();
    if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200 * i));
  }
}

TEST_F(LoaderTest, SeveralThreadsMayFill) {
  const Dataset dataset = counting_dataset("train", 20'001, 999);
  const SampleSource source({{"a", &dataset, 1}, {"b", &dataset, 2}}, 20, 9);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int64_t sample = 0; sample < 500; ++sample) {
        const auto [tokens, targets] = row_of(source, sample);
        ASSERT_EQ(tokens[0], source.window_begin(sample));
      }
    });
  }
}

TEST_F(LoaderTest, EvaluationCoversEveryTargetOnce) {
  for (const int64_t count : {0, 1, 2, 8, 9, 10, 100, 1001}) {
    const Dataset dataset = counting_dataset("val", count, 37);
    const EvaluationSource source(dataset.train, 8);
    EXPECT_EQ(source.targets(), std::max<int64_t>(0, count - 1));
    for (const int64_t rows : {1, 3}) {
      std::vector<int32_t> seen;
      for (int64_t i = 0; i < source.batches(rows); ++i) {
        const Batch batch = source.batch(i, rows);
        ASSERT_EQ(batch.tokens.size(), static_cast<size_t>(rows * 8));
        for (size_t k = 0; k < batch.targets.size(); ++k) {
          if (batch.targets[k] == -100) continue;
          ASSERT_EQ(batch.targets[k], batch.tokens[k] + 1);
          seen.push_back(batch.targets[k]);
        }
      }
      std::vector<int32_t> expected;
      for (int32_t i = 1; i < count; ++i) expected.push_back(i);
      ASSERT_EQ(seen, expected);
    }
  }
}

}  // namespace
}  // namespace llm::test
