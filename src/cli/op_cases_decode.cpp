// Decoding with a paged cache.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/op_cases.h"

namespace llm {
namespace {

struct DecodeShape {
  int64_t queries, heads, kv_heads, D, block_size;
  std::vector<int32_t> lengths;

  int64_t batch() const { return static_cast<int64_t>(lengths.size()); }
  int64_t max_blocks() const {
    return (*std::max_element(lengths.begin(), lengths.end()) + block_size - 1) / block_size;
  }
  Shape cache() const { return {batch() * max_blocks(), block_size, kv_heads, D}; }
  int64_t cached() const {  // elements of keys, or of values, that all sequences have
    int64_t positions = 0;
    for (const int32_t length : lengths) positions += length;
    return positions * kv_heads * D;
  }
  std::string text(DType dtype, DType cache_dtype) const {
    std::string text = fmt::format("B {} T {} H {}", batch(), queries, heads);
    if (kv_heads != heads) text += fmt::format("/{}", kv_heads);
    text += fmt::format(" D {}, {} keys, block {}", D,
                        *std::max_element(lengths.begin(), lengths.end()), block_size);
    if (cache_dtype != dtype) text += fmt::format(", cache {}", dtype_name(cache_dtype));
    return text;
  }
};

// The blocks of the sequences in an order that is not that of the positions.
Tensor block_table(OpTensors& tensors, const DecodeShape& s) {
  const int64_t blocks = s.batch() * s.max_blocks();
  // A step that shares no factor with the number of blocks reaches all of them.
  int64_t step = 7;
  while (std::gcd(blocks, step) != 1) ++step;
  std::vector<int32_t> table;
  for (int64_t i = 0; i < blocks; ++i) {
    table.push_back(static_cast<int32_t>((i * step + 3) % blocks));
  }
  return tensors.integers("block_table", {s.batch(), s.max_blocks()}, table);
}

OpCase attention_decode_case(DType dtype, DType cache_dtype, const DecodeShape& s) {
  OpCase each{"attention_decode", dtype, s.text(dtype, cache_dtype), {}, tolerance_of(dtype)};
  each.large = s.cached() > 200'000;
  each.prepare = [=](OpTensors& tensors) {
    // q as the slice of a wider tensor.
    const Tensor qkv =
        tensors.random("qkv", dtype, {s.batch(), s.queries, s.heads + 2 * s.kv_heads, s.D}, 1.5);
    const Tensor q = qkv.slice(2, 0, s.heads);
    const Tensor keys = tensors.random("keys", cache_dtype, s.cache(), 1.5);
    const Tensor values = tensors.random("values", cache_dtype, s.cache());
    const Tensor table = block_table(tensors, s);
    const Tensor lengths = tensors.integers("lengths", {s.batch()}, s.lengths);
    const Tensor out = tensors.output("out", dtype, {s.batch(), s.queries, s.heads, s.D});
    const int64_t rows = s.batch() * s.queries * s.heads * s.D;
    tensors.set_traffic(2 * s.cached() * dtype_bytes(cache_dtype) + 2 * rows * dtype_bytes(dtype));
    const float scale = 1 / std::sqrt(static_cast<float>(s.D));
    return [=, &backend = tensors.backend()] {
      backend.attention_decode(out, q, keys, values, table, lengths, scale);
    };
  };
  return each;
}

OpCase cache_append_case(DType dtype, DType cache_dtype, const DecodeShape& s) {
  OpCase each{"cache_append", dtype, s.text(dtype, cache_dtype), {}, kExact};
  each.large = s.cached() > 200'000;
  each.prepare = [=](OpTensors& tensors) {
    const Tensor kv = tensors.random("kv", dtype, {s.batch(), s.queries, 2 * s.kv_heads, s.D});
    const Tensor k = kv.slice(2, 0, s.kv_heads), v = kv.slice(2, s.kv_heads, s.kv_heads);
    // Whatever else the caches hold must stay: here NaN.
    const Tensor keys = tensors.output("keys", cache_dtype, s.cache());
    const Tensor values = tensors.output("values", cache_dtype, s.cache());
    const Tensor table = block_table(tensors, s);
    const Tensor lengths = tensors.integers("lengths", {s.batch()}, s.lengths);
    const int64_t rows = 2 * s.batch() * s.queries * s.kv_heads * s.D;
    tensors.set_traffic(rows * (dtype_bytes(dtype) + dtype_bytes(cache_dtype)));
    return [=, &backend = tensors.backend()] {
      backend.cache_append(keys, values, k, v, table, lengths);
    };
  };
  return each;
}

std::vector<DecodeShape> decode_shapes() {
  return {{1, 1, 1, 1, 1, {1}},
          {1, 3, 3, 7, 4, {5, 8}},
          {1, 4, 2, 16, 16, {15, 16, 17}},
          {5, 4, 1, 8, 8, {5, 31}},
          {9, 2, 2, 33, 64, {70}},
          {1, 12, 12, 64, 64, {63, 64, 65, 200}},
          {2, 8, 2, 128, 16, {129, 2}},
          {1, 10, 5, 80, 16, {1, 127, 96}},
          {17, 4, 4, 96, 32, {100, 17}},
          {1, 12, 12, 64, 16, {1024, 513, 1, 777}},
          {1, 25, 25, 64, 64, {1023, 600}}};
}

}  // namespace

OpCases decode_cases() {
  OpCases cases;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const DecodeShape& shape : decode_shapes()) {
      cases.push_back(attention_decode_case(dtype, dtype, shape));
      cases.push_back(cache_append_case(dtype, dtype, shape));
      if (dtype == DType::bf16) continue;
      cases.push_back(attention_decode_case(dtype, DType::bf16, shape));
      cases.push_back(cache_append_case(dtype, DType::bf16, shape));
    }
  }
  return cases;
}

OpCases decode_benchmarks(const OpSizes& sizes, DType dtype) {
  // A batch of sequences that each have all but filled their context, and one alone.
  const int64_t B = std::max<int64_t>(sizes.rows / sizes.length, 1),
                D = sizes.channels / sizes.heads;
  const auto length = static_cast<int32_t>(sizes.length);
  OpCases cases;
  for (const int64_t count : B == 1 ? std::vector<int64_t>{1} : std::vector<int64_t>{B, 1}) {
    const std::vector<int32_t> lengths(static_cast<size_t>(count), length);
    const DecodeShape shape{1, sizes.heads, sizes.heads, D, 64, lengths};
    cases.push_back(attention_decode_case(dtype, dtype, shape));
    cases.push_back(cache_append_case(dtype, dtype, shape));
  }
  return cases;
}

}  // namespace llm
