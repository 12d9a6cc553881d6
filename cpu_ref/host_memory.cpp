#include "cpu_ref/host_memory.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>

#include "base/error.h"

namespace llm::cpu_ref {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
constexpr size_t kHugePage = size_t{2} << 20;

// The number in a file that holds one, -1 where there is none.
int64_t read_number(const char* path, const char* format) {
  std::FILE* file = std::fopen(path, "r");
  if (!file) return -1;
  long long value = -1;
  char line[256];
  while (std::fgets(line, sizeof line, file)) {
    if (std::sscanf(line, format, &value) == 1) break;
  }
  std::fclose(file);
  return value;
}

int64_t system_available() {
  const int64_t kib = read_number("/proc/meminfo", "MemAvailable: %lld kB");
  return kib < 0 ? kUnlimited : kib * 1024;
}

int64_t control_group_available() {
  const int64_t limit = read_number("/sys/fs/cgroup/memory.max", "%lld");
  const int64_t used = read_number("/sys/fs/cgroup/memory.current", "%lld");
  const int64_t cached = read_number("/sys/fs/cgroup/memory.stat", "inactive_file %lld");
  if (limit < 0 || used < 0) return kUnlimited;
  return std::max<int64_t>(0, limit - used + std::max<int64_t>(0, cached));
}

int64_t address_space_available() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kUnlimited;
  const int64_t pages = read_number("/proc/self/statm", "%lld");
  return std::max<int64_t>(
      0, static_cast<int64_t>(limit.rlim_cur) - std::max<int64_t>(0, pages) * 4096);
}

class HostMemory final : public DeviceMemory {
 public:
  HostMemory(int64_t bytes, size_t alignment) {
    const size_t rounded = (static_cast<size_t>(bytes) + alignment - 1) / alignment * alignment;
    data_ = std::aligned_alloc(alignment, std::max(rounded, alignment));
    if (!data_) throw std::bad_alloc();
    bytes_ = bytes;
    // Large arenas are walked from end to end: huge pages save most of the address translation.
    if (alignment == kHugePage) madvise(data_, rounded, MADV_HUGEPAGE);
  }
  ~HostMemory() override { std::free(data_); }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
};

}  // namespace

int64_t available_host_memory() {
  return std::min({system_available(), control_group_available(), address_space_available()});
}

int64_t total_host_memory() {
  const int64_t kib = read_number("/proc/meminfo", "MemTotal: %lld kB");
  const int64_t limit = read_number("/sys/fs/cgroup/memory.max", "%lld");
  return std::min(kib < 0 ? kUnlimited : kib * 1024, limit < 0 ? kUnlimited : limit);
}

std::unique_ptr<DeviceMemory> allocate_host(int64_t bytes, const std::string& purpose) {
  LLM_ASSERT(bytes >= 0, "{} bytes for {}", bytes, purpose);
  const auto refuse = [&](int64_t available) -> std::unique_ptr<DeviceMemory> {
    throw Error(
        ErrorKind::memory, purpose,
        fmt::format("{} bytes needed, {} available", with_commas(bytes), with_commas(available)),
        "a smaller batch, context or model needs less");
  };
  const bool large = bytes >= static_cast<int64_t>(4 * kHugePage);
  // The system promises more memory than it has and kills whoever uses it: ask before.
  if (large) {
    const int64_t available = available_host_memory();
    if (bytes > available) return refuse(available);
  }
  try {
    return std::make_unique<HostMemory>(bytes, large ? kHugePage : size_t{256});
  } catch (const std::bad_alloc&) {
    return refuse(available_host_memory());
  }
}

}  // namespace llm::cpu_ref
