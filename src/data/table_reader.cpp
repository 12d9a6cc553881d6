#include "data/table_reader.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/unicode.h"

namespace llm {
namespace {

constexpr size_t kLookedBytes = size_t{1} << 16;

// Cuts one row off the front of a text.
class RowScanner {
 public:
  enum class Outcome {
    complete,
    open,      // the text ends before the row does
    unclosed,  // the same, amid a quoted field
  };

  RowScanner(std::string_view text, TableFormat format) : text_(text), format_(format) {}

  // used(): the bytes of the row with what ends it, if it is complete.
  Outcome scan(std::vector<std::string>& fields) {
    fields.assign(1, {});
    while (at_ < text_.size()) {
      if (format_.quotes && text_[at_] == '"' && at_field_begin_) {
        opened_at_ = at_++;
        if (!scan_quoted(fields.back())) return Outcome::unclosed;
      }
      const size_t end = text_.find_first_of(stops(), at_);
      fields.back() += text_.substr(at_, end - at_);
      if (end == std::string_view::npos) break;
      at_ = end + 1;
      at_field_begin_ = true;
      if (text_[end] == '\n') {
        if (fields.back().ends_with('\r') && text_[end - 1] == '\r') fields.back().pop_back();
        return Outcome::complete;
      }
      fields.emplace_back();
    }
    return Outcome::open;
  }
  size_t used() const { return at_; }
  size_t opened_at() const { return opened_at_; }

 private:
  // Behind the opening quote. False if the field is not closed.
  bool scan_quoted(std::string& field) {
    at_field_begin_ = false;
    while (true) {
      const size_t quote = text_.find('"', at_);
      if (quote == std::string_view::npos) return false;
      field += text_.substr(at_, quote - at_);
      at_ = quote + 1;
      if (at_ == text_.size() || text_[at_] != '"') return true;
      field += '"';
      ++at_;
    }
  }
  std::string_view stops() {
    stops_[0] = format_.delimiter;
    return {stops_, 2};
  }

  std::string_view text_;
  TableFormat format_;
  char stops_[2] = {',', '\n'};
  size_t at_ = 0, opened_at_ = 0;
  bool at_field_begin_ = true;
};

// Of a row with what ends it.
bool is_empty_line(std::string_view bytes) {
  return bytes == "\n" || bytes == "\r\n" || bytes == "\r";
}

// A row that is bad at byte `at` of the text that begins in line `first_line`.
void make_bad(TableRow& row, int64_t first_line, std::string_view text, size_t at,
              std::string problem, std::string hint) {
  const auto end = text.begin() + static_cast<std::ptrdiff_t>(at);
  row.line = first_line + std::count(text.begin(), end, '\n');
  row.fields.clear();
  row.problem = std::move(problem);
  row.hint = std::move(hint);
}

// The bytes of a text up to the end of the line with byte `at`.
size_t to_line_end(std::string_view text, size_t at) {
  const size_t end = text.find('\n', at);
  return end == std::string_view::npos ? text.size() : end + 1;
}

// Reads the row at the front of `text`, which begins in line `first_line`, and returns its bytes.
// Of a row that does not end where it should these are the ones up to the end of its bad line, or
// of the text if that is not in it. 0 if more of the text is needed.
size_t read_row(TableRow& row, std::string_view text, bool at_end, int64_t first_line,
                TableFormat format) {
  using Outcome = RowScanner::Outcome;
  RowScanner scanner(text, format);
  row.problem.clear();
  row.hint.clear();
  row.line = first_line;
  const Outcome outcome = scanner.scan(row.fields);
  const bool complete = outcome == Outcome::complete;
  const size_t size = complete ? scanner.used() : text.size();
  const bool too_long = size > kMaxRowBytes;
  if (!complete && !at_end && !too_long) return 0;
  if (outcome == Outcome::unclosed) {
    const size_t at = scanner.opened_at();
    make_bad(row, first_line, text, at,
             too_long ? fmt::format("the quote that opens here is not closed within {} bytes",
                                    with_commas(kMaxRowBytes))
                      : "the quote that opens here is never closed",
             "if quotes are ordinary characters in this file: --quoting none");
    return to_line_end(text, at);
  }
  if (too_long) {
    make_bad(row, first_line, text, 0,
             fmt::format("a row of more than {} bytes", with_commas(kMaxRowBytes)),
             "is it a table, one row per line?");
    return complete ? size : to_line_end(text, 0);
  }
  if (!complete && text.ends_with('\r')) row.fields.back().pop_back();
  const size_t valid = valid_utf8_prefix(text.substr(0, size));
  if (valid < size) {
    make_bad(row, first_line, text, valid,
             fmt::format("byte 0x{:02X} is no UTF-8 text", static_cast<unsigned char>(text[valid])),
             "convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW");
  }
  return size;
}

// The rows of the beginning of a text in one format.
std::vector<TableRow> read_first_rows(std::string_view text, bool whole, TableFormat format) {
  std::vector<TableRow> rows;
  TableRow row;
  int64_t line = 1;
  while (!text.empty()) {
    const size_t used = read_row(row, text, whole, line, format);
    if (used == 0) break;
    const std::string_view bytes = text.substr(0, used);
    line += std::count(bytes.begin(), bytes.end(), '\n');
    if (!is_empty_line(bytes)) rows.push_back(row);
    text.remove_prefix(used);
  }
  return rows;
}

// How many of the rows have as many columns as the first: 0 if that has one only.
int64_t rows_alike(const std::vector<TableRow>& rows) {
  if (rows.empty() || rows[0].fields.size() < 2) return 0;
  return std::count_if(rows.begin(), rows.end(), [&](const TableRow& row) {
    return row.fields.size() == rows[0].fields.size();
  });
}

TableFormat with_quoting(char delimiter, Quoting quoting) {
  return {delimiter,
          quoting == Quoting::csv || (quoting == Quoting::by_format && delimiter != '\t')};
}

void refuse_old_line_ends(std::string_view begin, const std::string& name) {
  if (begin.find('\n') != std::string_view::npos) return;
  if (std::count(begin.begin(), begin.end(), '\r') < 2) return;
  fail_input(name, "its lines end with carriage returns only",
             "convert it: tr '\\r' '\\n' < FILE > NEW");
}

}  // namespace

Quoting quoting_named(const std::string& name) {
  if (name == "csv") return Quoting::csv;
  if (name == "none") return Quoting::none;
  fail_usage("--quoting", fmt::format("\"{}\" is none of csv, none", name.substr(0, 100)));
}

TableReader::TableReader(ByteSource source, std::string name, Quoting quoting,
                         std::optional<char> delimiter)
    : input_(std::move(source), std::move(name)) {
  bool whole = false;
  while (!whole && input_.rest().size() < kLookedBytes) whole = !input_.read_more();
  whole = whole && input_.rest().size() <= kLookedBytes;
  const std::string_view begin = input_.rest().substr(0, kLookedBytes);
  refuse_old_line_ends(begin, input_.name());
  if (delimiter) {
    format_ = with_quoting(*delimiter, quoting);
    first_rows_ = read_first_rows(begin, whole, format_);
    return;
  }
  format_ = with_quoting('\t', quoting);
  first_rows_ = read_first_rows(begin, whole, format_);
  const TableFormat commas = with_quoting(',', quoting);
  std::vector<TableRow> rows = read_first_rows(begin, whole, commas);
  const int64_t alike = rows_alike(first_rows_);
  if (alike > 0 && alike >= rows_alike(rows)) return;
  format_ = commas;
  first_rows_ = std::move(rows);
}

void TableReader::skip_rest_of_line() {
  size_t end;
  while ((end = input_.rest().find('\n')) == std::string_view::npos) {
    input_.use(input_.rest().size());
    if (!input_.read_more()) break;
  }
  if (end != std::string_view::npos) input_.use(end + 1);
  in_bad_line_ = false;
}

bool TableReader::next(TableRow& row) {
  if (in_bad_line_) skip_rest_of_line();
  bool at_end = false;
  while (true) {
    const size_t used =
        input_.rest().empty() ? 0 : read_row(row, input_.rest(), at_end, input_.line(), format_);
    if (used > 0) {
      const std::string_view bytes = input_.rest().substr(0, used);
      const bool empty = is_empty_line(bytes);
      in_bad_line_ = !row.problem.empty() && !bytes.ends_with('\n');
      input_.use(used);
      if (!empty) return true;
      continue;
    }
    if (at_end) return false;
    // Reading the row from its beginning again takes time in its length: so look at twice as much.
    const size_t wanted = 2 * input_.rest().size();
    do {
      at_end = !input_.read_more();
    } while (!at_end && input_.rest().size() < wanted);
  }
}

void append_csv_row(std::string& text, const std::vector<std::string_view>& fields) {
  bool first = true;
  for (const std::string_view field : fields) {
    if (!first) text += ',';
    first = false;
    const bool lone = fields.size() == 1 && field.empty();
    if (!lone && field.find_first_of("\",\r\n") == std::string_view::npos) {
      text += field;
      continue;
    }
    text += '"';
    for (const char c : field) {
      if (c == '"') text += '"';
      text += c;
    }
    text += '"';
  }
  text += '\n';
}

}  // namespace llm
