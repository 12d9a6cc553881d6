#include "data/json_records.h"

#include <cstdio>
#include <utility>

#include "base/error.h"

namespace llm {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr const char* kListHint = "a list of objects: [{...}, {...}], in UTF-8";
constexpr const char* kLinesHint =
    "JSONL has one JSON object per line, in UTF-8; a list of objects begins with [";

// Parses a part of a file that begins at a line and a column of it. Throws Error{input} at the line
// and column of the file.
Json parse_part(std::string_view text, const std::string& name, int64_t line, int64_t column,
                const char* hint) {
  try {
    return parse_json(text, "");
  } catch (const Error& error) {
    long long inner_line = 1, inner_column = 1;
    const bool placed = std::sscanf(error.where().c_str(), ", line %lld, column %lld", &inner_line,
                                    &inner_column) == 2;
    if (inner_line == 1) inner_column += column - 1;
    const std::string where = text_place(name, line + inner_line - 1);
    fail_input(placed ? fmt::format("{}, column {}", where, inner_column) : where, error.problem(),
               hint);
  }
}

}  // namespace

JsonRecordReader::JsonRecordReader(ByteSource source, std::string name)
    : input_(std::move(source), std::move(name)) {
  list_ = skip_space() == '[';
  if (list_) use(1);
}

bool JsonRecordReader::next(JsonRecord& record) {
  record = {};
  return list_ ? next_element(record) : next_line(record);
}

bool JsonRecordReader::next_line(JsonRecord& record) {
  while (const std::optional<TextLine> line = input_.next_line()) {
    const int64_t column = std::exchange(column_, 1);
    if (line->text.find_first_not_of(kSpace) == std::string_view::npos) continue;
    record.line = line->number;
    try {
      record.value = parse_part(line->text, name(), line->number, column, kLinesHint);
    } catch (const Error& error) {
      record.where = error.where();
      record.problem = error.problem();
      record.hint = error.hint();
    }
    return true;
  }
  return false;
}

bool JsonRecordReader::next_element(JsonRecord& record) {
  if (ended_) return false;
  const char begin = skip_space();
  ended_ = first_ && begin == ']';
  first_ = false;
  if (!ended_) {
    if (begin == 0) fail_here("the list ends without a ]");
    if (begin == ',' || begin == ']') fail_here("an element of the list is missing");
    const size_t size = find_element_end();
    record.line = input_.line();
    record.value =
        parse_part(input_.rest().substr(0, size), name(), record.line, column_, kListHint);
    use(size);
    if (input_.rest().empty()) fail_here("the list ends without a ]");
    ended_ = input_.rest().front() == ']';
    use(1);
  } else {
    use(1);
  }
  if (ended_ && skip_space() != 0) fail_here("there is more behind the end of the list");
  return record.line > 0;
}

char JsonRecordReader::skip_space() {
  while (true) {
    const size_t at = input_.rest().find_first_not_of(kSpace);
    use(at == std::string_view::npos ? input_.rest().size() : at);
    if (at != std::string_view::npos) return input_.rest().front();
    if (!input_.read_more()) return 0;
  }
}

size_t JsonRecordReader::find_element_end() {
  int64_t depth = 0;
  bool in_text = false;
  for (size_t at = 0;; ++at) {
    while (at >= input_.rest().size()) {
      if (static_cast<int64_t>(at) > kMaxJsonLineBytes) {
        fail_here(fmt::format("an element of more than {} bytes", with_commas(kMaxJsonLineBytes)));
      }
      if (!input_.read_more()) return input_.rest().size();
    }
    const char c = input_.rest()[at];
    if (in_text) {
      if (c == '\\') ++at;
      in_text = c != '"';
      continue;
    }
    if (c == '"') in_text = true;
    if (c == '[' || c == '{') ++depth;
    if ((c == ',' || c == ']' || c == '}') && depth == 0) return at;
    if (c == ']' || c == '}') --depth;
  }
}

void JsonRecordReader::use(size_t count) {
  const std::string_view part = input_.rest().substr(0, count);
  const size_t newline = part.rfind('\n');
  const auto behind =
      static_cast<int64_t>(newline == std::string_view::npos ? count : count - newline - 1);
  column_ = newline == std::string_view::npos ? column_ + behind : 1 + behind;
  input_.use(count);
}

void JsonRecordReader::fail_here(const std::string& what) const {
  fail_input(fmt::format("{}, column {}", text_place(name(), input_.line()), column_),
             "not valid JSON: " + what, kListHint);
}

}  // namespace llm
