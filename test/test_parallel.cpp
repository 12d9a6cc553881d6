// The number of threads and the parallel loop.
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/parallel.h"

namespace llm {
namespace {

// Sets OMP_NUM_THREADS for its lifetime; null unsets it.
class ThreadsVariable {
 public:
  explicit ThreadsVariable(const char* value) {
    const char* before = std::getenv(kName);
    had_ = before != nullptr;
    if (had_) before_ = before;
    value == nullptr ? ::unsetenv(kName) : ::setenv(kName, value, 1);
  }
  ~ThreadsVariable() { had_ ? ::setenv(kName, before_.c_str(), 1) : ::unsetenv(kName); }

 private:
  static constexpr const char* kName = "OMP_NUM_THREADS";
  bool had_;
  std::string before_;
};

TEST(ThreadCount, FollowsTheVariable) {
  const auto with = [](const char* value) {
    const ThreadsVariable variable(value);
    return thread_count();
  };
  EXPECT_EQ(with("3"), 3);
  EXPECT_EQ(with("5,2"), 5);
  const int without = with(nullptr);
  EXPECT_GE(without, 1);
  EXPECT_LE(without, static_cast<int>(std::thread::hardware_concurrency()));
  for (const char* nonsense : {"", "0", "-2", "many", "99999999999999999999"}) {
    EXPECT_EQ(with(nonsense), without) << nonsense;
  }
}

TEST(ThreadCount, FollowsTheAffinity) {
  const ThreadsVariable variable(nullptr);
  cpu_set_t before, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  CPU_ZERO(&one);
  for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &before)) {
      CPU_SET(cpu, &one);
      break;
    }
  }
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(thread_count(), 1);
  ::sched_setaffinity(0, sizeof(before), &before);
}

TEST(ParallelFor, CallsEachIndexOnce) {
  for (const int64_t count : {0, 1, 2, 7, 1000}) {
    for (const int threads : {-1, 0, 1, 2, 5, 64}) {
      std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
      parallel_for(count, threads, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
      for (const auto& call : calls) ASSERT_EQ(call, 1);
    }
  }
}

TEST(ParallelFor, UsesSeveralThreads) {
  // Each call waits for the other: on one thread this would never end.
  std::atomic<int> arrived{0};
  parallel_for(2, 2, [&](int64_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 2);
}

TEST(ParallelFor, RethrowsAndStops) {
  for (const int threads : {1, 2, 4}) {
    std::atomic<int64_t> calls{0};
    const auto run = [&] {
      parallel_for(1'000'000, threads, [&](int64_t i) {
        ++calls;
        if (i == 10) throw std::runtime_error("at ten");
        if (i > 10) std::this_thread::sleep_for(std::chrono::microseconds(50));
      });
    };
    EXPECT_THROW(run(), std::runtime_error);
    EXPECT_LT(calls, 1'000'000);
  }
}

}  // namespace
}  // namespace llm
