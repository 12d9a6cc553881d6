#include "base/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace llm {
namespace {

// The first two numbers of a file, such as "200000 100000"; nothing where there are none.
std::optional<std::pair<double, double>> two_numbers(const char* first, const char* second) {
  std::string text;
  for (const char* path : {first, second}) {
    if (path == nullptr) continue;
    std::error_code code;
    if (!fs::is_regular_file(path, code)) return std::nullopt;
    try {
      text += read_text_file(path, 4096);
    } catch (const Error&) {
      return std::nullopt;
    }
    text += ' ';
  }
  double a = 0, b = 0;
  if (std::sscanf(text.c_str(), "%lf %lf", &a, &b) != 2) return std::nullopt;
  return std::pair(a, b);
}

// How many cores' worth of time a container may use (a control group's quota, version 2 or 1).
int quota_cores() {
  auto quota = two_numbers("/sys/fs/cgroup/cpu.max", nullptr);
  if (!quota) {
    quota =
        two_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  }
  // "max", or -1, is no limit.
  if (!quota || quota->first <= 0 || quota->second <= 0) return INT_MAX;
  return static_cast<int>(std::clamp(std::ceil(quota->first / quota->second), 1.0, 4096.0));
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace

int thread_count() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const long wanted = std::strtol(text, nullptr, 10);  // of "4,2" the outermost level
    if (wanted >= 1 && wanted <= 4096) return static_cast<int>(wanted);
  }
  return std::min(available_cores(), quota_cores());
}

void parallel_for(int64_t count, int threads, const std::function<void(int64_t)>& body) {
  threads = static_cast<int>(std::min<int64_t>(threads, count));
  if (threads <= 1) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex mutex;
  const auto work = [&] {
    try {
      for (int64_t i; (i = next.fetch_add(1)) < count;) body(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = count;
    }
  };
  {
    std::vector<std::jthread> pool;
    try {
      for (int i = 1; i < threads; ++i) pool.emplace_back(work);
    } catch (const std::system_error&) {
      // The system has no more threads: those that there are do all the work.
    }
    work();
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace llm
