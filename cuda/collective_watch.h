// Notices when a collective that was queued on the device does not end. The host does not wait for
// collectives, so the clock of backend/watchdog.h, which looks at what the host waits for, does not
// see them.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace llm::cuda {

class CollectiveWatch {
 public:
  // On a thread of its own, calls `fail` (once) with a text like "all-reduce at step 12 did not end
  // within 60 s" when a collective has been running for longer than timeout_seconds. The time in
  // which it waits for work queued before it does not count. Also fails with what `problem` returns
  // if that is not empty. Uses the current device.
  CollectiveWatch(cudaStream_t stream, double timeout_seconds, std::function<std::string()> problem,
                  std::function<void(const std::string& what)> fail);
  ~CollectiveWatch();
  CollectiveWatch(const CollectiveWatch&) = delete;
  CollectiveWatch& operator=(const CollectiveWatch&) = delete;

  void set_step(int64_t step) { step_ = step; }
  std::string describe(const char* collective) const;  // "all-reduce at step 12"

  // What is put on the stream between construction and destruction is one collective.
  class Guard {
   public:
    Guard(CollectiveWatch& watch, const char* collective);  // a string literal
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    CollectiveWatch& watch_;
    const char* collective_;
    cudaEvent_t begin_;
  };

 private:
  struct Queued {
    cudaEvent_t begin, end;
    std::string text;
  };
  using Time = std::chrono::steady_clock::time_point;

  cudaEvent_t recorded();  // an event at this point of the stream
  void watch();
  // Forgets what has ended; what is wrong, if something is.
  std::optional<std::string> look(Time now);

  const cudaStream_t stream_;
  const double timeout_seconds_;
  const std::function<std::string()> problem_;
  const std::function<void(const std::string&)> fail_;
  int device_ = 0;
  int64_t step_ = -1;
  std::mutex mutex_;  // of all below
  std::deque<Queued> queued_;
  std::optional<Time> running_since_;  // when the first of them was seen running
  std::vector<cudaEvent_t> free_events_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace llm::cuda
