#include "base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <mutex>

namespace llm {
namespace {

// The live line of the process: messages have to step around it.
std::mutex screen_mutex;
std::string live_line;

bool is_terminal() {
  const char* kind = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && (kind == nullptr || std::string_view(kind) != "dumb");
}

// The part of `line` that fits into one row, because only one row can be redrawn.
std::string_view fit_row(std::string_view line) {
  struct winsize window {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col < 2) return line;
  size_t columns = window.ws_col - 1u;  // the last one may wrap
  for (size_t i = 0; i < line.size(); ++i) {
    const bool starts_character = (static_cast<unsigned char>(line[i]) & 0xc0) != 0x80;
    if (starts_character && columns-- == 0) return line.substr(0, i);
  }
  return line;
}

// The whole of what one call prints goes out in one write, also with other processes on the screen.
void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

std::string erase_live_line() { return live_line.empty() ? "" : "\r\x1b[K"; }

}  // namespace

void print_above_progress(std::string_view message) {
  const std::lock_guard lock(screen_mutex);
  print(fmt::format("{}{}\n{}", erase_live_line(), message, live_line));
}

Progress::Progress(bool enabled) : enabled_(enabled), terminal_(is_terminal()) {}

Progress::~Progress() { finish(); }

void Progress::show(std::string_view line, bool keep) {
  if (!enabled_) return;
  const auto now = std::chrono::steady_clock::now();
  const auto interval = terminal_ ? live_interval_ : plain_interval_;
  if (!keep && last_.has_value() && now - *last_ < interval) {
    pending_ = line;
    return;
  }
  if (!keep) last_ = now;  // what is kept comes beside the regular lines, not instead of them
  pending_.clear();
  const std::lock_guard lock(screen_mutex);
  if (!terminal_) return print(fmt::format("{}\n", line));
  const std::string erase = erase_live_line();
  live_line = keep ? "" : fit_row(line);
  print(keep ? fmt::format("{}{}\n", erase, line) : erase + live_line);
}

void Progress::finish() {
  if (!enabled_ || !terminal_) return;
  const std::lock_guard lock(screen_mutex);
  if (!live_line.empty()) {
    // The last line is left complete, whatever the time since the one before.
    print(fmt::format("{}{}\n", erase_live_line(), pending_.empty() ? live_line : pending_));
    live_line.clear();
  }
  pending_.clear();
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string format_duration(double seconds) {
  if (!(seconds >= 0 && seconds < 1e15)) return "?";
  const auto total = std::llround(seconds);
  if (total < 3600) return fmt::format("{}:{:02}", total / 60, total % 60);
  return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
}

std::string format_bytes(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  // 1023.95 and more would be printed as 1024.0.
  while (std::abs(value) >= (unit == 0 ? 1024 : 1023.95) && unit + 1 < std::size(kUnits))
    value /= 1024, ++unit;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace llm
