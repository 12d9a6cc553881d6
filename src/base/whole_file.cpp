#include <unistd.h>

#include <string>
#include <system_error>

#include "base/error.h"
#include "base/file.h"

namespace llm {

void write_whole(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  // A device such as /dev/null, or a pipe, would be a plain file for everyone from then on.
  std::error_code none;
  const fs::file_status status = fs::status(path, none);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    fail_usage(path.string(), "is not a plain file, which could be replaced");
  }
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
