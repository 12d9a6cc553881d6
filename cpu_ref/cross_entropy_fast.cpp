#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu_ref/cross_entropy.h"
#include "cpu_ref/threads.h"
#include "cpu_ref/vector_math.h"

namespace llm::cpu_ref {
namespace {

// f32 lanes are summed over this many elements, then added in f64.
constexpr int64_t kChunk = 1024;
constexpr float kLowest = -std::numeric_limits<float>::infinity();

float row_max(const float* x, int64_t count) {
  Floats top[4] = {splat(kLowest), splat(kLowest), splat(kLowest), splat(kLowest)};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    for (int n = 0; n < 4; ++n) top[n] = max(load(x + i + n * kLanes), top[n]);
  }
  for (; i < count; i += kLanes) {
    const int64_t rest = std::min(kLanes, count - i);
    top[0] = max(rest == kLanes ? load(x + i) : load_part(x + i, rest, kLowest), top[0]);
  }
  return max_lanes(max(max(top[0], top[1]), max(top[2], top[3])));
}

// The sum of e^(x - top), each also written to y where it is given.
template <bool kWrite>
double exp_sum(float* y, const float* x, int64_t count, float top) {
  double total = 0;
  for (int64_t chunk = 0; chunk < count; chunk += kChunk) {
    Floats sum{};
    for_lanes(chunk, std::min(count, chunk + kChunk), [&](int64_t i, int64_t lanes) {
      const bool whole = lanes == kLanes;
      const Floats value = exp((whole ? load(x + i) : load_part(x + i, lanes, kLowest)) - top);
      sum += value;
      if (kWrite) whole ? store(y + i, value) : store_part(y + i, value, lanes);
    });
    total += sum_lanes_f64(sum);
  }
  return total;
}

}  // namespace

void cross_entropy_fast(float* losses, float* dlogits, const float* logits, const int32_t* targets,
                        int64_t rows, int64_t vocab, int64_t padded, float gradient_scale,
                        Threads threads) {
  parallel_ranges(rows, threads, rows_per_thread(vocab), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* logit = logits + row * padded;
      float* dlogit = dlogits ? dlogits + row * padded : nullptr;
      const int32_t target = targets[row];
      if (target == kIgnoredTarget) {
        if (losses) losses[row] = 0;
        if (dlogit) std::fill(dlogit, dlogit + padded, 0.0f);
        continue;
      }
      const float top = row_max(logit, vocab);
      const float target_logit = logit[target];  // before dlogits, which may be logits
      const double total = dlogit ? exp_sum<true>(dlogit, logit, vocab, top)
                                  : exp_sum<false>(nullptr, logit, vocab, top);
      if (losses) {
        losses[row] = static_cast<float>(static_cast<double>(top) + std::log(total) - target_logit);
      }
      if (!dlogit) continue;
      const float factor = static_cast<float>(gradient_scale / total);
      for_lanes(0, vocab, [&](int64_t v, int64_t lanes) {
        lanes == kLanes ? store(dlogit + v, load(dlogit + v) * factor)
                        : store_part(dlogit + v, load_part(dlogit + v, lanes) * factor, lanes);
      });
      dlogit[target] -= gradient_scale;
      std::fill(dlogit + vocab, dlogit + padded, 0.0f);
    }
  });
}

}  // namespace llm::cpu_ref
