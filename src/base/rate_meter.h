// How fast something goes, over the last seconds.
#pragma once

#include <cstdint>
#include <deque>

namespace llm {

class RateMeter {
 public:
  // window: seconds that count.
  explicit RateMeter(double window = 10) : window_(window) {}

  // `total` so far at `time`, in seconds of any clock that does not go back.
  void record(double time, int64_t total);
  // Per second; 0 as long as nothing is known.
  double rate() const;

 private:
  struct Sample {
    double time;
    int64_t total;
  };
  double window_;
  std::deque<Sample> samples_;
};

}  // namespace llm
