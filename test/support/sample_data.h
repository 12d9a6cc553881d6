// The sample texts for tests and measurements (tinyshakespeare.txt and others), which are no part
// of the project: their folder is LLM_DATA_DIR, else the default of the build.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

#include "base/file.h"

namespace llm::test {

// The path of a sample file or folder, or nothing if it is not on this machine.
inline std::optional<fs::path> sample_data(const std::string& name) {
  const char* directory = std::getenv("LLM_DATA_DIR");
  const fs::path path = fs::path(directory ? directory : LLM_DATA_DIR_DEFAULT) / name;
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  return path;
}

}  // namespace llm::test
