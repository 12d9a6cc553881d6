// Prints how fast all threads together read memory, in bytes per second: the best of some passes
// over 1 GiB, each thread its own part from end to end. Decoding can be no faster.
//   c++ -O3 -march=native -std=c++20 -pthread read_bandwidth.cpp -o read_bandwidth
//   ./read_bandwidth [THREADS]
#include <sys/mman.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

namespace {

constexpr size_t kBytes = size_t{1} << 30, kHugePage = size_t{2} << 20;
constexpr int kPasses = 32;
constexpr size_t kLanes = 64;  // sums that do not wait for each other

uint64_t sum_of(const uint64_t* from, size_t count) {
  uint64_t sums[kLanes] = {};
  for (size_t i = 0; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += from[i + lane];
  }
  return std::accumulate(sums, sums + kLanes, uint64_t{0});
}

}  // namespace

int main(int argc, char** argv) {
  const unsigned threads = argc > 1 ? static_cast<unsigned>(std::max(1, std::atoi(argv[1])))
                                    : std::max(1u, std::thread::hardware_concurrency());
  auto* memory = static_cast<uint64_t*>(std::aligned_alloc(kHugePage, kBytes));
  if (memory == nullptr) return 1;
  madvise(memory, kBytes, MADV_HUGEPAGE);
  std::memset(memory, 1, kBytes);

  const size_t part = kBytes / sizeof(uint64_t) / threads;
  std::barrier barrier(threads);
  std::vector<uint64_t> sums(threads);
  std::chrono::duration<double> seconds{};
  const auto read = [&](unsigned thread) {
    barrier.arrive_and_wait();
    const auto start = std::chrono::steady_clock::now();
    for (int pass = 0; pass < kPasses; ++pass) {
      sums[thread] += sum_of(memory + thread * part, part);
      barrier.arrive_and_wait();
    }
    if (thread == 0) seconds = std::chrono::steady_clock::now() - start;
  };
  std::vector<std::thread> others;
  for (unsigned thread = 1; thread < threads; ++thread) others.emplace_back(read, thread);
  read(0);
  for (std::thread& other : others) other.join();
  const size_t bytes = part * threads * sizeof(uint64_t) * kPasses;
  std::printf("%.0f\n", static_cast<double>(bytes) / seconds.count());
  return sums[0] == 1;  // what is not used, a compiler may leave out
}
