// Attention over whole rows.
#include <fmt/format.h>

#include <cmath>

#include "cli/op_cases.h"

namespace llm {
namespace {

struct AttentionShape {
  int64_t B, queries, keys, heads, kv_heads, D;
  MaskKind mask = MaskKind::causal;
  int64_t window = 0;
  float dropout = 0;
  std::vector<int32_t> query_offsets = {}, key_offsets = {};  // of packed rows

  std::string text() const {
    std::string text = fmt::format("B {} T {}", B, queries);
    if (keys != queries) text += fmt::format("/{}", keys);
    text += fmt::format(" H {}", heads);
    if (kv_heads != heads) text += fmt::format("/{}", kv_heads);
    text += fmt::format(" D {}", D);
    if (mask == MaskKind::full) text += ", full";
    if (mask == MaskKind::window) text += fmt::format(", window {}", window);
    if (dropout > 0) text += fmt::format(", dropout {}", dropout);
    if (!query_offsets.empty()) text += fmt::format(", {} packed", query_offsets.size() - 1);
    return text;
  }
  double products() const {  // of one of the products with the scores
    const double pairs = static_cast<double>(B * heads * queries * keys);
    return 2 * pairs * static_cast<double>(D) * (mask == MaskKind::causal ? 0.5 : 1);
  }
  bool large() const { return products() > 2e7; }
};

AttentionOptions options_of(OpTensors& tensors, const AttentionShape& s) {
  AttentionOptions options;
  options.mask = s.mask;
  options.window = s.window;
  options.scale = 1 / std::sqrt(static_cast<float>(s.D));
  options.dropout.rate = s.dropout;
  if (s.dropout > 0) {
    std::vector<int64_t> ids;
    for (int64_t b = 0; b < s.B; ++b) ids.push_back(100 + 7 * b + (b % 2 << 35));
    options.dropout.seed = tensors.seed();
    options.dropout.site = 16;
    options.dropout.sample_ids = tensors.integers64("ids", {s.B}, ids);
  }
  if (!s.query_offsets.empty()) {
    const Shape shape{static_cast<int64_t>(s.query_offsets.size())};
    options.query_offsets = tensors.integers("query_offsets", shape, s.query_offsets);
    options.key_offsets = tensors.integers("key_offsets", shape, s.key_offsets);
  }
  return options;
}

// q, k and v: in one tensor, as the model has them, where the lengths agree.
struct Projections {
  Tensor q, k, v;
};

template <typename Make>
Projections projections(const AttentionShape& s, const std::string& prefix, const Make& make) {
  if (s.queries == s.keys) {
    const Tensor qkv = make(prefix + "qkv", {s.B, s.queries, s.heads + 2 * s.kv_heads, s.D});
    return {qkv.slice(2, 0, s.heads), qkv.slice(2, s.heads, s.kv_heads),
            qkv.slice(2, s.heads + s.kv_heads, s.kv_heads)};
  }
  const Shape keys{s.B, s.keys, s.kv_heads, s.D};
  return {make(prefix + "q", {s.B, s.queries, s.heads, s.D}), make(prefix + "k", keys),
          make(prefix + "v", keys)};
}

Projections inputs(OpTensors& tensors, DType dtype, const AttentionShape& s) {
  return projections(s, "", [&](const std::string& name, const Shape& shape) {
    return tensors.random(name, dtype, shape, 1.5);
  });
}

OpCase attention_forward_case(DType dtype, const AttentionShape& s, bool keep) {
  OpCase each{
      "attention_forward", dtype, s.text() + (keep ? "" : ", inference"), {}, tolerance_of(dtype)};
  each.flops = 2 * s.products();
  each.large = s.large();
  each.prepare = [=](OpTensors& tensors) {
    const auto [q, k, v] = inputs(tensors, dtype, s);
    const AttentionOptions options = options_of(tensors, s);
    const Tensor out = tensors.output("out", dtype, {s.B, s.queries, s.heads, s.D});
    const Tensor lse =
        keep ? tensors.output("lse", DType::f32, {s.B, s.heads, s.queries}) : Tensor();
    return [=, &backend = tensors.backend(), q = q, k = k, v = v] {
      backend.attention_forward(out, lse, q, k, v, options);
    };
  };
  return each;
}

struct ForwardResults {
  Tensor out, lse;
};

// The output of the forward pass is an input of the backward pass: made by the plain loops, so that
// the backward pass is checked alone.
ForwardResults forward_results(OpTensors& tensors, DType dtype, const AttentionShape& s) {
  const Shape out_shape{s.B, s.queries, s.heads, s.D}, lse_shape{s.B, s.heads, s.queries};
  if (tensors.reference() == nullptr) {
    return {tensors.random("out", dtype, out_shape),
            tensors.random("lse", DType::f32, lse_shape, 0.1, 7)};
  }
  Backend& reference = *tensors.reference();
  OpTensors twin(reference, tensors.seed(), reference);
  attention_forward_case(dtype, s, true).prepare(twin)();
  const std::vector<OpResult> results = twin.results(twin.download());
  const auto copy = [&](const OpResult& result, const Shape& shape) {
    const std::vector<float> values(result.values.begin(), result.values.end());
    return tensors.input(result.name, result.dtype, shape, values);
  };
  return {copy(results[0], out_shape), copy(results[1], lse_shape)};
}

OpCase attention_backward_case(DType dtype, const AttentionShape& s) {
  OpCase each{"attention_backward",
              dtype,
              s.text(),
              {},
              {kF32AttentionBackwardBounds, kBf16AttentionBackwardBounds}};
  // With one key the gradients of q and k are nothing but rounding.
  if (s.keys == 1) each.tolerance.noise = 1;
  each.flops = 5 * s.products();
  each.large = s.large();
  each.prepare = [=](OpTensors& tensors) {
    const auto [q, k, v] = inputs(tensors, dtype, s);
    const AttentionOptions options = options_of(tensors, s);
    const auto [out, lse] = forward_results(tensors, dtype, s);
    const Tensor dout = tensors.random("dout", dtype, {s.B, s.queries, s.heads, s.D});
    const Projections d = projections(s, "d", [&](const std::string& name, const Shape& shape) {
      return tensors.output(name, dtype, shape);
    });
    return [=, &backend = tensors.backend(), q = q, k = k, v = v, out = out, lse = lse] {
      backend.attention_backward(d.q, d.k, d.v, dout, out, lse, q, k, v, options);
    };
  };
  return each;
}

std::vector<AttentionShape> attention_shapes() {
  std::vector<AttentionShape> shapes;
  // Odd head sizes and lengths, which no fast kernel takes.
  const int64_t lengths[][2] = {{1, 1}, {7, 7}, {24, 24}, {3, 8}, {50, 61}, {31, 15}, {70, 70}};
  const int64_t heads[][3] = {{1, 1, 1}, {2, 2, 7}, {4, 2, 16}, {3, 1, 17}, {2, 2, 32}};
  const float rates[] = {0, 0.25f, 0};
  size_t n = 0;
  for (const auto& [queries, keys] : lengths) {
    for (const MaskKind mask : {MaskKind::causal, MaskKind::full, MaskKind::window}) {
      const auto& [H, KV, D] = heads[n % 5];
      const int64_t window = mask == MaskKind::window ? 2 + static_cast<int64_t>(n % 20) : 0;
      shapes.push_back(
          {1 + static_cast<int64_t>(n % 2), queries, keys, H, KV, D, mask, window, rates[n % 3]});
      ++n;
    }
  }
  // The head sizes of fast kernels, with lengths around their tiles, groups of heads and dropout.
  const int64_t tiles[][2] = {{1, 1}, {63, 63}, {64, 64}, {65, 65}, {129, 129}, {40, 200}};
  for (const int64_t D : {64, 80, 96, 128}) {
    for (const auto& [queries, keys] : tiles) {
      for (const MaskKind mask : {MaskKind::causal, MaskKind::full}) {
        const int64_t KV = n % 2 == 0 ? 4 : n % 4 == 1 ? 2 : 1;
        shapes.push_back({1 + static_cast<int64_t>(n % 3 == 0), queries, keys, 4, KV, D, mask, 0,
                          n % 5 == 2 ? 0.1f : 0});
        ++n;
      }
    }
    shapes.push_back({1, 100, 100, 2, 2, D, MaskKind::window, 33});
    // Packed rows, one of them with an empty sequence.
    const std::vector<int32_t> packed = {0, 5, 5, 70, 135, 200};
    shapes.push_back({1, 200, 200, 2, 2, D, MaskKind::causal, 0, 0, packed, packed});
    shapes.push_back({1, 200, 200, 4, 2, D, MaskKind::full, 0, 0.1f, packed, packed});
  }
  // Packed rows with other keys than queries, and a sequence without keys.
  shapes.push_back(
      {1, 30, 41, 2, 1, 8, MaskKind::causal, 0, 0.25f, {0, 5, 29, 30}, {0, 12, 12, 41}});
  shapes.push_back({1, 30, 41, 2, 1, 64, MaskKind::full, 0, 0, {0, 5, 29, 30}, {0, 12, 12, 41}});
  shapes.push_back({1, 30, 30, 2, 2, 8, MaskKind::window, 3, 0, {0, 26, 30}, {0, 26, 30}});
  // The rows of GPT-2, with fewer heads.
  shapes.push_back({1, 1024, 1024, 2, 2, 64});
  shapes.push_back({1, 1023, 1023, 1, 1, 64, MaskKind::full, 0, 0.1f});
  shapes.push_back({1, 513, 513, 2, 1, 128});
  return shapes;
}

}  // namespace

OpCases attention_cases() {
  OpCases cases;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const AttentionShape& shape : attention_shapes()) {
      cases.push_back(attention_forward_case(dtype, shape, true));
      if (!shape.large()) cases.push_back(attention_forward_case(dtype, shape, false));
      cases.push_back(attention_backward_case(dtype, shape));
    }
  }
  return cases;
}

OpCases attention_benchmarks(const OpSizes& sizes, DType dtype) {
  const int64_t B = sizes.rows / sizes.length, T = sizes.length, H = sizes.heads;
  const AttentionShape shape{B, T, T, H, H, sizes.channels / H};
  AttentionShape dropped = shape;
  dropped.dropout = 0.1f;
  return {attention_forward_case(dtype, shape, true), attention_forward_case(dtype, dropped, true),
          attention_backward_case(dtype, shape), attention_backward_case(dtype, dropped)};
}

}  // namespace llm
