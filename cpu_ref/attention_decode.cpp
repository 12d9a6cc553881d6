#include "cpu_ref/attention_decode.h"

#include <cmath>
#include <limits>
#include <vector>

#include "cpu_ref/threads.h"

namespace llm::cpu_ref {
const float* PagedCache::row(int64_t b, int64_t position, int64_t g, float* scratch) const {
  const int64_t at = element(b, position, g);
  if (dtype == DType::f32) return static_cast<const float*>(data) + at;
  const uint16_t* from = static_cast<const uint16_t*>(data) + at;
  for (int64_t d = 0; d < D; ++d) scratch[d] = bf16_to_f32(from[d]);
  return scratch;
}

void attention_decode(HeadView<float> out, HeadView<const float> q, const PagedCache& keys,
                      const PagedCache& values, const int32_t* lengths, int64_t B, int64_t Tq,
                      int64_t H, float scale, Threads threads) {
  const int64_t D = keys.D;
  parallel_items(B * H, threads, [&](int64_t item) {
    const int64_t b = item / H, h = item % H, g = h * keys.KV / H;
    std::vector<float> scratch(static_cast<size_t>(D));
    std::vector<double> probability(static_cast<size_t>(lengths[b])), sum(static_cast<size_t>(D));
    for (int64_t i = 0; i < Tq; ++i) {
      const int64_t visible = std::max<int64_t>(0, lengths[b] - Tq + i + 1);
      const float* query = q.at(b, i, h);
      double top = -std::numeric_limits<double>::infinity(), total = 0;
      for (int64_t j = 0; j < visible; ++j) {
        const float* key = keys.row(b, j, g, scratch.data());
        double score = 0;
        for (int64_t d = 0; d < D; ++d) score += static_cast<double>(query[d]) * key[d];
        probability[j] = score * scale;
        top = std::max(top, probability[j]);
      }
      std::fill(sum.begin(), sum.end(), 0.0);
      for (int64_t j = 0; j < visible; ++j) {
        const double weight = std::exp(probability[j] - top);
        const float* value = values.row(b, j, g, scratch.data());
        total += weight;
        for (int64_t d = 0; d < D; ++d) sum[d] += weight * value[d];
      }
      for (int64_t d = 0; d < D; ++d) {
        out.at(b, i, h)[d] = visible > 0 ? static_cast<float>(sum[d] / total) : 0.0f;
      }
    }
  });
}

void cache_append(const PagedCache& cache, HeadView<const float> x, const int32_t* lengths,
                  int64_t B, int64_t T, Threads threads) {
  parallel_ranges(B * T, threads, rows_per_thread(cache.KV * cache.D),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t row = begin; row < end; ++row) {
                      const int64_t b = row / T, t = row % T, position = lengths[b] - T + t;
                      for (int64_t g = 0; g < cache.KV; ++g) {
                        const float* from = x.at(b, t, g);
                        const int64_t at = cache.element(b, position, g);
                        for (int64_t d = 0; d < cache.D; ++d) {
                          if (cache.dtype == DType::f32) {
                            static_cast<float*>(cache.data)[at + d] = from[d];
                          } else {
                            static_cast<uint16_t*>(cache.data)[at + d] = f32_to_bf16(from[d]);
                          }
                        }
                      }
                    }
                  });
}

}  // namespace llm::cpu_ref
