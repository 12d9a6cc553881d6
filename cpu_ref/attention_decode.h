// Attention over a paged cache of keys and values; see backend.h. The cache may be f32 or bf16 (its
// elements are widened as they are read); q is f32, out is f32.
#pragma once

#include <cstdint>

#include "cpu_ref/attention.h"
#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

// A cache of blocks: (blocks, block_size, KV, D), and where the blocks of each sequence are.
struct PagedCache {
  void* data;
  DType dtype;
  int64_t block_size, KV, D;
  const int32_t* block_table;  // (B, max_blocks)
  int64_t max_blocks;

  // Index of the first element of head g of a cached position.
  int64_t element(int64_t b, int64_t position, int64_t g) const {
    const int64_t block = block_table[b * max_blocks + position / block_size];
    return ((block * block_size + position % block_size) * KV + g) * D;
  }
  // A cached row of a head as f32: in place, or widened into `scratch` (D elements).
  const float* row(int64_t b, int64_t position, int64_t g, float* scratch) const;
};

void attention_decode(HeadView<float> out, HeadView<const float> q, const PagedCache& keys,
                      const PagedCache& values, const int32_t* lengths, int64_t B, int64_t Tq,
                      int64_t H, float scale, Threads threads);
// Vectorized, in f32.
void attention_decode_fast(HeadView<float> out, HeadView<const float> q, const PagedCache& keys,
                           const PagedCache& values, const int32_t* lengths, int64_t B, int64_t Tq,
                           int64_t H, float scale, Threads threads);
// Rows [lengths[b] - T, lengths[b]) of the cache become x: (B, T, KV, D), rounded to its type.
void cache_append(const PagedCache& cache, HeadView<const float> x, const int32_t* lengths,
                  int64_t B, int64_t T, Threads threads);

}  // namespace llm::cpu_ref
