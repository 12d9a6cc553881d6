// What the attention kernels share of masks: the segments of packed rows and how tiles find theirs,
// which keys a query sees and which queries see a key, and dropout of the probabilities. The twin
// of segment_at, visible_keys and ProbabilityMask in cpu_ref/attention.*.
#pragma once

#include "cuda/attention_arguments.h"
#include "cuda/common.cuh"

namespace llm::cuda {

// Queries [query_begin, +query_count) of one batch row attend to keys [key_begin, +key_count).
struct Segment {
  int64_t batch;
  int query_begin, query_count, key_begin, key_count;
};

__host__ __device__ inline int64_t segment_count(const AttentionProblem& problem) {
  return problem.query_offsets ? problem.sequences : problem.B;
}

// One per batch row, or one per packed sequence.
__device__ __forceinline__ Segment segment_at(const AttentionProblem& problem, int64_t index) {
  if (!problem.query_offsets) {
    return {index, 0, static_cast<int>(problem.Tq), 0, static_cast<int>(problem.Tk)};
  }
  const int query = problem.query_offsets[index], key = problem.key_offsets[index];
  return {0, query, problem.query_offsets[index + 1] - query, key,
          problem.key_offsets[index + 1] - key};
}

// --- Tiles of queries or keys: at most `size` of them, all of one segment

// How many tiles a row of T needs at most, whatever its segments are. Sequence n of a packed row
// has the tiles from offsets[n] / size + n on: always enough, and found without adding up the
// lengths of the sequences before. Some tiles are empty.
inline int64_t tiles_of_row(const AttentionProblem& problem, int64_t T, int size) {
  return problem.query_offsets ? T / size + problem.sequences : ceil_div(T, size);
}

struct Tile {
  int64_t segment;
  int begin;  // first row, from the start of the segment; may lie behind its end
};

// Tile `index` of batch row b. offsets: query_offsets or key_offsets.
__device__ __forceinline__ Tile tile_at(const int32_t* offsets, int64_t sequences, int64_t b,
                                        int64_t index, int size) {
  if (!offsets) return {b, static_cast<int>(index) * size};
  int64_t low = 0, high = sequences;  // the last sequence whose first tile is at most `index`
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (offsets[middle] / size + middle <= index) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return {low, static_cast<int>(index - offsets[low] / size - low) * size};
}

// What a block of a one-dimensional grid works on: one of `tiles` tiles of a row, a head of
// `heads`, a batch row. The tiles of a head run side by side and share its other operands in L2. 32
// bits: a division of 64 takes as long as a load from memory.
struct BlockPlace {
  int tile, head, batch;
};

__device__ __forceinline__ BlockPlace place_of_block(unsigned tiles, unsigned heads) {
  const unsigned row = blockIdx.x / tiles, batch = row / heads;
  return {static_cast<int>(blockIdx.x - row * tiles), static_cast<int>(row - batch * heads),
          static_cast<int>(batch)};
}

// The key/value head of query head h.
__device__ __forceinline__ int key_head_of(const AttentionProblem& problem, int h) {
  return h / static_cast<int>(problem.H / problem.KV);
}

// --- Who sees whom, counted from the start of the segment

struct Range {
  int begin, end;
};

__device__ __forceinline__ int clamp(int x, int low, int high) { return max(low, min(x, high)); }

// Keys that query i sees.
__device__ __forceinline__ Range visible_keys(const AttentionProblem& problem,
                                              const Segment& segment, int i) {
  const int count = segment.key_count;
  if (problem.mask == Mask::full) return {0, count};
  const int own = i + count - segment.query_count;  // the last query sees the last key
  const int end = clamp(own + 1, 0, count);
  if (problem.mask == Mask::causal) return {0, end};
  const int64_t begin = own + 1 - problem.window;
  return {begin > 0 ? static_cast<int>(begin < end ? begin : end) : 0, end};
}

// Queries that see key j.
__device__ __forceinline__ Range seeing_queries(const AttentionProblem& problem,
                                                const Segment& segment, int j) {
  const int count = segment.query_count;
  if (problem.mask == Mask::full) return {0, count};
  const int own = j - segment.key_count + count;
  const int begin = clamp(own, 0, count);
  if (problem.mask == Mask::causal) return {begin, count};
  const int64_t end = own + problem.window;
  return {begin, end < count ? static_cast<int>(end > begin ? end : begin) : count};
}

// --- Dropout of the probabilities

// Element (h * Tq + i) * Tk + j of the sample, i and j from the start of the row.
__device__ __forceinline__ uint64_t probability_element(const AttentionProblem& problem, int64_t h,
                                                        int64_t i, int64_t j) {
  return static_cast<uint64_t>((h * problem.Tq + i) * problem.Tk + j);
}

// What a kernel needs to know of it, made by its launcher.
struct ProbabilityDropout {
  uint64_t seed;
  uint32_t site, threshold;
  float factor;  // of the kept ones: 1 / (1 - rate)
  const int64_t* sample_ids;
  // All Philox block numbers of a sample fit in 32 bits, which leaves out 2 of 20 products.
  bool few_blocks;

  // The Philox stream of batch row b.
  __device__ __forceinline__ uint64_t stream(int64_t b) const {
    return dropout_stream(site, sample_ids[b]);
  }
  // Bit n of the result: element 4 * block + n is kept.
  __device__ __forceinline__ uint32_t keeps_block(uint64_t stream, uint64_t block) const {
    const uint4 words = philox_block(seed, stream, block);
    return (words.x >= threshold ? 1u : 0u) | (words.y >= threshold ? 2u : 0u) |
           (words.z >= threshold ? 4u : 0u) | (words.w >= threshold ? 8u : 0u);
  }
  // Bit n of the result, n < 4: element first + n is kept. Twice the work where first is not a
  // multiple of 4.
  __device__ __forceinline__ uint32_t keeps_four(uint64_t stream, uint64_t first) const {
    const uint32_t shift = static_cast<uint32_t>(first) % 4;
    uint32_t bits = keeps_block(stream, first / 4);
    if (shift != 0) bits = (bits | keeps_block(stream, first / 4 + 1) << 4) >> shift & 15;
    return bits;
  }
  __device__ __forceinline__ bool keeps(uint64_t stream, uint64_t element) const {
    return keeps_block(stream, element / 4) >> (element % 4) & 1;
  }
};

inline ProbabilityDropout probability_dropout(const AttentionProblem& problem) {
  if (problem.dropout_rate == 0) return {0, 0, 0, 1, nullptr, true};
  return {problem.dropout_seed,
          problem.dropout_site,
          dropout_threshold(problem.dropout_rate),
          1.0f / (1.0f - problem.dropout_rate),
          problem.sample_ids,
          problem.H * problem.Tq * problem.Tk < int64_t{1} << 34};
}

}  // namespace llm::cuda
