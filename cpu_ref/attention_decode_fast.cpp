#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu_ref/attention_decode.h"
#include "cpu_ref/threads.h"
#include "cpu_ref/vector_rows.h"
#include "cpu_ref/widen.h"

namespace llm::cpu_ref {
namespace {

// A product costs as much as this many whose numbers are in the cache: it has to wait for memory.
constexpr int64_t kCostOfReading = 16;
constexpr int64_t kHeads = 4;  // at a time: as many sums do not wait for each other

// The cached positions that a query sees are cut into chunks, whose heads lie side by side: a
// thread reads whole chunks, from end to end, as memory likes it best. Each chunk gives a softmax
// of its own and the sum that goes with it; these are put together in the order of the chunks. The
// cut depends on the number of positions alone, so the result depends neither on the threads nor on
// the other sequences.
constexpr int64_t kLeastChunk = 16, kMostChunks = 16;
int64_t chunk_size(int64_t visible) {
  const int64_t even = (visible + kMostChunks - 1) / kMostChunks;
  return std::max(kLeastChunk, even);
}

struct Chunk {
  int64_t b, begin, end;  // positions of sequence b
};

int64_t rounded_heads(int64_t H) { return (H + kHeads - 1) / kHeads * kHeads; }

// What chunks give, per head.
struct ChunkSums {
  int64_t H, D;
  WideCopy sums;               // (chunks, H, D) sum of e^(score - top) * value
  std::vector<float> tops;     // (chunks, H) highest score
  std::vector<double> totals;  // (chunks, H) sum of e^(score - top)

  // (H, rounded up) where a head's keys and values are in a cached row; the last head fills up.
  std::vector<int64_t> group;

  ChunkSums(int64_t chunks, int64_t heads, const PagedCache& cache)
      : H(heads), D(cache.D), tops(static_cast<size_t>(chunks * heads)), totals(tops.size()) {
    sums.take(chunks * H * D);
    std::fill_n(sums.data(), chunks * H * D, 0.0f);
    for (int64_t h = 0; h < rounded_heads(H); ++h) {
      group.push_back(std::min(h, H - 1) * cache.KV / H * D);
    }
  }
};

// What a thread needs for a chunk.
struct ChunkScratch {
  std::vector<const float*> queries;      // (H, rounded up); the last head fills up
  std::vector<const void*> keys, values;  // (positions) cached rows
  std::vector<float> probabilities;       // (H, rounded up; positions)

  ChunkScratch(int64_t H, int64_t positions)
      : queries(static_cast<size_t>(rounded_heads(H))),
        keys(static_cast<size_t>(positions)),
        values(keys.size()),
        probabilities(queries.size() * keys.size()) {}
};

void find_rows(std::vector<const void*>& rows, const PagedCache& cache, const Chunk& chunk) {
  for (int64_t j = chunk.begin; j < chunk.end; ++j) {
    rows[static_cast<size_t>(j - chunk.begin)] =
        static_cast<const std::byte*>(cache.data) +
        cache.element(chunk.b, j, 0) * dtype_bytes(cache.dtype);
  }
}

// y[i * stride] = scale * query head i . its key in a cached row
template <typename Element>
void scores_of_heads(float* y, int64_t stride, const float* const* queries, const Element* row,
                     const int64_t* group, int64_t D, float scale) {
  Floats sums[kHeads] = {};
  int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes) {
    for (int64_t i = 0; i < kHeads; ++i) sums[i] += load(queries[i] + d) * load(row + group[i] + d);
  }
  static_assert(kHeads == 4);
  FourFloats totals = sum_lanes(sums[0], sums[1], sums[2], sums[3]);
  for (; d < D; ++d) {
    for (int64_t i = 0; i < kHeads; ++i) totals[i] += queries[i][d] * widen(row[group[i] + d]);
  }
  for (int64_t i = 0; i < kHeads; ++i) y[i * stride] = scale * totals[i];
}

template <typename Element>
void all_scores(float* y, const ChunkScratch& scratch, const int64_t* group, int64_t H, int64_t D,
                int64_t size, float scale) {
  const float* const* queries = scratch.queries.data();
  for (int64_t j = 0; j < size; ++j) {
    const auto* row = static_cast<const Element*>(scratch.keys[static_cast<size_t>(j)]);
    for (int64_t h = 0; h < H; h += kHeads) {
      scores_of_heads(y + h * size + j, size, queries + h, row, group + h, D, scale);
    }
  }
}

// sum += factor * value
template <typename Element>
void add_value(float* sum, const Element* value, float factor, int64_t D) {
  int64_t d = 0;
  for (; d + kLanes <= D; d += kLanes) store(sum + d, load(sum + d) + factor * load(value + d));
  for (; d < D; ++d) sum[d] += factor * widen(value[d]);
}

template <typename Element>
void all_sums(float* sums, const float* probabilities, const ChunkScratch& scratch,
              const int64_t* group, int64_t H, int64_t D, int64_t size) {
  for (int64_t j = 0; j < size; ++j) {
    const auto* row = static_cast<const Element*>(scratch.values[static_cast<size_t>(j)]);
    for (int64_t h = 0; h < H; ++h) {
      add_value(sums + h * D, row + group[h], probabilities[h * size + j], D);
    }
  }
}

template <typename Element>
void sum_chunk(ChunkSums& result, int64_t index, ChunkScratch& scratch, const Chunk& chunk,
               float scale) {
  const int64_t H = result.H, D = result.D, size = chunk.end - chunk.begin;
  const int64_t* group = result.group.data();
  float* probabilities = scratch.probabilities.data();
  all_scores<Element>(probabilities, scratch, group, H, D, size, scale);
  for (int64_t h = 0; h < H; ++h) {
    const SoftmaxRow softmax = exp_row(probabilities + h * size, size);
    result.tops[static_cast<size_t>(index * H + h)] = softmax.top;
    result.totals[static_cast<size_t>(index * H + h)] = softmax.total;
  }
  all_sums<Element>(result.sums.data() + index * H * D, probabilities, scratch, group, H, D, size);
}

// out (D) of head h from chunks [begin, end).
void combine(float* out, const ChunkSums& chunks, int64_t h, int64_t begin, int64_t end) {
  float top = -std::numeric_limits<float>::infinity();
  double total = 0;
  const auto at = [&](int64_t chunk) { return static_cast<size_t>(chunk * chunks.H + h); };
  for (int64_t chunk = begin; chunk < end; ++chunk) top = std::max(top, chunks.tops[at(chunk)]);
  std::fill_n(out, chunks.D, 0.0f);
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    const float factor = std::exp(chunks.tops[at(chunk)] - top);
    total += factor * chunks.totals[at(chunk)];
    add_scaled(out, chunks.sums.data() + (chunk * chunks.H + h) * chunks.D, factor, chunks.D);
  }
  const float inverse = total > 0 ? static_cast<float>(1 / total) : 0.0f;
  for (int64_t d = 0; d < chunks.D; ++d) out[d] *= inverse;
}

}  // namespace

void attention_decode_fast(HeadView<float> out, HeadView<const float> q, const PagedCache& keys,
                           const PagedCache& values, const int32_t* lengths, int64_t B, int64_t Tq,
                           int64_t H, float scale, Threads threads) {
  const int64_t D = keys.D;
  const auto body = keys.dtype == DType::f32 ? sum_chunk<float> : sum_chunk<uint16_t>;
  for (int64_t i = 0; i < Tq; ++i) {
    std::vector<Chunk> chunks;
    std::vector<int64_t> first;  // chunk of each sequence
    int64_t positions = 0, longest = 0;
    for (int64_t b = 0; b < B; ++b) {
      const int64_t visible = std::max<int64_t>(0, lengths[b] - Tq + i + 1);
      const int64_t size = chunk_size(visible);
      first.push_back(static_cast<int64_t>(chunks.size()));
      for (int64_t begin = 0; begin < visible; begin += size) {
        chunks.push_back({b, begin, std::min(visible, begin + size)});
      }
      positions += visible;
      longest = std::max(longest, size);
    }
    const auto count = static_cast<int64_t>(chunks.size());
    first.push_back(count);
    ChunkSums sums(count, H, keys);
    parallel_items(
        count, threads_for_products(kCostOfReading * positions * H * D, threads),
        [&] { return ChunkScratch(H, longest); },
        [&](int64_t index, ChunkScratch& scratch) {
          const Chunk& chunk = chunks[static_cast<size_t>(index)];
          for (size_t h = 0; h < scratch.queries.size(); ++h) {
            scratch.queries[h] = q.at(chunk.b, i, std::min(static_cast<int64_t>(h), H - 1));
          }
          find_rows(scratch.keys, keys, chunk);
          find_rows(scratch.values, values, chunk);
          body(sums, index, scratch, chunk, scale);
        });
    for (int64_t item = 0; item < B * H; ++item) {
      const int64_t b = item / H, h = item % H;
      combine(out.at(b, i, h), sums, h, first[static_cast<size_t>(b)],
              first[static_cast<size_t>(b) + 1]);
    }
  }
}

}  // namespace llm::cpu_ref
