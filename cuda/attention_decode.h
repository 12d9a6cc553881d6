// Decoding with a paged cache; see backend.h and cpu_ref/attention_decode.h.
#pragma once

#include "cuda/attention_arguments.h"

namespace llm::cuda {

// (blocks, block_size, KV, D) dense, found through block_table: (B, max_blocks).
struct PagedCache {
  void* data;
  Element element;
  int block_size, KV, D;
  int block_shift;  // where the block size is a power of two, else -1
  const int32_t* block_table;
  int max_blocks;
};

// Queries i of sequence b see keys [0, lengths[b] - T + i].   q, out: (B, T, H, D)   lengths: (B)
void attention_decode(const Heads& out, const Heads& q, Element element, const PagedCache& keys,
                      const PagedCache& values, const int32_t* lengths, int64_t B, int64_t T,
                      int64_t H, float scale, cudaStream_t stream);
// Writes k and v: (B, T, KV, D) to positions lengths[b] - T + t. Caches of one type and table.
void cache_append(const PagedCache& keys, const PagedCache& values, const Heads& k, const Heads& v,
                  Element element, const int32_t* lengths, int64_t B, int64_t T,
                  cudaStream_t stream);

}  // namespace llm::cuda
