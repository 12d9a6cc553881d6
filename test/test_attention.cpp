#include <cmath>

#include "backend/dropout_mask.h"
#include "support/op_check.h"

namespace llm::test {
namespace {

struct AttentionCase {
  int64_t B, queries, keys, heads, kv_heads, D;
  MaskKind mask = MaskKind::causal;
  int64_t window = 0;
  float dropout = 0;
  DType dtype = DType::f32;
  std::vector<int32_t> query_offsets = {}, key_offsets = {};
  std::string name() const {
    return fmt::format("{} B {} Tq {} Tk {} H {} KV {} D {} mask {} window {} dropout {} packed {}",
                       dtype_name(dtype), B, queries, keys, heads, kv_heads, D,
                       static_cast<int>(mask), window, dropout, query_offsets.size());
  }
};

std::vector<AttentionCase> attention_grid() {
  std::vector<AttentionCase> cases;
  const int64_t lengths[][2] = {{1, 1}, {7, 7},   {23, 23}, {24, 24}, {25, 25},
                                {3, 8}, {50, 61}, {64, 64}, {31, 15}};
  const int64_t heads[][3] = {{1, 1, 1}, {2, 2, 7}, {4, 2, 16}, {3, 1, 17}, {2, 2, 32}};
  size_t n = 0;
  for (const auto& [queries, keys] : lengths) {
    for (MaskKind mask : {MaskKind::causal, MaskKind::full, MaskKind::window}) {
      for (int twice = 0; twice < 2; ++twice, ++n) {
        const auto& [H, KV, D] = heads[n % 5];
        AttentionCase each{1 + static_cast<int64_t>(n % 2), queries, keys, H, KV, D, mask};
        each.window = mask == MaskKind::window ? 2 + static_cast<int64_t>(n % 20) : 0;
        each.dropout = n % 3 == 1 ? 0.25f : 0;
        each.dtype = n % 4 == 3 ? DType::bf16 : DType::f32;
        cases.push_back(each);
      }
    }
  }
  // Enough work for several threads.
  cases.push_back({3, 64, 64, 4, 4, 64});
  cases.push_back({5, 97, 97, 6, 2, 16, MaskKind::causal, 0, 0.1f});
  // Longer than one tile of keys.
  cases.push_back({1, 300, 300, 2, 1, 16});
  cases.push_back({1, 270, 530, 1, 1, 8, MaskKind::window, 100});
  cases.push_back({1, 40, 300, 1, 1, 64, MaskKind::full, 0, 0.1f});
  // Packed rows, with an empty sequence and one without keys of its own.
  cases.push_back({1,
                   30,
                   30,
                   2,
                   2,
                   8,
                   MaskKind::causal,
                   0,
                   0,
                   DType::f32,
                   {0, 5, 5, 29, 30},
                   {0, 5, 5, 29, 30}});
  cases.push_back({1,
                   30,
                   41,
                   2,
                   1,
                   8,
                   MaskKind::causal,
                   0,
                   0.25f,
                   DType::f32,
                   {0, 5, 29, 30},
                   {0, 12, 12, 41}});
  cases.push_back(
      {1, 30, 30, 2, 2, 8, MaskKind::window, 3, 0, DType::bf16, {0, 26, 30}, {0, 26, 30}});
  cases.push_back({1, 30, 20, 2, 2, 8, MaskKind::full, 0, 0, DType::f32, {0, 26, 30}, {0, 9, 20}});
  return cases;
}

Bounds attention_bounds(const AttentionCase& each) {
  return each.dtype == DType::f32 ? Bounds{2e-6, 2e-5, 1e-5, 1e-5} : Bounds{3e-3, 2e-2, 2e-2, 1e-2};
}

AttentionOptions options_of(Workbench& bench, const AttentionCase& each) {
  AttentionOptions options;
  options.mask = each.mask;
  options.window = each.window;
  options.scale = 1 / std::sqrt(static_cast<float>(each.D));
  options.dropout.rate = each.dropout;
  if (each.dropout > 0) {
    std::vector<int64_t> ids;
    for (int64_t b = 0; b < each.B; ++b) ids.push_back(100 + 7 * b);
    options.dropout.seed = 42;
    options.dropout.site = 16;
    options.dropout.sample_ids = bench.integers64("ids", {each.B}, ids);
  }
  if (!each.query_offsets.empty()) {
    const Shape shape{static_cast<int64_t>(each.query_offsets.size())};
    options.query_offsets = bench.integers("query_offsets", shape, each.query_offsets);
    options.key_offsets = bench.integers("key_offsets", shape, each.key_offsets);
  }
  return options;
}

// q, k and v in one tensor, as the model has them where the lengths agree, else apart.
struct Projections {
  Tensor q, k, v;
};
Projections slices(Tensor qkv, const AttentionCase& each) {
  return {qkv.slice(2, 0, each.heads), qkv.slice(2, each.heads, each.kv_heads),
          qkv.slice(2, each.heads + each.kv_heads, each.kv_heads)};
}

template <typename Make>
Projections projections(const AttentionCase& each, const Make& make) {
  if (each.queries == each.keys) {
    return slices(make("qkv", {each.B, each.queries, each.heads + 2 * each.kv_heads, each.D}),
                  each);
  }
  const Shape keys{each.B, each.keys, each.kv_heads, each.D};
  return {make("q", {each.B, each.queries, each.heads, each.D}), make("k", keys), make("v", keys)};
}

Projections inputs(Workbench& bench, const AttentionCase& each) {
  return projections(each, [&](const std::string& name, const Shape& shape) {
    return bench.random(name, each.dtype, shape);
  });
}

Results attention_forward(Backend& backend, const AttentionCase& each) {
  Workbench bench(backend, each.name());
  const auto [q, k, v] = inputs(bench, each);
  const AttentionOptions options = options_of(bench, each);
  const Shape shape{each.B, each.queries, each.heads, each.D};
  const Tensor lse = bench.output("lse", DType::f32, {each.B, each.heads, each.queries});
  backend.attention_forward(bench.output("out", each.dtype, shape), lse, q, k, v, options);
  backend.attention_forward(bench.output("out of inference", each.dtype, shape), {}, q, k, v,
                            options);
  return bench.finish();
}

// out and lse of the plain loops: inputs of the backward pass, the same for every backend.
Results forward_once(const AttentionCase& each) {
  static std::string kept_name;
  static Results kept;
  if (kept_name != each.name()) {
    kept = attention_forward(plain_backend(), each);
    kept_name = each.name();
  }
  return kept;
}

Results attention_backward(Backend& backend, const AttentionCase& each) {
  const Results forward = forward_once(each);
  Workbench bench(backend, each.name());
  const auto [q, k, v] = inputs(bench, each);
  const Shape shape{each.B, each.queries, each.heads, each.D};
  const Tensor out = bench.input("out", each.dtype, shape, result_named(forward, "out").values);
  const Tensor lse = bench.input("lse", DType::f32, {each.B, each.heads, each.queries},
                                 result_named(forward, "lse").values);
  const Tensor dout = bench.random("dout", each.dtype, shape);
  const auto [dq, dk, dv] = projections(each, [&](const std::string& name, const Shape& dims) {
    return bench.output("d" + name, each.dtype, dims);
  });
  backend.attention_backward(dq, dk, dv, dout, out, lse, q, k, v, options_of(bench, each));
  return bench.finish();
}

TEST(Attention, GoldenValues) {
  const Bounds bounds{1e-6, 4e-6, 2e-6, 4e-6};
  for (const std::string& name : golden_cases("ops_attention")) {
    const Golden golden("ops_attention", name);
    for (const auto& [label, backend] : all_backends()) {
      Workbench bench(*backend, name);
      AttentionOptions options;
      options.scale = static_cast<float>(golden.number("scale"));
      options.window = static_cast<int64_t>(golden.number("window"));
      options.mask = golden.number("full") > 0 ? MaskKind::full
                     : options.window > 0      ? MaskKind::window
                                               : MaskKind::causal;
      if (golden.has("query_offsets")) {
        options.query_offsets = golden.integer_input(bench, "query_offsets");
        options.key_offsets = golden.integer_input(bench, "key_offsets");
      }
      const Tensor q = golden.input(bench, "q"), k = golden.input(bench, "k");
      const Tensor v = golden.input(bench, "v"), dout = golden.input(bench, "dout");
      const Tensor out = bench.output("out", DType::f32, golden.shape("out"));
      const Tensor lse = bench.output("lse", DType::f32, golden.shape("lse"));
      backend->attention_forward(out, lse, q, k, v, options);
      backend->attention_backward(bench.output("dq", DType::f32, golden.shape("q")),
                                  bench.output("dk", DType::f32, golden.shape("k")),
                                  bench.output("dv", DType::f32, golden.shape("v")), dout, out, lse,
                                  q, k, v, options);
      const Results results = bench.finish();
      for (const char* tensor : {"out", "lse", "dq", "dk", "dv"}) {
        golden.expect(label + " " + name, results, tensor, bounds);
      }
    }
  }
}

TEST(Attention, ForwardAsThePlainLoops) {
  check_cases<AttentionCase>(attention_grid(), attention_forward, attention_bounds);
}
TEST(Attention, BackwardAsThePlainLoops) {
  check_cases<AttentionCase>(attention_grid(), attention_backward, attention_bounds);
}

TEST(Attention, AQueryWithoutKeysGivesZero) {
  // Five queries, three keys: the first two see none.
  const AttentionCase each{1, 5, 3, 2, 2, 4};
  for (const auto& [label, backend] : all_backends()) {
    const Results forward = attention_forward(*backend, each);
    const std::vector<double>& out = result_named(forward, "out").values;
    for (size_t i = 0; i < 2 * 2 * 4; ++i) EXPECT_EQ(out[i], 0) << label;
    const std::vector<double>& lse = result_named(forward, "lse").values;
    for (size_t h : {0, 1}) {
      EXPECT_EQ(lse[h * 5], -INFINITY) << label;
      EXPECT_EQ(lse[h * 5 + 1], -INFINITY) << label;
      EXPECT_TRUE(std::isfinite(lse[h * 5 + 2])) << label;
    }
    const Results backward = attention_backward(*backend, each);
    const std::vector<double>& dq = result_named(backward, "dq").values;
    for (size_t i = 0; i < 2 * 2 * 4; ++i) EXPECT_EQ(dq[i], 0) << label;
  }
}

// The whole op in double, from its definition: the sum of dout * out for causal attention of one
// sample with dropout. q, k, v: (T, H, D).
double loss_of(std::span<const double> q, std::span<const double> k, std::span<const double> v,
               std::span<const double> dout, const AttentionCase& each) {
  const auto T = static_cast<size_t>(each.queries), H = static_cast<size_t>(each.heads);
  const auto D = static_cast<size_t>(each.D);
  const auto row = [&](std::span<const double> x, size_t t, size_t h) {
    return x.subspan((t * H + h) * D, D);
  };
  double loss = 0;
  for (size_t h = 0; h < H; ++h) {
    for (size_t i = 0; i < T; ++i) {
      std::vector<double> weight;
      double total = 0;
      for (size_t j = 0; j <= i; ++j) {
        weight.push_back(
            std::exp(dot(row(q, i, h), row(k, j, h)) / std::sqrt(static_cast<double>(D))));
        total += weight.back();
      }
      for (size_t j = 0; j <= i; ++j) {
        const bool kept = dropout_keeps(42, dropout_stream(16, 100), (h * T + i) * T + j,
                                        dropout_threshold(each.dropout));
        const double factor = kept ? 1 / (1 - static_cast<double>(each.dropout)) : 0;
        loss += weight[j] / total * factor * dot(row(dout, i, h), row(v, j, h));
      }
    }
  }
  return loss;
}

TEST(Attention, BackwardWithDropoutAgainstCentralDifferences) {
  const AttentionCase each{1, 6, 6, 2, 2, 3, MaskKind::causal, 0, 0.25f};
  const auto qkv = random_values(each.name(), "qkv", 6 * 6 * 3);
  const auto dout = random_values(each.name(), "dout", 6 * 2 * 3);
  const auto loss = [&](std::span<const double> fused) {
    std::vector<double> parts[3];
    for (size_t i = 0; i < fused.size(); ++i) parts[i / 6 % 3].push_back(fused[i]);
    return loss_of(parts[0], parts[1], parts[2], dout, each);
  };
  const auto expected = central_differences(qkv, loss);
  for (const auto& [label, backend] : all_backends()) {
    const Results results = attention_backward(*backend, each);
    expect_close(label, results[0].values, expected, 3, {2e-6, 1e-5, 2e-6, 1e-5});
  }
}

// The mask belongs to the sample, not to its place in a batch.
TEST(Attention, TheBatchSplitDoesNotShowInTheDropout) {
  const AttentionCase whole{2, 20, 20, 2, 2, 8, MaskKind::causal, 0, 0.3f};
  for (const auto& [label, backend] : all_backends()) {
    const Results both = attention_forward(*backend, whole);
    const auto qkv = random_values(whole.name(), "qkv", 2 * 20 * 6 * 8);
    for (size_t b : {0, 1}) {
      const AttentionCase alone{1, 20, 20, 2, 2, 8, MaskKind::causal, 0, 0.3f};
      Workbench bench(*backend, alone.name());
      const size_t per_sample = 20 * 6 * 8, out_size = 20 * 2 * 8;
      const Tensor part = bench.input("qkv", DType::f32, {1, 20, 6, 8},
                                      std::span(qkv).subspan(b * per_sample, per_sample));
      AttentionOptions options = options_of(bench, alone);
      const std::vector<int64_t> ids = {100 + 7 * static_cast<int64_t>(b)};
      options.dropout.sample_ids = bench.integers64("id", {1}, ids);
      const auto [q, k, v] = slices(part, alone);
      backend->attention_forward(bench.output("out", DType::f32, {1, 20, 2, 8}), {}, q, k, v,
                                 options);
      const auto& out = result_named(both, "out").values;
      const std::vector<double> expected(out.begin() + static_cast<int64_t>(b * out_size),
                                         out.begin() + static_cast<int64_t>((b + 1) * out_size));
      EXPECT_EQ(bench.finish()[0].values, expected) << label;
    }
  }
}

}  // namespace
}  // namespace llm::test
