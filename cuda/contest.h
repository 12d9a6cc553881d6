// Finds the fastest of several ways to do the same work, on the device and under load.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "cuda/launch.h"

namespace llm::cuda {

// Each candidate is launched many times, in batches recorded as CUDA graphs: that leaves out the
// host's time per launch, and shows that the candidate can be recorded. The host waits meanwhile.
class Contest {
 public:
  using Launch = std::function<void()>;

  struct Winner {
    size_t number;   // of the candidate, in the order of enter(), from 0
    double seconds;  // of one launch
  };

  // Nothing else uses the stream until the contest is over.
  explicit Contest(cudaStream_t stream);
  ~Contest();
  Contest(const Contest&) = delete;
  Contest& operator=(const Contest&) = delete;

  // A first look at a candidate. `launch` queues its work on the stream; where it throws Error or
  // takes much longer than the best so far, it has lost already.
  void enter(const Launch& launch);
  // Of one launch at first look; nothing where the candidate has lost already.
  std::optional<double> seconds(size_t number) const;
  double best_seconds() const;  // 0 where there is none
  // The best few compete again in longer batches, in turn: a GPU under load lowers its clock, more
  // so for one algorithm than for another. `repeatable` says whether a candidate gives the same
  // bits each time. Nothing if no candidate can be used.
  std::optional<Winner> decide(const std::function<bool(size_t)>& repeatable);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace llm::cuda
