#include "backend/watchdog.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace llm {
namespace {

int64_t now_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Watchdog::Watchdog(double timeout_seconds, std::function<void(const std::string&)> on_timeout)
    : timeout_seconds_(timeout_seconds),
      on_timeout_(std::move(on_timeout)),
      thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::string Watchdog::describe(const char* collective) const {
  const int64_t step = step_.load(std::memory_order_relaxed);
  return step < 0 ? collective : fmt::format("{} at step {}", collective, step);
}

void Watchdog::watch() {
  const std::chrono::duration<double> interval(std::clamp(timeout_seconds_ / 10, 0.01, 1.0));
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return stop_; })) {
    const int64_t started = started_.load(std::memory_order_acquire);
    if (started == 0) continue;
    if (static_cast<double>(now_nanoseconds() - started) * 1e-9 < timeout_seconds_) continue;
    const char* collective = collective_.load(std::memory_order_relaxed);
    on_timeout_(
        fmt::format("{} did not return within {:g} s", describe(collective), timeout_seconds_));
    return;
  }
}

Watchdog::Guard::Guard(Watchdog& watchdog, const char* collective) : watchdog_(watchdog) {
  watchdog.collective_.store(collective, std::memory_order_relaxed);
  watchdog.started_.store(now_nanoseconds(), std::memory_order_release);
}

Watchdog::Guard::~Guard() { watchdog_.started_.store(0, std::memory_order_release); }

}  // namespace llm
