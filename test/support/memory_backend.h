// A backend that has memory and a plan and nothing else, for tests of what only moves data.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace llm::test {

// host = false: a device whose pointers crash when the host follows them. Ops assert.
std::unique_ptr<Backend> make_memory_backend(bool host);

}  // namespace llm::test
