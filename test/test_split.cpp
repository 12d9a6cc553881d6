#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "data/split.h"
#include "support/expect_error.h"

namespace llm::test {
namespace {

std::vector<int64_t> all_of(const RowSplit& split) {
  std::vector<int64_t> all = split.train;
  all.insert(all.end(), split.validation.begin(), split.validation.end());
  all.insert(all.end(), split.test.begin(), split.test.end());
  std::sort(all.begin(), all.end());
  return all;
}

std::vector<int64_t> range(int64_t begin, int64_t end) {
  std::vector<int64_t> result(static_cast<size_t>(end - begin));
  std::iota(result.begin(), result.end(), begin);
  return result;
}

TEST(Split, EveryRowOnce) {
  for (const int64_t rows : {10, 11, 97, 1000, 1494}) {
    const RowSplit split = split_rows(rows, parse_split("0.7,0.1,0.2"), SplitOrder::shuffled, 42);
    EXPECT_EQ(all_of(split), range(0, rows));
    EXPECT_EQ(static_cast<int64_t>(split.train.size()), rows * 7 / 10);
    EXPECT_EQ(static_cast<int64_t>(split.validation.size()), rows / 10);
  }
}

TEST(Split, IsAFunctionOfTheSeed) {
  const SplitParts parts = parse_split("0.7,0.1,0.2");
  const RowSplit one = split_rows(500, parts, SplitOrder::shuffled, 1),
                 same = split_rows(500, parts, SplitOrder::shuffled, 1),
                 other = split_rows(500, parts, SplitOrder::shuffled, 2);
  EXPECT_EQ(one.train, same.train);
  EXPECT_EQ(one.test, same.test);
  EXPECT_NE(one.train, other.train);
  EXPECT_NE(one.test, other.test);
  // Shuffled: the first part has rows of the whole file, in no order.
  EXPECT_FALSE(std::is_sorted(one.train.begin(), one.train.end()));
  const auto late =
      std::count_if(one.train.begin(), one.train.end(), [](int64_t i) { return i >= 250; });
  EXPECT_GT(late, 140);
  EXPECT_LT(late, 210);
}

TEST(Split, TheBooksInstructionSplit) {
  for (const char* text : {"935,55,110", "0.85,0.05,0.1"}) {
    const RowSplit split = split_rows(1100, parse_split(text), SplitOrder::file, 42);
    EXPECT_EQ(split.train, range(0, 935)) << text;
    EXPECT_EQ(split.test, range(935, 1045)) << text;
    EXPECT_EQ(split.validation, range(1045, 1100)) << text;
  }
}

TEST(Split, CountsAndTwoParts) {
  const RowSplit some = split_rows(10, parse_split("4,2,1"), SplitOrder::file, 0);
  EXPECT_EQ(some.train, range(0, 4));
  EXPECT_EQ(some.test, range(4, 5));
  EXPECT_EQ(some.validation, range(5, 7));
  const RowSplit two = split_rows(7, parse_split("0.9,0.1"), SplitOrder::file, 0);
  EXPECT_EQ(two.train, range(0, 6));
  EXPECT_EQ(two.validation, range(6, 7));
  EXPECT_TRUE(two.test.empty());
  EXPECT_EQ(split_rows(3, parse_split("1,0,0"), SplitOrder::shuffled, 0).train.size(), 3u);
  EXPECT_EQ(split_rows(3, parse_split("1,1,1"), SplitOrder::shuffled, 0).test.size(), 1u);
}

TEST(Split, RefusesWhatIsNoSplit) {
  for (const char* text : {"", "1", "0.5", "0.5,0.6", "0.7,0.1,0.1", "0.7,0.1,0.1,0.1", "a,b",
                           "0.7,,0.3", "-1,2", "nan,1", "inf,1", "0,1,0", "1e300,1", "0.5,0.5x"}) {
    expect_error(ErrorKind::usage, "--split", [&] { parse_split(text); });
  }
  expect_error(ErrorKind::usage, "--split: 3 rows are too few",
               [] { split_rows(3, parse_split("0.7,0.1,0.2"), SplitOrder::shuffled, 1); });
  expect_error(ErrorKind::usage, "--split: 10 rows are too few for 8,2,1",
               [] { split_rows(10, parse_split("8,2,1"), SplitOrder::file, 1); });
  expect_error(ErrorKind::usage, "too few",
               [] { split_rows(0, parse_split("1,0"), SplitOrder::file, 1); });
  EXPECT_EQ(split_order_named("file"), SplitOrder::file);
  EXPECT_EQ(split_order_named("shuffled"), SplitOrder::shuffled);
  expect_error(ErrorKind::usage, "--split-order", [] { split_order_named("up"); });
}

}  // namespace
}  // namespace llm::test
