// The GPU, for tests that need one.
#pragma once

#include <memory>

#include "base/error.h"
#include "cli/device.h"

namespace llm::test {

// Null where there is no GPU.
inline std::unique_ptr<Backend> gpu_backend(const DeviceOptions& options = {}) {
  try {
    return make_backend("cuda", options);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::device) throw;
    return nullptr;
  }
}

}  // namespace llm::test
