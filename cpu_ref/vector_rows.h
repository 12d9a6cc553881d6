// What the fast attention bodies do with a row of floats.
#pragma once

#include <limits>

#include "cpu_ref/vector_math.h"

namespace llm::cpu_ref {

inline float dot(const float* a, const float* b, int64_t count) {
  Floats sum{};
  for_lanes(0, count, [&](int64_t i, int64_t lanes) {
    sum += lanes == kLanes ? load(a + i) * load(b + i)
                           : load_part(a + i, lanes) * load_part(b + i, lanes);
  });
  return sum_lanes(sum);
}

struct SoftmaxRow {
  float top;
  double total;
};

// x[i] = e^(x[i] - top); returns top and the sum.
inline SoftmaxRow exp_row(float* x, int64_t count) {
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  Floats tops = splat(lowest);
  for_lanes(0, count, [&](int64_t i, int64_t lanes) {
    tops = max(lanes == kLanes ? load(x + i) : load_part(x + i, lanes, lowest), tops);
  });
  const float top = max_lanes(tops);
  Floats sum{};
  for_lanes(0, count, [&](int64_t i, int64_t lanes) {
    const bool whole = lanes == kLanes;
    const Floats value = exp((whole ? load(x + i) : load_part(x + i, lanes, lowest)) - top);
    sum += value;
    whole ? store(x + i, value) : store_part(x + i, value, lanes);
  });
  return {top, sum_lanes_f64(sum)};
}

// y += factor * x
inline void add_scaled(float* y, const float* x, float factor, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, load(y + i) + factor * load(x + i));
  for (; i < count; ++i) y[i] += factor * x[i];
}

}  // namespace llm::cpu_ref
