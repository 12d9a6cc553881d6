#include "cli/output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "base/error.h"

namespace llm {

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    fail_disk("standard output", "cannot write", errno);
  }
}

void print_json(const Json& figures) { print(to_line(figures) + "\n"); }

void require_no_files(const fs::path& folder, std::initializer_list<const char*> names,
                      bool force) {
  for (const char* name : names) {
    std::error_code error;
    if (force || !fs::exists(folder / name, error)) continue;
    fail_usage((folder / name).string(), "is there already",
               "choose another folder with -o, or replace it with --force");
  }
}

std::string counted(int64_t count, std::string_view what) {
  return fmt::format("{} {}{}", with_commas(count), what, count == 1 ? "" : "s");
}

}  // namespace llm
