// A HostGroup over TCP: every process keeps a connection to rank 0.
#pragma once

#include <memory>

#include "backend/host_group.h"
#include "backend/launcher.h"

namespace llm {

// Waits until all processes have come. Each later exchange may take timeout_seconds as well.
std::unique_ptr<HostGroup> make_tcp_group(const Launcher& launcher, double timeout_seconds);

}  // namespace llm
