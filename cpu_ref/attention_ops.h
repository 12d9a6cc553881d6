// The attention ops on tensors, as backend.h defines them: what is given is checked and widened,
// then the fast body runs, or with `plain` the plain one.
#pragma once

#include "backend/backend.h"
#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

void run_attention_forward(Tensor out, Tensor lse, Tensor q, Tensor k, Tensor v,
                           const AttentionOptions& options, bool plain, Threads threads);
void run_attention_backward(Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor out, Tensor lse,
                            Tensor q, Tensor k, Tensor v, const AttentionOptions& options,
                            bool plain, Threads threads);
void run_attention_decode(Tensor out, Tensor q, Tensor key_cache, Tensor value_cache,
                          Tensor block_table, Tensor lengths, float scale, bool plain,
                          Threads threads);
void run_cache_append(Tensor key_cache, Tensor value_cache, Tensor k, Tensor v, Tensor block_table,
                      Tensor lengths, Threads threads);

}  // namespace llm::cpu_ref
