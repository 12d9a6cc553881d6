// A file with a text, for a test to read or to damage.
#pragma once

#include <string_view>

#include "base/file.h"

namespace llm::test {

inline void write_file(const fs::path& path, std::string_view text) {
  FileWriter writer(path);
  writer.write(text);
  writer.close();
}

}  // namespace llm::test
