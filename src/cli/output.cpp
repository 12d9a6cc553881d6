#include "cli/output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>

#include "base/error.h"

namespace llm {

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    fail_disk("standard output", "cannot write", errno);
  }
}

void print_json(const Json& figures) { print(to_line(figures) + "\n"); }

std::string counted(int64_t count, std::string_view what) {
  return fmt::format("{} {}{}", with_commas(count), what, count == 1 ? "" : "s");
}

}  // namespace llm
