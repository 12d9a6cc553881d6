// What every op of a backend checks about its tensors. Programmer errors: they assert.
#pragma once

#include <initializer_list>
#include <string_view>

#include "backend/backend.h"
#include "base/error.h"

namespace llm {

// Asserts that a tensor is given, contiguous and has this many rows and columns (any rank).
inline void check_matrix(std::string_view op, std::string_view name, const Tensor& tensor,
                         int64_t rows, int64_t columns) {
  LLM_ASSERT(tensor && tensor.contiguous() && tensor.rows() == rows && tensor.columns() == columns,
             "{}: {} is {}, expected contiguous ({}, {})", op, name, tensor.describe(), rows,
             columns);
}

// Asserts that a tensor is given and contiguous with this many elements of this type.
inline void check_vector(std::string_view op, std::string_view name, const Tensor& tensor,
                         DType dtype, int64_t size) {
  LLM_ASSERT(tensor && tensor.contiguous() && tensor.dtype == dtype && tensor.size() == size,
             "{}: {} is {}, expected contiguous {} with {} elements", op, name, tensor.describe(),
             dtype_name(dtype), size);
}

// The same where the tensor may be left out.
inline void check_optional(std::string_view op, std::string_view name, const Tensor& tensor,
                           DType dtype, int64_t size) {
  if (tensor) check_vector(op, name, tensor, dtype, size);
}

// Asserts that a tensor of any floating type is contiguous with this many elements, or not given.
inline void check_optional_size(std::string_view op, std::string_view name, const Tensor& tensor,
                                int64_t size) {
  LLM_ASSERT(!tensor || (tensor.contiguous() && tensor.size() == size),
             "{}: {} is {}, expected contiguous with {} elements", op, name, tensor.describe(),
             size);
}

// Asserts that all given tensors have the type of the first.
inline void check_alike(std::string_view op, std::initializer_list<Tensor> tensors) {
  const Tensor& first = *tensors.begin();
  LLM_ASSERT(first.dtype == DType::f32 || first.dtype == DType::bf16, "{}: {}", op,
             first.describe());
  for (const Tensor& tensor : tensors) {
    LLM_ASSERT(!tensor || tensor.dtype == first.dtype, "{}: {} beside {}", op, tensor.describe(),
               first.describe());
  }
}

// Asserts that y: (B, C) is the pooling of x: (B, T, C) over ranges of T; not what these hold.
inline void check_pool(std::string_view op, const Tensor& y, const Tensor& x, const Tensor& begin,
                       const Tensor& end) {
  LLM_ASSERT(x.rank == 3, "{}: {}", op, x.describe());
  check_alike(op, {y, x});
  check_matrix(op, "pooled", y, x.dim(0), x.dim(2));
  check_matrix(op, "rows", x, x.dim(0) * x.dim(1), x.dim(2));
  check_vector(op, "begin", begin, DType::i32, x.dim(0));
  check_vector(op, "end", end, DType::i32, x.dim(0));
}

// Asserts that a tensor is (B, T, heads, D) with a dense last axis and any other strides.
inline void check_heads(std::string_view op, std::string_view name, const Tensor& tensor, int64_t B,
                        int64_t T, int64_t heads, int64_t D) {
  LLM_ASSERT(tensor && tensor.rank == 4 && tensor.dim(0) == B && tensor.dim(1) == T &&
                 tensor.dim(2) == heads && tensor.dim(3) == D && (D == 1 || tensor.stride[3] == 1),
             "{}: {} is {}, expected ({}, {}, {}, {})", op, name, tensor.describe(), B, T, heads,
             D);
}

// Asserts that q, k, v and the options of attention fit each other; not what the offsets of packed
// rows hold.
inline void check_attention(std::string_view op, const Tensor& q, const Tensor& k, const Tensor& v,
                            const AttentionOptions& options) {
  LLM_ASSERT(q.rank == 4 && k.rank == 4, "{}: q is {}, k is {}", op, q.describe(), k.describe());
  const int64_t B = q.dim(0), H = q.dim(2), D = q.dim(3), KV = k.dim(2);
  check_heads(op, "q", q, B, q.dim(1), H, D);
  check_heads(op, "k", k, B, k.dim(1), KV, D);
  check_heads(op, "v", v, B, k.dim(1), KV, D);
  LLM_ASSERT(KV > 0 && H % KV == 0, "{}: {} heads, {} key/value heads", op, H, KV);
  LLM_ASSERT(options.mask != MaskKind::window || options.window > 0, "{}: window {}", op,
             options.window);
  const Dropout& dropout = options.dropout;
  LLM_ASSERT(dropout.rate >= 0 && dropout.rate < 1, "{}: dropout {}", op, dropout.rate);
  if (dropout.rate > 0) check_vector(op, "sample_ids", dropout.sample_ids, DType::i64, B);
  LLM_ASSERT(bool(options.query_offsets) == bool(options.key_offsets), "{}: one of two offsets",
             op);
  if (!options.query_offsets) return;
  const int64_t offsets = options.query_offsets.size();
  LLM_ASSERT(B == 1 && offsets >= 1, "{}: packed rows in a batch of {}", op, B);
  check_vector(op, "query_offsets", options.query_offsets, DType::i32, offsets);
  check_vector(op, "key_offsets", options.key_offsets, DType::i32, offsets);
}

// Asserts that keys and values of a paged cache, its table and lengths fit each other and B
// sequences; see attention_decode.
inline void check_cache_shapes(std::string_view op, const Tensor& keys, const Tensor& values,
                               const Tensor& table, const Tensor& lengths, int64_t B) {
  LLM_ASSERT(keys.rank == 4 && same_shape(keys, values) && keys.contiguous() &&
                 values.contiguous() && keys.dtype == values.dtype &&
                 (keys.dtype == DType::f32 || keys.dtype == DType::bf16),
             "{}: caches {} and {}", op, keys.describe(), values.describe());
  LLM_ASSERT(table.rank == 2 && table.dim(0) == B && table.contiguous(), "{}: block_table {}", op,
             table.describe());
  check_vector(op, "lengths", lengths, DType::i32, B);
}

// Asserts that what sample_tokens takes fits together.
inline void check_sampling(std::string_view op, const SampledSequences& sequences,
                           const Tensor& logits, int64_t vocab) {
  const int64_t S = sequences.tokens.size();
  LLM_ASSERT(sequences.history.rank == 2 && sequences.history.dim(0) == S &&
                 sequences.history.dim(1) > 0 && sequences.log.rank == 2 &&
                 sequences.log.dim(0) > 0 && sequences.log.dim(1) == S,
             "{}: history {}, log {}", op, sequences.history.describe(), sequences.log.describe());
  for (const Tensor& tensor :
       {sequences.tokens, sequences.positions, sequences.lengths, sequences.draws}) {
    check_vector(op, "a number per sequence", tensor, DType::i32, S);
  }
  check_vector(op, "history", sequences.history, DType::i32, sequences.history.size());
  check_vector(op, "log", sequences.log, DType::i32, sequences.log.size());
  check_vector(op, "streams", sequences.streams, DType::i64, S);
  check_vector(op, "logits", logits, DType::f32, S * logits.columns());
  LLM_ASSERT(vocab > 0 && vocab <= logits.columns(), "{}: vocabulary {} of {}", op, vocab,
             logits.describe());
}

}  // namespace llm
