#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <mutex>

namespace llm {
namespace {

// The live line of the process: log messages have to step around it.
std::mutex screen_mutex;
std::string live_line;

void clear_live_line() {
  if (!live_line.empty()) std::fputs("\r\x1b[K", stderr);
}

}  // namespace

void print_above_progress(std::string_view message) {
  const std::lock_guard lock(screen_mutex);
  clear_live_line();
  fmt::print(stderr, "{}\n{}", message, live_line);
  std::fflush(stderr);
}

Progress::Progress(bool enabled) : enabled_(enabled), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { finish(); }

void Progress::show(std::string_view line, bool keep) {
  if (!enabled_) return;
  const auto now = std::chrono::steady_clock::now();
  const auto interval = terminal_ ? std::chrono::milliseconds(100) : plain_interval_;
  if (!keep && last_.time_since_epoch().count() != 0 && now - last_ < interval) {
    pending_ = line;
    return;
  }
  last_ = now;
  pending_.clear();
  const std::lock_guard lock(screen_mutex);
  if (!terminal_) {
    fmt::print(stderr, "{}\n", line);
  } else {
    clear_live_line();
    live_line = keep ? "" : std::string(line);
    fmt::print(stderr, "{}{}", line, keep ? "\n" : "");
  }
  live_ = terminal_ && !keep;
  std::fflush(stderr);
}

void Progress::finish() {
  if (!enabled_) return;
  const std::lock_guard lock(screen_mutex);
  if (live_) {
    if (!pending_.empty()) {
      clear_live_line();
      std::fputs(pending_.c_str(), stderr);
    }
    std::fputs("\n", stderr);
    live_line.clear();
    live_ = false;
  }
  pending_.clear();
  std::fflush(stderr);
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const auto total = static_cast<int64_t>(seconds + 0.5);
  if (total < 3600) return fmt::format("{}:{:02}", total / 60, total % 60);
  return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
}

std::string format_bytes(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (std::abs(value) >= 1024 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace llm
