// Progress on long work: a live line that is redrawn on a terminal, plain lines otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llm {

// One thread shows lines; messages of others (print_above_progress, log_info) may come in between.
// At most one live line at a time in a process.
class Progress {
 public:
  // enabled: false prints nothing (ranks other than 0, --quiet).
  explicit Progress(bool enabled = true);
  ~Progress();  // finish()
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Shows `line`. On a terminal it replaces the live line, at most every live interval (0.1 s), and
  // is cut to the width of the screen; keep = true leaves it in the scrollback, whole. Elsewhere
  // lines with keep = true are printed, and of the others one every plain interval (10 s).
  void show(std::string_view line, bool keep = false);
  void finish();  // leaves the last live line on the screen, complete

  // The least time between two lines that are not kept: elsewhere, and on a terminal.
  void set_plain_interval(std::chrono::milliseconds interval) { plain_interval_ = interval; }
  void set_live_interval(std::chrono::milliseconds interval) { live_interval_ = interval; }

 private:
  bool enabled_, terminal_;
  std::chrono::milliseconds plain_interval_{10'000}, live_interval_{100};
  std::optional<std::chrono::steady_clock::time_point> last_;
  std::string pending_;
};

// Prints a line to stderr above the live line, if one is shown.
void print_above_progress(std::string_view message);

double seconds_since(std::chrono::steady_clock::time_point start);
// 75 -> "1:15", 3700 -> "1:01:40".
std::string format_duration(double seconds);
// 1536 -> "1.5 KiB".
std::string format_bytes(int64_t bytes);

}  // namespace llm
