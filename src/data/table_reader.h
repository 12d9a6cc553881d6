// Tables as text: rows of comma-separated (RFC 4180) or tab-separated values, one after the other
// in memory that does not grow with the file.
//
// What is a table in which form is told from the beginning of the file: it is tab-separated if at
// least as many of its first rows have, cut at tabs, the number of columns of the first one, two or
// more, as do cut at commas.
//
// Quotes. A field that begins with a quote goes on to the quote that closes it, over delimiters and
// ends of lines; two quotes in it stand for one. What follows the closing quote belongs to the
// field as it is, and a quote inside of a field that began without one is an ordinary character (so
// do pandas and Python's csv). Without quoting each line is a row.
//
// A row ends with a newline or a carriage return and a newline; the last one may end with the file.
// Empty lines are left out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/text_input.h"

namespace llm {

enum class Quoting {
  by_format,  // csv where commas separate, none where tabs do
  csv,
  none,
};
// "csv" or "none". Throws Error{usage} at --quoting.
Quoting quoting_named(const std::string& name);

struct TableFormat {
  char delimiter = ',';
  bool quotes = true;
};

// A row of more bytes is a bad one.
inline constexpr size_t kMaxRowBytes = size_t{1} << 24;

struct TableRow {
  int64_t line = 0;  // that it begins in, from 1; of a bad row the line of what is wrong
  std::vector<std::string> fields;
  // What makes it a bad row, and what to do about it; empty for a good one. A bad row has no
  // fields. Behind a quote that is never closed the next row begins in the next line.
  std::string problem, hint;
};

class TableReader {
 public:
  // Reads the beginning. Throws Error{input} for what is no text. delimiter: that of the file, if
  // it is not to be told from its beginning.
  TableReader(ByteSource source, std::string name, Quoting quoting = Quoting::by_format,
              std::optional<char> delimiter = std::nullopt);

  // False after the last row.
  bool next(TableRow& row);
  // The rows at the beginning, as next() gives or gave them: those that begin in the first 64 KiB,
  // without the last, which may go on. For telling what the columns are.
  const std::vector<TableRow>& first_rows() const { return first_rows_; }
  const TableFormat& format() const { return format_; }
  const std::string& name() const { return input_.name(); }

 private:
  void skip_rest_of_line();

  TextInput input_;
  TableFormat format_;
  std::vector<TableRow> first_rows_;
  bool in_bad_line_ = false;  // the rest of a line that is part of no row
};

// Appends a row in the form of RFC 4180, with a newline at its end: what a TableReader for commas
// reads back as the same fields, whatever they are. A single empty field is written as quotes.
void append_csv_row(std::string& text, const std::vector<std::string_view>& fields);

}  // namespace llm
