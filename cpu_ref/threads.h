// Loops over rows on the threads of the CPU backend.
#pragma once

#include <algorithm>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace llm::cpu_ref {

// Calls body(begin, end) on disjoint ranges that cover [0, count), one range per thread; fewer
// threads where a range would have less than `grain` elements, since waking a thread costs
// microseconds. The ranges depend on the number of threads: a body may write only what belongs to
// its range, so that the result does not.
template <typename Body>
void parallel_ranges(int64_t count, int threads, int64_t grain, const Body& body) {
  if (count <= 0) return;
  const int64_t useful = std::max<int64_t>(1, count / std::max<int64_t>(1, grain));
  const int used = static_cast<int>(std::min<int64_t>(threads, useful));
#ifdef _OPENMP
  if (used > 1) {
#pragma omp parallel num_threads(used)
    {
      const int64_t index = omp_get_thread_num(), total = omp_get_num_threads();
      const int64_t begin = count * index / total, end = count * (index + 1) / total;
      if (begin < end) body(begin, end);
    }
    return;
  }
#endif
  static_cast<void>(used);
  body(int64_t{0}, count);
}

// Calls body(i, scratch) for each i in [0, count); the threads take the next i as they become free.
// For pieces of unlike size. Each thread makes its own scratch once.
template <typename MakeScratch, typename Body>
void parallel_items(int64_t count, int threads, const MakeScratch& make_scratch, const Body& body) {
#ifdef _OPENMP
  if (threads > 1 && count > 1) {
    const int used = static_cast<int>(std::min<int64_t>(threads, count));
#pragma omp parallel num_threads(used)
    {
      auto scratch = make_scratch();
#pragma omp for schedule(dynamic, 1)
      for (int64_t i = 0; i < count; ++i) body(i, scratch);
    }
    return;
  }
#endif
  static_cast<void>(threads);
  if (count <= 0) return;
  auto scratch = make_scratch();
  for (int64_t i = 0; i < count; ++i) body(i, scratch);
}
template <typename Body>
void parallel_items(int64_t count, int threads, const Body& body) {
  parallel_items(
      count, threads, [] { return 0; }, [&](int64_t i, int) { body(i); });
}

// This many elements (of an elementwise op: some 5 us) or multiply-adds (some 20 us) are worth a
// thread of their own; on a busy machine waiting for a second thread costs milliseconds.
inline constexpr int64_t kGrainElements = 16384;
inline int64_t rows_per_thread(int64_t columns) {
  return std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, columns));
}

inline constexpr int64_t kGrainProducts = 1 << 20;
inline int threads_for_products(int64_t products, int threads) {
  return static_cast<int>(std::clamp<int64_t>(products / kGrainProducts, 1, threads));
}

}  // namespace llm::cpu_ref
