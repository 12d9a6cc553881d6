#include <cmath>

#include "support/op_check.h"

namespace llm::test {
namespace {

struct AttentionDecodeCase {
  int64_t B, queries, heads, kv_heads, D, block_size;
  std::vector<int32_t> lengths;
  DType dtype = DType::f32, cache_dtype = DType::f32;
  std::string name() const {
    return fmt::format("{} cache {} B {} T {} H {} KV {} D {} block {} length {}",
                       dtype_name(dtype), dtype_name(cache_dtype), B, queries, heads, kv_heads, D,
                       block_size, lengths[0]);
  }
  int64_t max_blocks() const {
    return (*std::max_element(lengths.begin(), lengths.end()) + block_size - 1) / block_size;
  }
};

std::vector<AttentionDecodeCase> attention_decode_grid() {
  std::vector<AttentionDecodeCase> cases;
  for (DType dtype : {DType::f32, DType::bf16}) {
    cases.push_back({1, 1, 1, 1, 1, 1, {1}, dtype, dtype});
    cases.push_back({2, 1, 3, 3, 7, 4, {5, 8}, dtype, dtype});
    cases.push_back({3, 1, 4, 2, 16, 16, {15, 16, 17}, dtype, dtype});
    cases.push_back({2, 5, 4, 1, 8, 8, {5, 31}, dtype, dtype});
    cases.push_back({1, 1, 12, 12, 64, 64, {200}, dtype, DType::bf16});
    cases.push_back({1, 9, 2, 2, 33, 64, {70}, dtype, dtype});
    cases.push_back({5, 1, 6, 3, 80, 16, {600, 1, 2, 33, 64}, dtype, dtype});
    cases.push_back({70, 1, 12, 12, 64, 32, std::vector<int32_t>(70, 97), dtype, dtype});
  }
  return cases;
}

Bounds attention_decode_bounds(const AttentionDecodeCase& each) {
  return each.dtype == DType::f32 ? Bounds{1e-6, 4e-6, 2e-6, 4e-6} : kBf16Bounds;
}

// A GPU rounds the weights of one bf16 query to bf16 for their products with the values, each by
// 2^-9 of itself at most: of values of unit size, the largest three times that, whose weights add
// up to 1, the sum is off by up to 6e-3 however small it is.
Bounds attention_decode_gpu_bounds(const AttentionDecodeCase& each) {
  Bounds bounds = gpu_bounds(attention_decode_bounds(each));
  if (each.dtype == DType::bf16 && each.queries == 1) bounds.absolute = 6e-3;
  return bounds;
}

// The blocks of the sequences in an order that is not that of the positions.
Tensor block_table(Workbench& bench, const AttentionDecodeCase& each) {
  const int64_t blocks = each.B * each.max_blocks();
  std::vector<int32_t> table;
  for (int64_t i = 0; i < blocks; ++i) {
    table.push_back(static_cast<int32_t>((i * 7 + 3) % blocks));
  }
  // 7 and the number of blocks may share a factor: then in reverse.
  if (blocks % 7 == 0) {
    for (int64_t i = 0; i < blocks; ++i) table[i] = static_cast<int32_t>(blocks - 1 - i);
  }
  return bench.integers("block_table", {each.B, each.max_blocks()}, table);
}

Shape cache_shape(const AttentionDecodeCase& each) {
  return {each.B * each.max_blocks(), each.block_size, each.kv_heads, each.D};
}

Results run_decode(Backend& backend, const AttentionDecodeCase& each) {
  Workbench bench(backend, each.name());
  const Shape shape{each.B, each.queries, each.heads, each.D};
  // q as a slice of a wider tensor.
  const Tensor qkv = bench.random("qkv", each.dtype,
                                  {each.B, each.queries, each.heads + 2 * each.kv_heads, each.D});
  backend.attention_decode(
      bench.output("out", each.dtype, shape), qkv.slice(2, 0, each.heads),
      bench.random("keys", each.cache_dtype, cache_shape(each)),
      bench.random("values", each.cache_dtype, cache_shape(each)), block_table(bench, each),
      bench.integers("lengths", {each.B}, each.lengths), 1 / std::sqrt(static_cast<float>(each.D)));
  return bench.finish();
}

Results run_append(Backend& backend, const AttentionDecodeCase& each) {
  Workbench bench(backend, each.name());
  const Tensor kv =
      bench.random("kv", each.dtype, {each.B, each.queries, 2 * each.kv_heads, each.D});
  backend.cache_append(bench.output("keys", each.cache_dtype, cache_shape(each)),
                       bench.output("values", each.cache_dtype, cache_shape(each)),
                       kv.slice(2, 0, each.kv_heads), kv.slice(2, each.kv_heads, each.kv_heads),
                       block_table(bench, each), bench.integers("lengths", {each.B}, each.lengths));
  return bench.finish();
}

TEST(AttentionDecode, AsThePlainLoops) {
  check_cases<AttentionDecodeCase>(attention_decode_grid(), run_decode, attention_decode_bounds,
                                   kRepeats, attention_decode_gpu_bounds);
}

TEST(CacheAppend, AsThePlainLoops) {
  check_cases<AttentionDecodeCase>(attention_decode_grid(), run_append,
                                   [](const AttentionDecodeCase&) {
                                     return Bounds{0, 0, 1e-30, 0};
                                   });
}

TEST(CacheAppend, WritesTheNewPositionsOnly) {
  const AttentionDecodeCase each{2, 5, 4, 1, 8, 8, {5, 31}};
  for (const auto& [label, backend] : all_backends()) {
    const Results results = run_append(*backend, each);
    size_t written = 0;
    for (double value : result_named(results, "keys").values) written += !std::isnan(value);
    EXPECT_EQ(written, size_t{2 * 5 * 8}) << label;
  }
}

// Filling a cache token by token and decoding gives what attention over the whole row gives.
TEST(AttentionDecode, EqualsAttentionOverTheWholeRow) {
  const int64_t T = 21, H = 4, KV = 2, D = 16, block = 8;
  for (const auto& [label, backend] : all_backends()) {
    Workbench bench(*backend, "whole row");
    const Tensor qkv = bench.random("qkv", DType::f32, {1, T, H + 2 * KV, D});
    const Tensor q = qkv.slice(2, 0, H), k = qkv.slice(2, H, KV), v = qkv.slice(2, H + KV, KV);
    AttentionOptions options;
    options.scale = 0.25f;
    backend->attention_forward(bench.output("whole", DType::f32, {1, T, H, D}), {}, q, k, v,
                               options);
    const Tensor keys = bench.output("keys", DType::f32, {3, block, KV, D});
    const Tensor values = bench.output("values", DType::f32, {3, block, KV, D});
    const std::vector<int32_t> blocks = {2, 0, 1};
    const Tensor table = bench.integers("table", {1, 3}, blocks);
    const Tensor out = bench.output("out", DType::f32, {1, T, H, D});
    int64_t done = 0;
    for (int64_t count : {9, 1, 1, 3, 7}) {
      const std::vector<int32_t> length = {static_cast<int32_t>(done + count)};
      const Tensor lengths = bench.integers("lengths", {1}, length);
      const auto part = [&](Tensor x) { return x.slice(1, done, count); };
      backend->cache_append(keys, values, part(k), part(v), table, lengths);
      backend->attention_decode(part(out), part(q), keys, values, table, lengths, 0.25f);
      done += count;
    }
    const Results results = bench.finish();
    expect_close(label, result_named(results, "out").values, result_named(results, "whole").values,
                 D, {1e-6, 2e-6, 1e-6, 2e-6});
  }
}

}  // namespace
}  // namespace llm::test
