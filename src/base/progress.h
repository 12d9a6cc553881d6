// Progress on long work: a live line that is redrawn on a terminal, plain lines otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace llm {

class Progress {
 public:
  // enabled: false prints nothing (ranks other than 0, --quiet).
  explicit Progress(bool enabled = true);
  ~Progress();  // leaves the last live line on screen

  // Shows `line`. On a terminal it replaces the line before, at most 10 times a second, and
  // keep = true leaves it in the scrollback. Elsewhere only lines with keep = true are printed, and
  // the others at most every `plain_interval`.
  void show(std::string_view line, bool keep = false);
  void finish();

  void set_plain_interval(std::chrono::milliseconds interval) { plain_interval_ = interval; }

 private:
  bool enabled_, terminal_, live_ = false;
  std::chrono::milliseconds plain_interval_{10'000};
  std::chrono::steady_clock::time_point last_{};
  std::string pending_;
};

// Prints a line to stderr above the live line, if one is shown.
void print_above_progress(std::string_view message);

// 75 -> "1:15", 3700 -> "1:01:40".
std::string format_duration(double seconds);
// 1536 -> "1.5 KiB".
std::string format_bytes(int64_t bytes);

}  // namespace llm
