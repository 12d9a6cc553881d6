// Lines from standard input for a program that talks, and Ctrl-C.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llm {

// While it exists, SIGINT is only remembered. A person may press twice, but where nothing comes of
// it, the third before forget() ends the process at once (exit code 130).
class InterruptCatcher {
 public:
  static constexpr int kMostInterrupts = 3;

  InterruptCatcher();
  ~InterruptCatcher();
  InterruptCatcher(const InterruptCatcher&) = delete;
  InterruptCatcher& operator=(const InterruptCatcher&) = delete;

  static bool interrupted();
  static void forget();
};

class LineReader {
 public:
  static constexpr size_t kMaxLineBytes = size_t{1} << 20;

  enum class Event { line, interrupt, end };
  // The next line, without its end. interrupt: SIGINT came while waiting; what was typed is gone,
  // and the signal is forgotten. It reads ahead, so nothing else may read standard input. Throws
  // Error{input} for an endless line, or where there is nothing to read from.
  Event read(std::string& line);
  // Of the last line, from 1.
  int64_t line_number() const { return line_number_; }

 private:
  bool take_line(std::string& line);

  std::string buffer_;
  size_t looked_at_ = 0;
  int64_t line_number_ = 0;
  bool at_end_ = false;
};

// A message of several lines: all but the last end with a backslash. True when `line` completes
// `message`, false when it goes on.
bool append_line(std::string& message, std::string_view line);

}  // namespace llm
