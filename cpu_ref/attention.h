// Attention of a whole sequence, forward and backward; see backend.h. Rounding points with bf16
// tensors: q, k, v, dout and out are widened; scores, probabilities and their gradients stay f32 or
// better; out, dq, dk and dv are rounded once. The backward pass takes the row sums of dout * out
// from the (rounded) out that it is given.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "cpu_ref/thread_pool.h"

namespace llm::cpu_ref {

// A (B, T, heads, D) tensor with any strides but the last, which is 1.
template <typename T>
struct HeadView {
  T* data = nullptr;
  int64_t batch = 0, row = 0, head = 0;  // strides in elements
  T* at(int64_t b, int64_t t, int64_t h) const { return data + b * batch + t * row + h * head; }
};

// Sizes and numbers of one call.
struct AttentionProblem {
  int64_t B, Tq, Tk, H, KV, D;
  MaskKind mask;
  int64_t window;
  float scale;
  // Dropout of the probabilities; rate 0: none.
  float dropout_rate;
  uint64_t dropout_seed;
  uint32_t dropout_site;
  const int64_t* sample_ids;
  // Packed rows: sequences + 1 offsets each, or null.
  const int32_t* query_offsets;
  const int32_t* key_offsets;
  int64_t sequences;
};

// Queries [query_begin, +query_count) of one batch row attend to keys [key_begin, +key_count).
struct Segment {
  int64_t batch, query_begin, query_count, key_begin, key_count;
};

// The segments of a problem: one per batch row, or one per packed sequence.
int64_t segment_count(const AttentionProblem& problem);
Segment segment_at(const AttentionProblem& problem, int64_t index);

// Keys [begin, end) that query i of the segment sees, relative to the segment's first key.
struct KeyRange {
  int64_t begin, end;
};
KeyRange visible_keys(const AttentionProblem& problem, const Segment& segment, int64_t i);

// lse: (B, H, Tq), may be null.
void attention_forward(HeadView<float> out, float* lse, HeadView<const float> q,
                       HeadView<const float> k, HeadView<const float> v,
                       const AttentionProblem& problem, Threads threads);
void attention_backward(HeadView<float> dq, HeadView<float> dk, HeadView<float> dv,
                        HeadView<const float> dout, HeadView<const float> out, const float* lse,
                        HeadView<const float> q, HeadView<const float> k, HeadView<const float> v,
                        const AttentionProblem& problem, Threads threads);

// The same on packed tiles of queries and keys, in f32. A thread needs memory for a few rows of
// scores and a packed head, never for Tq x Tk.
void attention_forward_fast(HeadView<float> out, float* lse, HeadView<const float> q,
                            HeadView<const float> k, HeadView<const float> v,
                            const AttentionProblem& problem, Threads threads);
void attention_backward_fast(HeadView<float> dq, HeadView<float> dk, HeadView<float> dv,
                             HeadView<const float> dout, HeadView<const float> out,
                             const float* lse, HeadView<const float> q, HeadView<const float> k,
                             HeadView<const float> v, const AttentionProblem& problem,
                             Threads threads);

}  // namespace llm::cpu_ref
