// Recent losses, and from them the loss above which a step counts as a spike.
//
// The rule: limit = median + kSpikeDeviations * deviation, where the deviation is 1.4826 times the
// median distance from the median (the standard deviation, if losses were normal), but at least
// kSpikeLeastDeviation of the median. Medians, so that a spike in the window does not raise the
// limit for the next one; spikes do enter the window, so that a lasting change of level is accepted
// after half a window. No limit before kSpikeLeastEntries losses were seen.
#pragma once

#include <cstdint>
#include <vector>

namespace llm {

inline constexpr int64_t kSpikeWindow = 64;  // losses kept
inline constexpr int64_t kSpikeLeastEntries = 32;
inline constexpr double kSpikeDeviations = 10;
inline constexpr double kSpikeLeastDeviation = 0.02;

class SpikeWindow {
 public:
  struct Entry {
    int64_t step;
    float loss;
  };

  void add(int64_t step, float loss);  // finite losses only, in the order of steps
  // The limit for `step`: a function of the losses up to step - 2, because the loss of the step
  // before is not known yet when a step is queued. Infinity where there is no limit yet.
  float limit_for(int64_t step) const;
  // The mean of the last `count` losses, 0 if there are none.
  double recent_mean(int64_t count) const;

  const std::vector<Entry>& entries() const { return entries_; }
  void set_entries(const std::vector<Entry>& entries);

 private:
  std::vector<Entry> entries_;
};

}  // namespace llm
