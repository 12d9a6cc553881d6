#include <unistd.h>

#include <string>

#include "base/file.h"

namespace llm {

void write_whole(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  const fs::path temporary = path.native() + ".tmp";
  try {
    write(temporary);
    rename_path(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  write_whole(path, [&](const fs::path& temporary) {
    FileWriter writer(temporary);
    writer.write(text);
    writer.sync();
    writer.close();
  });
  sync_directory(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

}  // namespace llm
