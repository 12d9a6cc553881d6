#include "cpu_ref/cpu_device.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "cpu_ref/host_memory.h"

#ifdef LLM_HAVE_OPENBLAS
#include <cblas.h>
#endif

namespace llm::cpu_ref {
namespace {

struct TimePoint : Event {
  std::chrono::steady_clock::time_point time = std::chrono::steady_clock::now();
};

}  // namespace

CpuDevice::CpuDevice(const CpuOptions& options)
    : pool_(options.threads > 0 ? options.threads : thread_count()),
      threads_{&pool_, pool_.size()},
      plain_(options.plain) {
#ifdef LLM_HAVE_OPENBLAS
  // The threads are ours; see linear_fast.cpp.
  if (!plain_) openblas_set_num_threads(1);
#endif
}

std::string CpuDevice::name() const {
  return fmt::format("cpu ({} thread{})", threads_.count, threads_.count == 1 ? "" : "s");
}

int64_t CpuDevice::memory_available() const { return available_host_memory(); }
int64_t CpuDevice::memory_total() const { return total_host_memory(); }

std::unique_ptr<DeviceMemory> CpuDevice::allocate(int64_t bytes, const std::string& purpose) {
  return allocate_host(bytes, purpose);
}

void CpuDevice::copy_to_device(Tensor to, const void* from) {
  LLM_ASSERT(to.contiguous(), "copy to {}", to.describe());
  if (to.bytes() > 0) std::memcpy(to.data, from, static_cast<size_t>(to.bytes()));
}

void CpuDevice::copy_to_host(void* to, Tensor from, Queue) {
  LLM_ASSERT(from.contiguous(), "copy from {}", from.describe());
  if (from.bytes() > 0) std::memcpy(to, from.data, static_cast<size_t>(from.bytes()));
}

std::unique_ptr<Event> CpuDevice::record(Queue) { return std::make_unique<TimePoint>(); }

double CpuDevice::seconds_between(const Event& begin, const Event& end) {
  const auto time = [](const Event& event) { return static_cast<const TimePoint&>(event).time; };
  return std::chrono::duration<double>(time(end) - time(begin)).count();
}

}  // namespace llm::cpu_ref
