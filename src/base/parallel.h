// Threads of the host: how many, and a simple parallel loop over them.
#pragma once

#include <cstdint>
#include <functional>

namespace llm {

// The number of threads that the program uses: OMP_NUM_THREADS, else the cores it may run on (its
// affinity, and the time that a container grants it).
int thread_count();

// Calls body(i) for i in [0, count), in any order, on up to `threads` threads, of which the calling
// one is one. The first exception is rethrown when all have ended; what had not begun is left out.
void parallel_for(int64_t count, int threads, const std::function<void(int64_t)>& body);

}  // namespace llm
