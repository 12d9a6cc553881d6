#include "base/log.h"

#include <fmt/format.h>

#include <vector>

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

std::vector<Json> read_log(const fs::path& path) {
  const std::string text = read_text_file(path);
  std::vector<Json> records;
  size_t begin = 0;
  for (size_t line = 1;; ++line) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) return records;  // what follows was torn off by a kill
    records.push_back(parse_json(std::string_view(text).substr(begin, end - begin),
                                 fmt::format("{}, line {}", path.string(), line)));
    begin = end + 1;
  }
}

void rewrite_log(const fs::path& path, const std::function<bool(const Json&)>& keep) {
  std::string text;
  for (const Json& record : read_log(path)) {
    if (keep(record)) text += to_line(record) + "\n";
  }
  write_file_atomically(path, text);
}

}  // namespace llm
