#include "data/table_columns.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace llm {
namespace {

constexpr std::array<std::string_view, 13> kLabelNames = {
    "label", "labels", "category", "class", "target", "sentiment", "intent",
    "topic", "y",      "v1",       "tag",   "stars",  "rating"};
constexpr std::array<std::string_view, 13> kTextNames = {
    "text",  "texts", "message", "sentence", "content", "comment",  "review",
    "tweet", "sms",   "body",    "document", "v2",      "sentence1"};

constexpr size_t kNone = static_cast<size_t>(-1);

// Small letters, without spaces around them.
std::string plain_name(std::string_view name) {
  std::string plain;
  for (const char c : name) plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const size_t begin = plain.find_first_not_of(" \t");
  if (begin == std::string::npos) return {};
  return plain.substr(begin, plain.find_last_not_of(" \t") - begin + 1);
}

// The first column with one of the names, those at the front of the list first.
size_t find_named(const std::vector<std::string>& cells, std::span<const std::string_view> names) {
  for (const std::string_view name : names) {
    for (size_t i = 0; i < cells.size(); ++i) {
      if (plain_name(cells[i]) == name) return i;
    }
  }
  return kNone;
}

size_t find_exactly(const std::vector<std::string>& cells, const std::string& name) {
  const auto at = std::find(cells.begin(), cells.end(), name);
  if (at != cells.end()) return static_cast<size_t>(at - cells.begin());
  const std::string plain = plain_name(name);
  return find_named(cells, std::array{std::string_view(plain)});
}

// A column number from 1, as an index; kNone if the text is none.
size_t column_number(const std::string& text) {
  size_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  const bool number = error == std::errc() && stopped == end && value > 0;
  return number ? value - 1 : kNone;
}

bool recurs(std::span<const TableRow> rows, size_t column) {
  return std::any_of(rows.begin() + 1, rows.end(), [&](const TableRow& row) {
    return column < row.fields.size() && row.fields[column] == rows[0].fields[column];
  });
}

// Whether the cells of the first row can be names: short, without spaces, not values of the rows.
bool looks_like_names(std::span<const TableRow> rows) {
  constexpr size_t kLongestName = 40;
  const std::vector<std::string>& cells = rows[0].fields;
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string plain = plain_name(cells[i]);
    if (plain.size() > kLongestName || plain.find_first_of(" \t\r\n") != std::string::npos) {
      return false;
    }
    if (!plain.empty() && recurs(rows, i)) return false;
  }
  return true;
}

bool is_header(std::span<const TableRow> rows, const LabeledTextOptions& options) {
  if (options.header != Header::by_content) return options.header == Header::yes;
  if (rows.empty() || !rows[0].problem.empty()) return false;
  const std::vector<std::string>& cells = rows[0].fields;
  for (const std::string& wanted : {options.label_column, options.text_column}) {
    if (!wanted.empty() && find_exactly(cells, wanted) != kNone) return true;
    if (!wanted.empty() && column_number(wanted) == kNone) return true;  // it must be there
  }
  const bool label = find_named(cells, kLabelNames) != kNone;
  const bool text = find_named(cells, kTextNames) != kNone;
  if (label && text) return true;
  return (label || text) && looks_like_names(rows);
}

std::string list_columns(const std::vector<std::string>& cells) {
  std::string text;
  for (const std::string& cell : cells) {
    if (text.size() > 200) return text + ", ...";
    text += (text.empty() ? "" : ", ") + cell.substr(0, 50);
  }
  return text;
}

class Finder {
 public:
  Finder(const TableReader& reader, bool header) : name_(reader.name()), header_(header) {
    if (header && !reader.first_rows().empty()) names_ = reader.first_rows().front().fields;
  }

  // A column that was asked for, or kNone if none was.
  size_t asked(const char* option, const std::string& wanted) const {
    if (wanted.empty()) return kNone;
    if (const size_t at = find_exactly(names_, wanted); header_ && at != kNone) return at;
    const size_t number = column_number(wanted);
    if (number != kNone && (!header_ || number < names_.size())) return number;
    fail(fmt::format("there is no column \"{}\"", wanted.substr(0, 60)), option);
  }
  size_t known(std::span<const std::string_view> names) const { return find_named(names_, names); }
  size_t count() const { return names_.size(); }
  std::string name_of(size_t column) const {
    return header_ ? names_[column] : std::to_string(column + 1);
  }
  [[noreturn]] void fail(const std::string& what, const char* option) const {
    fail_input(text_place(name_, 1),
               header_ ? fmt::format("{}; its columns are: {}", what, list_columns(names_)) : what,
               fmt::format("choose one by name or number with {}", option));
  }

 private:
  std::string name_;
  bool header_;
  std::vector<std::string> names_;
};

// Of two columns the other one.
size_t other_of_two(size_t column, size_t count) {
  return column != kNone && count == 2 && column < 2 ? 1 - column : kNone;
}

void find_under_header(size_t& label, size_t& text, const Finder& finder, bool with_labels) {
  if (label == kNone && with_labels) label = finder.known(kLabelNames);
  if (text == kNone) text = finder.known(kTextNames);
  if (text == kNone) text = other_of_two(label, finder.count());
  if (text == kNone && !with_labels && finder.count() == 1) text = 0;
  if (text == kNone) finder.fail("which column has the text?", "--text-column");
  if (!with_labels) return;
  if (label == kNone) label = other_of_two(text, finder.count());
  if (label == kNone) finder.fail("which column has the label?", "--label-column");
}

void find_without_header(size_t& label, size_t& text, size_t count, bool with_labels) {
  if (label == kNone && with_labels) label = text == 0 ? 1 : 0;
  if (text == kNone) text = label == 1 || (!with_labels && count < 2) ? 0 : 1;
}

}  // namespace

bool has_header(const TableReader& reader, const LabeledTextOptions& options) {
  return is_header(reader.first_rows(), options);
}

bool header_names_label(const TableReader& reader) {
  const std::vector<TableRow>& rows = reader.first_rows();
  return !rows.empty() && find_named(rows.front().fields, kLabelNames) != kNone;
}

TableColumns find_columns(const TableReader& reader, const LabeledTextOptions& options) {
  const std::vector<TableRow>& rows = reader.first_rows();
  TableColumns columns;
  columns.header = is_header(rows, options);
  const Finder finder(reader, columns.header);
  size_t label = options.with_labels ? finder.asked("--label-column", options.label_column) : kNone;
  size_t text = finder.asked("--text-column", options.text_column);
  if (columns.header) {
    find_under_header(label, text, finder, options.with_labels);
  } else {
    find_without_header(label, text, rows.empty() ? 0 : rows[0].fields.size(), options.with_labels);
  }
  if (label == text) finder.fail("the label and the text are in one column", "--text-column");
  columns.text = text;
  columns.text_name = finder.name_of(text);
  if (label != kNone) {
    columns.label = label;
    columns.label_name = finder.name_of(label);
  }
  return columns;
}

}  // namespace llm
