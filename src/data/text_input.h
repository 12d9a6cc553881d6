// Text from outside, read piece by piece: what is told from the first bytes of a file, and a buffer
// for the readers of lines, tables and JSON.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace llm {

// A line of JSONL is held in memory as a whole; a longer one is refused.
inline constexpr int64_t kMaxJsonLineBytes = int64_t{1} << 28;

// Where bytes come from: fills the span as far as it can and returns how many; 0 at the end.
using ByteSource = std::function<size_t(std::span<char>)>;

// The bytes of a file; "-" is standard input. Throws Error{input}.
ByteSource open_bytes(const fs::path& path);

// What a file is called in messages: its path, or "standard input" for "-".
std::string input_name(const fs::path& path);

// "NAME: line N": where something is wrong in a text.
std::string text_place(const std::string& name, int64_t line);

// Throws Error{input} where the first bytes of a file show that it is no UTF-8 text: UTF-16,
// compressed files, images, programs.
void refuse_other_formats(std::string_view begin, const std::string& name);

// A line of a text, without its newline, and its number from 1.
struct TextLine {
  std::string_view text;
  int64_t number;
};

// The bytes of a text that have been read and not yet used, in a buffer that grows only while
// nothing is used. A byte order mark at the beginning is left out. What is no text is refused.
class TextInput {
 public:
  TextInput(ByteSource source, std::string name);

  // What is read and not yet used. Every other function makes the view invalid.
  std::string_view rest() const { return std::string_view(buffer_).substr(begin_, end_ - begin_); }
  // Reads on, at least one byte; false at the end of the text.
  bool read_more();
  // Takes so many bytes away from the front of rest().
  void use(size_t count);
  // The number of the line in which rest() begins, from 1.
  int64_t line() const { return line_; }
  const std::string& name() const { return name_; }

  // Takes the next line away from rest(); nothing at the end. Its text holds until the next call of
  // any function. Throws Error{input} for a line of more than kMaxJsonLineBytes.
  std::optional<TextLine> next_line();

 private:
  void make_room();

  ByteSource source_;
  std::string name_, buffer_;
  size_t begin_ = 0, end_ = 0;
  int64_t line_ = 1;
  bool begun_ = false, used_ = false;
};

}  // namespace llm
