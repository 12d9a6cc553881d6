// Known answers of Philox, the layout that the header promises, and the distributions.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <numbers>
#include <set>
#include <vector>

#include "base/rng.h"

namespace llm {
namespace {

// The known answers that come with Random123, the authors' library.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, StreamIdIsFnv1a) {
  EXPECT_EQ(stream_id(""), 0xcbf29ce484222325u);
  EXPECT_EQ(stream_id("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(stream_id("foobar"), 0x85944171f73967e8u);
}

TEST(Random, FollowsTheLayoutOfTheHeader) {
  const uint64_t seed = 0x1111222233334444, stream = 0x5555666677778888;
  const Random random(seed, stream);
  for (const uint64_t index :
       {uint64_t{0}, uint64_t{1}, uint64_t{6}, uint64_t{7}, (uint64_t{1} << 40) + 3}) {
    const auto block = [&](uint64_t number) {
      return philox4x32({static_cast<uint32_t>(number), static_cast<uint32_t>(number >> 32),
                         0x77778888, 0x55556666},
                        {0x33334444, 0x11112222});
    };
    EXPECT_EQ(random.bits32(index), block(index / 4)[index % 4]);
    const PhiloxBlock words = block(index / 2);
    const uint64_t low = words[index % 2 * 2], high = words[index % 2 * 2 + 1];
    EXPECT_EQ(random.bits64(index), high << 32 | low);
    EXPECT_EQ(random.uniform(index),
              std::ldexp(static_cast<double>((high << 32 | low) >> 11), -53));
    const uint64_t even = index / 2 * 2;
    const double radius = std::sqrt(-2 * std::log1p(-random.uniform(even)));
    const double angle = 2 * std::numbers::pi * random.uniform(even + 1);
    EXPECT_DOUBLE_EQ(random.normal(index),
                     radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle)));
  }
}

// The bounds below are 5 standard deviations of the estimate; the numbers are fixed by the seed.
TEST(Random, UniformHasItsMoments) {
  const Random random(1, 2);
  constexpr int kCount = 200'000;
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < kCount; ++i) {
    const double value = random.uniform(i);
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / kCount, 0.5, 5 * std::sqrt(1.0 / 12 / kCount));
  EXPECT_NEAR(squares / kCount, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kCount));
}

TEST(Random, NormalHasItsMoments) {
  const Random random(1, 3);
  constexpr int kCount = 200'000;
  std::array<double, 5> moments{};
  double neighbours = 0, previous = 0;
  for (uint64_t i = 0; i < kCount; ++i) {
    const double value = random.normal(i);
    ASSERT_TRUE(std::isfinite(value));
    double power = 1;
    for (double& moment : moments) moment += power / kCount, power *= value;
    neighbours += value * previous / kCount;
    previous = value;
  }
  const double deviation = 5 / std::sqrt(static_cast<double>(kCount));
  EXPECT_NEAR(moments[1], 0, deviation);
  EXPECT_NEAR(moments[2], 1, deviation * std::sqrt(2.0));
  EXPECT_NEAR(moments[3], 0, deviation * std::sqrt(15.0));
  EXPECT_NEAR(moments[4], 3, deviation * std::sqrt(96.0));
  EXPECT_NEAR(neighbours, 0, deviation);
}

TEST(Random, BelowIsEvenlySpread) {
  const Random random(5, 6);
  constexpr int kCount = 70'000;
  std::array<int, 7> seen{};
  for (uint64_t i = 0; i < kCount; ++i) {
    const uint64_t value = random.below(7, i);
    ASSERT_LT(value, 7u);
    ++seen[value];
  }
  for (const int count : seen) EXPECT_NEAR(count, kCount / 7, 5 * std::sqrt(kCount / 7.0));
  EXPECT_EQ(random.below(1, 12), 0u);
  EXPECT_DEATH(random.below(0, 1), "bound > 0");
}

TEST(Random, SeedsStreamsAndIndicesGiveDifferentNumbers) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (uint64_t stream = 0; stream < 10; ++stream) {
      for (uint64_t index = 0; index < 10; ++index) seen.insert(Random(seed, stream).bits64(index));
    }
  }
  EXPECT_EQ(seen.size(), 1000u);
}

// A sequence that mixes kinds must not use the same random bits twice.
TEST(RandomSequence, KindsDoNotShareBits) {
  for (int before = 0; before < 4; ++before) {
    RandomSequence sequence(9, 1);
    for (int i = 0; i < before; ++i) sequence.uniform();
    const uint64_t start = sequence.position();
    sequence.normal();
    const uint64_t used = (start + 1) / 2 * 2;  // the pair of uniforms that the normal is made of
    EXPECT_EQ(sequence.position(), used + 2);
  }
  RandomSequence sequence(9, 1);
  const Random random(9, 1);
  EXPECT_EQ(sequence.uniform(), random.uniform(0));
  EXPECT_EQ(sequence.normal(), random.normal(2));
  EXPECT_EQ(sequence.below(100), random.below(100, 4));
}

TEST(PermuteIndex, IsABijectionForEveryCount) {
  std::vector<uint64_t> counts = {97, 101, 997, 1000, 10'007};
  for (uint64_t count = 1; count <= 70; ++count) counts.push_back(count);
  for (int k = 7; k <= 14; ++k) {
    for (const int offset : {-1, 0, 1}) counts.push_back((uint64_t{1} << k) + offset);
  }
  for (const uint64_t count : counts) {
    std::vector<bool> hit(count);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t to = permute_index(i, count, 42, 1);
      ASSERT_LT(to, count);
      ASSERT_FALSE(hit[to]) << i << " of " << count;
      hit[to] = true;
    }
  }
}

TEST(PermuteIndex, WorksOnHugeCounts) {
  for (const uint64_t count : {(uint64_t{1} << 40) - 1, (uint64_t{1} << 62) + 1, ~uint64_t{0}}) {
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < 1000; ++i) {
      const uint64_t to = permute_index(i, count, 1, 1);
      ASSERT_LT(to, count);
      seen.insert(to);
      ASSERT_LT(permute_index(count - 1 - i, count, 1, 1), count);
    }
    EXPECT_EQ(seen.size(), 1000u);
  }
  EXPECT_DEATH(permute_index(5, 5, 1, 1), "index 5 of 5");
}

TEST(PermuteIndex, EveryOrderIsEquallyLikely) {
  constexpr int kSeeds = 24'000;
  std::map<std::array<uint64_t, 4>, int> orders;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    std::array<uint64_t, 4> order;
    for (uint64_t i = 0; i < 4; ++i) order[i] = permute_index(i, 4, seed, 3);
    ++orders[order];
  }
  ASSERT_EQ(orders.size(), 24u);
  for (const auto& [order, count] : orders) {
    EXPECT_NEAR(count, kSeeds / 24, 5 * std::sqrt(kSeeds / 24.0));
  }
}

// Where an index goes must not depend on where it comes from: a chi-square test on a grid of
// origins and destinations, over many streams.
TEST(PermuteIndex, MixesOriginsWell) {
  constexpr uint64_t kCount = 1000, kStreams = 40;
  constexpr size_t kCells = 10;
  std::array<std::array<double, kCells>, kCells> grid{};
  for (uint64_t stream = 0; stream < kStreams; ++stream) {
    for (uint64_t i = 0; i < kCount; ++i) {
      ++grid[i * kCells / kCount][permute_index(i, kCount, 42, stream) * kCells / kCount];
    }
  }
  const double expected = static_cast<double>(kCount * kStreams) / (kCells * kCells);
  double chi_square = 0;
  for (const auto& row : grid) {
    for (const double count : row) chi_square += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi_square, 81 + 5 * std::sqrt(2 * 81.0));  // 81 degrees of freedom
  EXPECT_GT(chi_square, 81 - 5 * std::sqrt(2 * 81.0));
}

}  // namespace
}  // namespace llm
