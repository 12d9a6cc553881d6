// Attention of one new token of each sequence over a paged cache, bf16, on tensor cores.
#pragma once

#include "cuda/attention_decode.h"

namespace llm::cuda {

struct TokenAttention {
  Heads out, q;  // (B, 1, H, D)
  PagedCache keys, values;
  const int32_t* lengths;  // (B), this token included
  int B, H;
  float scale;
  // Elements from a head's query to its new key, and on to its new value, which are appended to the
  // cache; as many heads of keys as of queries. 0: they are in the cache already.
  int64_t to_new = 0;
  // A head's keys are shared out as where there are so many sequences; 0: as suits B. The order of
  // its sums depends on nothing else.
  int shared_as_for = 0;
};

// Whether the kernel takes these shapes, strides and addresses.
bool attention_decode_mma_takes(const TokenAttention& attention, Element element);
// early: the kernel before it on the stream, and those that that has not waited for, have not
// written lengths, the block table or the cache, which are read before it has ended.
void attention_decode_mma(const TokenAttention& attention, bool early, cudaStream_t stream);

}  // namespace llm::cuda
