// What this process was called with.
#pragma once

#include <string>
#include <vector>

namespace llm {

// The words of this process's command line, for run.json.
std::vector<std::string> command_line();

}  // namespace llm
