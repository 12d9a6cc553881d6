// Memory of the host.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend.h"

namespace llm::cpu_ref {

// Bytes that can still be taken without swapping: the least of what the system, the control group
// and the process limits leave.
int64_t available_host_memory();
// Bytes that the system, or the control group where it has a limit, has in all.
int64_t total_host_memory();

// Aligned to 256 bytes. Throws Error{memory} naming `purpose` where there is not enough.
std::unique_ptr<DeviceMemory> allocate_host(int64_t bytes, const std::string& purpose);

}  // namespace llm::cpu_ref
