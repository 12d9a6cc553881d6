#include "cuda/collective_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "cuda/cuda_check.h"

namespace llm::cuda {

CollectiveWatch::CollectiveWatch(cudaStream_t stream, double timeout_seconds,
                                 std::function<std::string()> problem,
                                 std::function<void(const std::string& what)> fail)
    : stream_(stream),
      timeout_seconds_(timeout_seconds),
      problem_(std::move(problem)),
      fail_(std::move(fail)) {
  check(cudaGetDevice(&device_), "asking for the GPU");
  thread_ = std::thread([this] { watch(); });
}

CollectiveWatch::~CollectiveWatch() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
  for (const Queued& queued : queued_) {
    free_events_.push_back(queued.begin);
    free_events_.push_back(queued.end);
  }
  for (cudaEvent_t event : free_events_) cudaEventDestroy(event);
}

std::string CollectiveWatch::describe(const char* collective) const {
  return step_ < 0 ? collective : fmt::format("{} at step {}", collective, step_);
}

cudaEvent_t CollectiveWatch::recorded() {
  cudaEvent_t event = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (!free_events_.empty()) {
      event = free_events_.back();
      free_events_.pop_back();
    }
  }
  if (!event) check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
  check(cudaEventRecord(event, stream_), "recording an event");
  return event;
}

CollectiveWatch::Guard::Guard(CollectiveWatch& watch, const char* collective)
    : watch_(watch), collective_(collective), begin_(watch.recorded()) {}

CollectiveWatch::Guard::~Guard() {
  try {
    Queued queued{begin_, watch_.recorded(), watch_.describe(collective_)};
    const std::lock_guard lock(watch_.mutex_);
    watch_.queued_.push_back(std::move(queued));
  } catch (const Error&) {
    // The device has failed, which the next call on it reports.
    cudaEventDestroy(begin_);
  }
}

std::optional<std::string> CollectiveWatch::look(Time now) {
  while (!queued_.empty()) {
    const Queued& first = queued_.front();
    if (cudaEventQuery(first.end) == cudaErrorNotReady) break;
    // It has ended; or the device has failed, which the next call on it reports.
    free_events_.push_back(first.begin);
    free_events_.push_back(first.end);
    queued_.pop_front();
    running_since_.reset();
  }
  if (queued_.empty() || cudaEventQuery(queued_.front().begin) == cudaErrorNotReady) return {};
  if (!running_since_) running_since_ = now;
  if (std::chrono::duration<double>(now - *running_since_).count() < timeout_seconds_) return {};
  return fmt::format("{} did not end within {:g} s", queued_.front().text, timeout_seconds_);
}

void CollectiveWatch::watch() {
  cudaSetDevice(device_);
  const std::chrono::duration<double> interval(std::clamp(timeout_seconds_ / 10, 0.01, 1.0));
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return stop_; })) {
    std::optional<std::string> what = look(std::chrono::steady_clock::now());
    if (std::string problem = problem_(); !problem.empty()) {
      what = queued_.empty() ? std::move(problem)
                             : fmt::format("{}: {}", queued_.front().text, problem);
    }
    if (!what) continue;
    lock.unlock();
    fail_(*what);
    return;
  }
}

}  // namespace llm::cuda
