// A backend that computes nothing and only adds up what is allocated. The real code runs on it once
// to learn how much memory a run takes, so the plan cannot differ from the run.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "backend/backend.h"

namespace llm {

// bytes by purpose, as passed to allocate().
using MemoryByPurpose = std::map<std::string, int64_t>;

// Asks `real` for its vocabulary multiple, its memory and the scratch of its ops ("scratch" is the
// most that one op needs). Both must outlive the backend.
std::unique_ptr<Backend> make_plan_backend(const Backend& real, MemoryByPurpose& usage);

}  // namespace llm
