#include <gtest/gtest.h>

#include <numeric>

#include "cpu_ref/thread_pool.h"
#include "cpu_ref/threads.h"

namespace llm::test {
namespace {

using cpu_ref::ThreadPool;
using cpu_ref::Threads;

TEST(ThreadPool, DoesEveryPieceOnce) {
  for (int size : {1, 2, 5}) {
    ThreadPool pool(size);
    EXPECT_EQ(pool.size(), size);
    for (int64_t pieces : {0, 1, 2, 3, 100}) {
      for (int repeat = 0; repeat < 50; ++repeat) {
        std::vector<int> done(static_cast<size_t>(pieces));
        pool.run(pieces, [&](int64_t piece, int thread) {
          ++done[static_cast<size_t>(piece)];
          EXPECT_TRUE(thread >= 0 && thread < size);
        });
        ASSERT_EQ(done, std::vector<int>(static_cast<size_t>(pieces), 1));
      }
    }
  }
}

TEST(ThreadPool, ARunSeesWhatTheRunBeforeWrote) {
  ThreadPool pool(3);
  std::vector<int64_t> x(64), y(64);
  for (int64_t round = 1; round <= 2000; ++round) {
    pool.run(8, [&](int64_t piece, int) {
      for (int64_t i = piece * 8; i < piece * 8 + 8; ++i) y[i] = x[63 - i] + 1;
    });
    std::swap(x, y);
    ASSERT_EQ(std::accumulate(x.begin(), x.end(), int64_t{0}), 64 * round);
  }
}

TEST(ThreadPool, CallsFromWithinAndFromBesideAreDone) {
  ThreadPool pool(2);
  std::atomic<int> count{0};
  const auto nested = [&] {
    for (int repeat = 0; repeat < 100; ++repeat) {
      pool.run(4, [&](int64_t, int) { pool.run(4, [&](int64_t, int) { ++count; }); });
    }
  };
  std::thread beside(nested);
  nested();
  beside.join();
  EXPECT_EQ(count, 2 * 100 * 16);
}

TEST(ParallelRanges, CoverTheCountWithRangesOfAtLeastTheGrain) {
  ThreadPool pool(3);
  for (int64_t count : {1, 2, 7, 100}) {
    for (int64_t grain : {1, 3, 50, 1000}) {
      std::vector<std::atomic<int>> done(static_cast<size_t>(count));
      std::atomic<int> ranges{0};
      cpu_ref::parallel_ranges(count, Threads{&pool, 3}, grain, [&](int64_t begin, int64_t end) {
        ++ranges;
        EXPECT_TRUE(end - begin >= std::min(grain, count));
        for (int64_t i = begin; i < end; ++i) ++done[static_cast<size_t>(i)];
      });
      for (const auto& times : done) EXPECT_EQ(times, 1);
      EXPECT_LE(ranges, 3);
    }
  }
}

TEST(ParallelItems, EachThreadHasItsOwnScratch) {
  ThreadPool pool(4);
  for (int limit : {1, 4}) {
    std::atomic<int> made{0};
    std::vector<int> sum_of(50);
    cpu_ref::parallel_items(
        50, Threads{&pool, limit},
        [&] {
          ++made;
          return std::vector<int>(1000);
        },
        [&](int64_t i, std::vector<int>& scratch) {
          std::fill(scratch.begin(), scratch.end(), static_cast<int>(i));
          sum_of[static_cast<size_t>(i)] = std::accumulate(scratch.begin(), scratch.end(), 0);
        });
    for (int i = 0; i < 50; ++i) EXPECT_EQ(sum_of[static_cast<size_t>(i)], 1000 * i);
    EXPECT_LE(made, limit);
  }
}

}  // namespace
}  // namespace llm::test
