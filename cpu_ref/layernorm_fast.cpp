#include <cmath>
#include <vector>

#include "cpu_ref/layernorm.h"
#include "cpu_ref/threads.h"
#include "cpu_ref/vector_math.h"

namespace llm::cpu_ref {
namespace {

// y may not overlap x, but for `sum`, which may be x.
void forward_row(float* sum, float* y, float* mean, float* rstd, const float* x,
                 const float* residual, const float* weight, const float* bias, int64_t channels,
                 float epsilon, bool round_sum) {
  const float inverse = 1.0f / static_cast<float>(channels);
  Floats total{};
  if (residual) {
    for_lanes(0, channels, [&](int64_t c, int64_t count) {
      Floats value = count == kLanes ? load(x + c) + load(residual + c)
                                     : load_part(x + c, count) + load_part(residual + c, count);
      if (round_sum) value = round_to_bf16(value);
      total += value;
      count == kLanes ? store(sum + c, value) : store_part(sum + c, value, count);
    });
    x = sum;
  } else {
    for_lanes(0, channels, [&](int64_t c, int64_t count) {
      total += count == kLanes ? load(x + c) : load_part(x + c, count);
    });
  }
  const float average = sum_lanes(total) * inverse;
  Floats squares{};
  for_lanes(0, channels, [&](int64_t c, int64_t count) {
    const Floats centered =
        (count == kLanes ? load(x + c) : load_part(x + c, count, average)) - average;
    squares += centered * centered;
  });
  const float scale = 1.0f / std::sqrt(sum_lanes(squares) * inverse + epsilon);
  for_lanes(0, channels, [&](int64_t c, int64_t count) {
    if (count == kLanes) {
      const Floats value = (load(x + c) - average) * scale * load(weight + c);
      store(y + c, bias ? value + load(bias + c) : value);
      return;
    }
    for (int64_t i = c; i < channels; ++i) {
      y[i] = (x[i] - average) * scale * weight[i] + (bias ? bias[i] : 0.0f);
    }
  });
  if (mean) *mean = average;
  if (rstd) *rstd = scale;
}

// One row: adds to dweight and dbias (channels each), then writes dx where it is given.
void backward_row(float* dx, float* dweight, float* dbias, const float* dy, const float* x,
                  float mean, float rstd, const float* weight, int64_t channels, bool accumulate) {
  Floats sum{}, sum_normed{};
  const int64_t whole = channels / kLanes * kLanes;
  for (int64_t c = 0; c < whole; c += kLanes) {
    const Floats gradient = load(dy + c), normed = (load(x + c) - mean) * rstd;
    store(dweight + c, load(dweight + c) + gradient * normed);
    store(dbias + c, load(dbias + c) + gradient);
    const Floats g = gradient * load(weight + c);
    sum += g;
    sum_normed += g * normed;
  }
  float total = sum_lanes(sum), total_normed = sum_lanes(sum_normed);
  for (int64_t c = whole; c < channels; ++c) {
    const float normed = (x[c] - mean) * rstd;
    dweight[c] += dy[c] * normed;
    dbias[c] += dy[c];
    total += dy[c] * weight[c];
    total_normed += dy[c] * weight[c] * normed;
  }
  if (!dx) return;
  const float average = total / static_cast<float>(channels);
  const float average_normed = total_normed / static_cast<float>(channels);
  for (int64_t c = 0; c < whole; c += kLanes) {
    const Floats normed = (load(x + c) - mean) * rstd;
    const Floats value =
        rstd * (load(dy + c) * load(weight + c) - average - normed * average_normed);
    store(dx + c, accumulate ? load(dx + c) + value : value);
  }
  for (int64_t c = whole; c < channels; ++c) {
    const float normed = (x[c] - mean) * rstd;
    const float value = rstd * (dy[c] * weight[c] - average - normed * average_normed);
    dx[c] = accumulate ? dx[c] + value : value;
  }
}

}  // namespace

void layernorm_forward_fast(float* sum, float* y, float* mean, float* rstd, const float* x,
                            const float* residual, const float* weight, const float* bias,
                            int64_t rows, int64_t channels, float epsilon, bool round_sum,
                            Threads threads) {
  parallel_ranges(rows, threads, rows_per_thread(channels), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * channels;
      forward_row(sum ? sum + at : nullptr, y + at, mean ? mean + row : nullptr,
                  rstd ? rstd + row : nullptr, x + at, residual ? residual + at : nullptr, weight,
                  bias, channels, epsilon, round_sum);
    }
  });
}

void layernorm_backward_fast(float* dx, float* dweight, float* dbias, const float* dy,
                             const float* x, const float* mean, const float* rstd,
                             const float* weight, int64_t rows, int64_t channels, bool accumulate,
                             Threads threads) {
  // At most 64 blocks, each of at least 16 rows, with sums of their own.
  const int64_t block_rows = std::max<int64_t>(16, (rows + 63) / 64);
  const int64_t blocks = (rows + block_rows - 1) / block_rows;
  std::vector<float> partial(static_cast<size_t>(blocks * 2 * channels));
  const int64_t grain = (rows_per_thread(channels) + block_rows - 1) / block_rows;
  parallel_ranges(blocks, threads, grain, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float* sum_weight = partial.data() + block * 2 * channels;
      const int64_t stop = std::min(rows, (block + 1) * block_rows);
      for (int64_t row = block * block_rows; row < stop; ++row) {
        const int64_t at = row * channels;
        backward_row(dx ? dx + at : nullptr, sum_weight, sum_weight + channels, dy + at, x + at,
                     mean[row], rstd[row], weight, channels, accumulate);
      }
    }
  });
  for (int64_t block = 0; block < blocks; ++block) {
    const float* sum_weight = partial.data() + block * 2 * channels;
    if (dweight) {
      for (int64_t c = 0; c < channels; ++c) dweight[c] += sum_weight[c];
    }
    if (dbias) {
      for (int64_t c = 0; c < channels; ++c) dbias[c] += sum_weight[channels + c];
    }
  }
}

}  // namespace llm::cpu_ref
