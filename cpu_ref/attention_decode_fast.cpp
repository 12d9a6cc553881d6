#include <algorithm>
#include <vector>

#include "cpu_ref/attention_decode.h"
#include "cpu_ref/threads.h"
#include "cpu_ref/vector_rows.h"
#include "cpu_ref/widen.h"

namespace llm::cpu_ref {
namespace {

// A product costs as much as this many whose numbers are in the cache: it has to wait for memory.
constexpr int64_t kCostOfReading = 16;
constexpr int64_t kHeads = 16;     // at a time
constexpr int64_t kPositions = 4;  // cached rows at a time: as many sums do not wait for each other

// Heads [first, first + count) of the query at `position` of sequence b, which sees `visible`
// cached positions. They share one walk through the cache, where a position's heads lie side by
// side.
struct DecodeQuery {
  int64_t b, position, first, count, visible;
};

// Calls body(rows, position, count) for pieces of up to kPositions cached positions of one block;
// `rows` is the first head of the first of them, and the next ones are KV * D elements apart.
template <typename Element, typename Body>
void for_cached(const PagedCache& cache, const DecodeQuery& query, const Body& body) {
  const int64_t step = cache.KV * cache.D;
  for (int64_t begin = 0; begin < query.visible; begin += cache.block_size) {
    const int64_t count = std::min(cache.block_size, query.visible - begin);
    const Element* rows =
        static_cast<const Element*>(cache.data) + cache.element(query.b, begin, 0);
    for (int64_t j = 0; j < count; j += kPositions) {
      body(rows + j * step, begin + j, std::min(kPositions, count - j));
    }
  }
}

// Products of one row with `kCount` cached rows that are `step` apart.
template <int kCount, typename Element>
void dots(float* y, const float* x, const Element* rows, int64_t step, int64_t D, float scale) {
  Floats sums[kCount] = {};
  int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes) {
    const Floats value = load(x + d);
    for (int i = 0; i < kCount; ++i) sums[i] += value * load(rows + i * step + d);
  }
  for (int i = 0; i < kCount; ++i) {
    float sum = sum_lanes(sums[i]);
    for (int64_t rest = d; rest < D; ++rest) sum += x[rest] * widen(rows[i * step + rest]);
    y[i] = scale * sum;
  }
}

// y += the sum of factors[i] * row i
template <int kCount, typename Element>
void add_scaled_rows(float* y, const Element* rows, int64_t step, const float* factors, int64_t D) {
  int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes) {
    Floats sum = load(y + d);
    for (int i = 0; i < kCount; ++i) sum += factors[i] * load(rows + i * step + d);
    store(y + d, sum);
  }
  for (; d < D; ++d) {
    for (int i = 0; i < kCount; ++i) y[d] += factors[i] * widen(rows[i * step + d]);
  }
}

// scratch: count * (visible + D) numbers
template <typename Element>
void decode_heads(HeadView<float> out, HeadView<const float> q, const PagedCache& keys,
                  const PagedCache& values, const DecodeQuery& query, int64_t H, float scale,
                  float* scratch) {
  const int64_t D = keys.D, step = keys.KV * D, visible = query.visible;
  float* probabilities = scratch;                 // (count, visible)
  float* sums = scratch + query.count * visible;  // (count, D)
  const auto group_of = [&](int64_t i) { return (query.first + i) * keys.KV / H; };
  for_cached<Element>(keys, query, [&](const Element* rows, int64_t j, int64_t count) {
    for (int64_t i = 0; i < query.count; ++i) {
      const float* x = q.at(query.b, query.position, query.first + i);
      const Element* key = rows + group_of(i) * D;
      float* to = probabilities + i * visible + j;
      if (count == kPositions) {
        dots<kPositions>(to, x, key, step, D, scale);
      } else {
        for (int64_t n = 0; n < count; ++n) dots<1>(to + n, x, key + n * step, step, D, scale);
      }
    }
  });
  std::fill_n(sums, query.count * D, 0.0f);
  double totals[kHeads];
  for (int64_t i = 0; i < query.count; ++i) {
    totals[i] = exp_row(probabilities + i * visible, visible).total;
  }
  for_cached<Element>(values, query, [&](const Element* rows, int64_t j, int64_t count) {
    for (int64_t i = 0; i < query.count; ++i) {
      const float* factors = probabilities + i * visible + j;
      const Element* value = rows + group_of(i) * D;
      float* to = sums + i * D;
      if (count == kPositions) {
        add_scaled_rows<kPositions>(to, value, step, factors, D);
      } else {
        for (int64_t n = 0; n < count; ++n) {
          add_scaled_rows<1>(to, value + n * step, step, factors + n, D);
        }
      }
    }
  });
  for (int64_t i = 0; i < query.count; ++i) {
    float* to = out.at(query.b, query.position, query.first + i);
    const float inverse = visible > 0 ? static_cast<float>(1 / totals[i]) : 0.0f;
    for (int64_t d = 0; d < D; ++d) to[d] = sums[i * D + d] * inverse;
  }
}

}  // namespace

void attention_decode_fast(HeadView<float> out, HeadView<const float> q, const PagedCache& keys,
                           const PagedCache& values, const int32_t* lengths, int64_t B, int64_t Tq,
                           int64_t H, float scale, Threads threads) {
  const int64_t D = keys.D;
  const int64_t longest = B > 0 ? *std::max_element(lengths, lengths + B) : 0;
  const int64_t cost = kCostOfReading * B * H * Tq * longest * D;
  const auto body = keys.dtype == DType::f32 ? decode_heads<float> : decode_heads<uint16_t>;
  // Ranges of heads of all sequences.
  parallel_ranges(B * H, threads_for_products(cost, threads), 1, [&](int64_t begin, int64_t end) {
    const int64_t most = std::min({kHeads, H, end - begin});
    std::vector<float> scratch(static_cast<size_t>(most * (longest + D)));
    for (int64_t head = begin; head < end;) {
      const int64_t b = head / H, first = head % H;
      const int64_t count = std::min({kHeads, H - first, end - head});
      for (int64_t i = 0; i < Tq; ++i) {
        const int64_t visible = std::max<int64_t>(0, lengths[b] - Tq + i + 1);
        body(out, q, keys, values, {b, i, first, count, visible}, H, scale, scratch.data());
      }
      head += count;
    }
  });
}

}  // namespace llm::cpu_ref
