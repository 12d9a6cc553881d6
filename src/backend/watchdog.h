// Notices when a collective does not return: a thread that looks at the clock while one is running.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace llm {

class Watchdog {
 public:
  // Calls on_timeout (on its own thread, once) with a text like "all-reduce at step 12 did not
  // return within 60 s" when something watched takes longer than timeout_seconds.
  Watchdog(double timeout_seconds, std::function<void(const std::string& what)> on_timeout);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void set_step(int64_t step) { step_.store(step, std::memory_order_relaxed); }
  // "all-reduce at step 12"; before the first step only "broadcast".
  std::string describe(const char* collective) const;

  // Watches from construction to destruction. One at a time.
  class Guard {
   public:
    Guard(Watchdog& watchdog, const char* collective);  // a string literal
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Watchdog& watchdog_;
  };

 private:
  void watch();

  const double timeout_seconds_;
  const std::function<void(const std::string&)> on_timeout_;
  std::atomic<int64_t> step_{-1};
  std::atomic<int64_t> started_{0};  // nanoseconds of the steady clock; 0: nothing is running
  std::atomic<const char*> collective_{""};
  std::mutex mutex_;  // of stop_
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace llm
