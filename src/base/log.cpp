#include "base/log.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "base/progress.h"

namespace llm {

void log_info(std::string_view message) { print_above_progress(message); }

void log_warning(std::string_view message) {
  print_above_progress(fmt::format("warning: {}", message));
}

JsonLinesLog::JsonLinesLog(fs::path path) : file_(std::move(path)) {}

void JsonLinesLog::append(const Json& record) { file_.append(to_line(record) + "\n"); }

void JsonLinesLog::sync() { file_.sync(); }

namespace {

// Calls use(line, number) for each whole line; what follows the last newline was torn off by a
// kill.
template <typename Use>
void for_each_line(std::string_view text, const Use& use) {
  size_t begin = 0;
  for (size_t number = 1;; ++number) {
    const size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) return;
    use(text.substr(begin, end - begin), number);
    begin = end + 1;
  }
}

Json parse_record(std::string_view line, const fs::path& path, size_t number) {
  return with_hint("remove this line from the file", [&] {
    return parse_json(line, fmt::format("{}, record {}", path.string(), number));
  });
}

}  // namespace

std::vector<Json> read_log(const fs::path& path) {
  const std::string text = read_text_file(path);
  std::vector<Json> records;
  for_each_line(text, [&](std::string_view line, size_t number) {
    records.push_back(parse_record(line, path, number));
  });
  return records;
}

void rewrite_log(const fs::path& path, const std::function<bool(const Json&)>& keep) {
  const std::string text = read_text_file(path);
  std::string kept;  // the very bytes of the records, not what they would be written as now
  for_each_line(text, [&](std::string_view line, size_t number) {
    if (keep(parse_record(line, path, number))) kept.append(line).append("\n");
  });
  if (kept != text) write_file_atomically(path, kept);
}

}  // namespace llm
