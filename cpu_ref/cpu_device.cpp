#include "cpu_ref/cpu_device.h"

#include <fmt/format.h>

#include <cstring>

#include "base/error.h"
#include "base/parallel.h"
#include "cpu_ref/host_memory.h"

#ifdef LLM_HAVE_OPENBLAS
#include <cblas.h>
#endif

namespace llm::cpu_ref {

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

std::unique_ptr<DeviceMemory> CpuDevice::allocate(int64_t bytes, const std::string& purpose) {
  return allocate_host(bytes, purpose);
}

void CpuDevice::copy_to_device(Tensor to, const void* from) {
  LLM_ASSERT(to.contiguous(), "copy to {}", to.describe());
  if (to.bytes() > 0) std::memcpy(to.data, from, static_cast<size_t>(to.bytes()));
}

void CpuDevice::copy_to_host(void* to, Tensor from) {
  LLM_ASSERT(from.contiguous(), "copy from {}", from.describe());
  if (from.bytes() > 0) std::memcpy(to, from.data, static_cast<size_t>(from.bytes()));
}

}  // namespace llm::cpu_ref
