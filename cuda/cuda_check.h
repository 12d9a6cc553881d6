// Every call of a CUDA library is checked: a failure becomes an Error that names what was done.
#pragma once

#include <cuda_runtime_api.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace llm::cuda {

// Throws Error{device} (Error{memory} where memory ran out) unless `status` is success. what: what
// was being done: "layernorm_forward of bf16 (8, 768)".
inline void check(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess) [[likely]]
    return;
  const bool memory = status == cudaErrorMemoryAllocation;
  throw Error(
      memory ? ErrorKind::memory : ErrorKind::device, std::string(what),
      fmt::format("CUDA says: {} ({})", cudaGetErrorString(status), cudaGetErrorName(status)),
      memory ? "a smaller batch, context or model needs less" : "");
}

}  // namespace llm::cuda
