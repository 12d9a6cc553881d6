#include "base/rate_meter.h"

namespace llm {

void RateMeter::record(double time, int64_t total) {
  constexpr int kSamplesPerWindow = 40;  // closer ones replace the last: the first and last count
  const bool close = samples_.size() > 1 &&
                     time - samples_[samples_.size() - 2].time < window_ / kSamplesPerWindow;
  if (close) samples_.pop_back();
  samples_.push_back({time, total});
  while (samples_.size() > 2 && time - samples_[1].time >= window_) samples_.pop_front();
}

double RateMeter::rate() const {
  if (samples_.size() < 2) return 0;
  const double seconds = samples_.back().time - samples_.front().time;
  if (seconds <= 0) return 0;
  return static_cast<double>(samples_.back().total - samples_.front().total) / seconds;
}

}  // namespace llm
