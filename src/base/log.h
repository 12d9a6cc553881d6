// What the program tells people (stderr) and what it keeps (log.jsonl).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"

namespace llm {

// To stderr, as a line of its own even while a live progress line is shown.
void log_info(std::string_view message);
void log_warning(std::string_view message);  // prefixed with "warning: "

// log.jsonl: one JSON object per line, in the order of appending. All functions throw Error{disk}.
class JsonLinesLog {
 public:
  explicit JsonLinesLog(fs::path path);
  void append(const Json& record);
  void sync();

 private:
  FileAppender file_;
};

// Keeps the records for which keep() is true, byte for byte, and drops the others and a torn last
// line, atomically. Throws Error{input} for a file that is not there or a whole line that is no
// JSON.
void rewrite_log(const fs::path& path, const std::function<bool(const Json&)>& keep);
// All whole records of a log; a torn last line is left out. Throws as rewrite_log().
std::vector<Json> read_log(const fs::path& path);

}  // namespace llm
