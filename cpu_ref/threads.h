// Loops over rows on the threads of the CPU backend.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

// Calls body(begin, end) on disjoint ranges that cover [0, count), one range per thread; fewer
// where a range would have less than `grain` elements, since sharing work costs microseconds. The
// ranges depend on the number of threads: a body may write only what belongs to its range, so that
// the result does not.
template <typename Body>
void parallel_ranges(int64_t count, Threads threads, int64_t grain, const Body& body) {
  if (count <= 0) return;
  const int64_t useful = std::max<int64_t>(1, count / std::max<int64_t>(1, grain));
  const int64_t ranges = std::min<int64_t>(threads.count, useful);
  if (ranges == 1) return body(int64_t{0}, count);
  threads.pool->run(ranges,
                    [&](int64_t i, int) { body(count * i / ranges, count * (i + 1) / ranges); });
}

// Calls body(i, scratch) for each i in [0, count); the threads take the next i as they become free.
// For pieces of unlike size. Each thread makes its own scratch once.
template <typename MakeScratch, typename Body>
void parallel_items(int64_t count, Threads threads, const MakeScratch& make_scratch,
                    const Body& body) {
  using Scratch = decltype(make_scratch());
  if (threads.count == 1) {
    if (count <= 0) return;
    Scratch scratch = make_scratch();
    for (int64_t i = 0; i < count; ++i) body(i, scratch);
    return;
  }
  std::vector<std::optional<Scratch>> scratches(static_cast<size_t>(threads.pool->size()));
  threads.pool->run(count, [&](int64_t i, int thread) {
    std::optional<Scratch>& scratch = scratches[static_cast<size_t>(thread)];
    if (!scratch) scratch.emplace(make_scratch());
    body(i, *scratch);
  });
}
template <typename Body>
void parallel_items(int64_t count, Threads threads, const Body& body) {
  parallel_items(
      count, threads, [] { return 0; }, [&](int64_t i, int) { body(i); });
}

// This many elements (of an elementwise op: some 5 us) or multiply-adds (some 20 us) are worth a
// thread of their own.
inline constexpr int64_t kGrainElements = 16384;
inline int64_t rows_per_thread(int64_t columns) {
  return std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, columns));
}

inline constexpr int64_t kGrainProducts = 1 << 20;
inline Threads threads_for_products(int64_t products, Threads threads) {
  threads.count =
      static_cast<int>(std::clamp<int64_t>(products / kGrainProducts, 1, threads.count));
  return threads;
}

}  // namespace llm::cpu_ref
