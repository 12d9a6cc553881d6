// A token through a whole transformer.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "cli/op_cases.h"

namespace llm {
namespace {

struct TransformerShape {
  int64_t layers, heads, D, hidden, vocab, block_size;
  std::vector<int32_t> lengths;
  bool biases = true;

  int64_t channels() const { return heads * D; }
  int64_t sequences() const { return std::ssize(lengths); }
  int64_t longest() const { return *std::max_element(lengths.begin(), lengths.end()); }
  int64_t max_blocks() const { return (longest() + block_size - 1) / block_size; }
  Shape cache() const { return {sequences() * max_blocks(), block_size, heads, D}; }
  int64_t weights() const {  // elements that are multiplied
    return layers * (4 * channels() * channels() + 2 * channels() * hidden) + vocab * channels();
  }
  int64_t cached() const {
    int64_t positions = 0;
    for (const int32_t length : lengths) positions += length;
    return 2 * layers * positions * channels();
  }
  std::string text() const {
    return fmt::format("S {} L {} H {} D {} MLP {} V {}, {} keys, block {}{}", sequences(), layers,
                       heads, D, hidden, vocab, longest(), block_size, biases ? "" : ", no biases");
  }
};

// Of the logits. In f32 the orders of the sums differ, in each of the layers once more. In bf16 the
// plain loops round each result, where a device may keep the stream, what is added to it, what GELU
// reads and the logits in f32. A rounding is an error of 2^-9 / sqrt(3) of a number at most, so
// about 1.5e-6 in the mean square. Those of the embedding, the final norm's input and the logits
// come to 4e-6, and each layer adds its four roundings and the stream's two, but what is rounded
// differently once is normalized, multiplied and rounded differently again by all that follows: in
// numbers, models of these shapes with and without these roundings are 2e-5 and 1.1e-5 a layer
// apart, up to 4.1e-5 for one layer, 5.9e-5 for two and 5.1e-5 for three; single logits of one
// layer by 0.024 of the average, of three by 0.029. The bounds are twice that. (In f32 the same
// kernels are held to 1e-10.)
OpTolerance logits_tolerance(DType dtype, int64_t layers) {
  const double n = static_cast<double>(layers);
  OpTolerance tolerance = tolerance_of(dtype);
  if (dtype == DType::f32) {
    tolerance.f32 = {1e-10 * n, 1e-9 * n, 1e-4 * n, 1e-4};
  } else {
    const double bound = 4e-5 + 2e-5 * n;
    tolerance.f32 = {bound, 2 * bound, 6 * std::sqrt(bound), 0.02};
    tolerance.bf16 = {bound, 5 * bound, 8 * std::sqrt(bound), 0.02};
  }
  return tolerance;
}

// Tensors that the tests' names tell apart.
struct Maker {
  OpTensors& tensors;
  DType dtype;
  bool biases;

  // Rows whose products with numbers of unit size are of unit size.
  Tensor matrix(const std::string& name, int64_t out, int64_t in, double size = 1) const {
    return tensors.random(name, dtype, {out, in}, size / std::sqrt(static_cast<double>(in)));
  }
  Tensor bias(const std::string& name, int64_t count) const {
    return biases ? tensors.random(name, dtype, {count}, 0.1) : Tensor();
  }
  Tensor norm(const std::string& name, int64_t count) const {
    return tensors.random(name, dtype, {count}, 0.2, 1);
  }
};

// Writes one position of what is there; the rest has to stay.
DecodeLayer make_layer(const Maker& maker, const TransformerShape& s, int64_t index) {
  const int64_t C = s.channels();
  const auto name = [&](const char* part) { return fmt::format("{} of layer {}", part, index); };
  DecodeLayer layer;
  layer.norm1_weight = maker.norm(name("norm1"), C);
  layer.norm1_bias = maker.bias(name("norm1 bias"), C);
  layer.qkv_weight = maker.matrix(name("qkv"), 3 * C, C);
  layer.qkv_bias = maker.bias(name("qkv bias"), 3 * C);
  layer.projection_weight = maker.matrix(name("projection"), C, C, 0.7);
  layer.projection_bias = maker.bias(name("projection bias"), C);
  layer.norm2_weight = maker.norm(name("norm2"), C);
  layer.norm2_bias = maker.bias(name("norm2 bias"), C);
  layer.up_weight = maker.matrix(name("up"), s.hidden, C);
  layer.up_bias = maker.bias(name("up bias"), s.hidden);
  layer.down_weight = maker.matrix(name("down"), C, s.hidden, 0.7);
  layer.down_bias = maker.bias(name("down bias"), C);
  OpTensors& tensors = maker.tensors;
  layer.keys = tensors.changed(tensors.random(name("keys"), maker.dtype, s.cache()));
  layer.values = tensors.changed(tensors.random(name("values"), maker.dtype, s.cache()));
  return layer;
}

OpCase transformer_case(DType dtype, const TransformerShape& s) {
  OpCase each{"transformer_decode", dtype, s.text(), {}, logits_tolerance(dtype, s.layers)};
  each.large = s.weights() > 2'000'000;
  each.prepare = [=](OpTensors& tensors) {
    const int64_t S = s.sequences(), C = s.channels();
    const Maker maker{tensors, dtype, s.biases};
    std::vector<int32_t> tokens, positions, table;
    for (int64_t i = 0; i < S; ++i) {
      tokens.push_back(static_cast<int32_t>((i * 37 + 11) % s.vocab));
      positions.push_back(s.lengths[static_cast<size_t>(i)] - 1);
    }
    const int64_t blocks = S * s.max_blocks();
    for (int64_t i = 0; i < blocks; ++i) table.push_back(static_cast<int32_t>(blocks - 1 - i));
    DecodeModel model;
    model.token_table = model.head = maker.matrix("token table", s.vocab, C, 3);
    model.position_table = tensors.random("position table", dtype, {s.longest(), C}, 0.5);
    for (int64_t layer = 0; layer < s.layers; ++layer) {
      model.layers.push_back(make_layer(maker, s, layer));
    }
    model.norm_weight = maker.norm("norm", C);
    model.norm_bias = maker.bias("norm bias", C);
    const Tensor ids = tensors.integers("tokens", {S}, tokens);
    const Tensor places = tensors.integers("positions", {S}, positions);
    const Tensor lengths = tensors.integers("lengths", {S}, s.lengths);
    const Tensor blocks_of = tensors.integers("block table", {S, s.max_blocks()}, table);
    const Tensor logits = tensors.output("logits", DType::f32, {S, s.vocab});
    tensors.set_traffic((s.weights() + s.cached()) * dtype_bytes(dtype));
    return [=, &backend = tensors.backend()] {
      backend.transformer_decode(logits, ids, places, blocks_of, lengths, model);
    };
  };
  return each;
}

// So many sequences of mixed lengths.
std::vector<int32_t> mixed_lengths(int32_t count, int32_t longest) {
  std::vector<int32_t> lengths(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) lengths[static_cast<size_t>(i)] = 1 + i * 97 % longest;
  return lengths;
}

std::vector<TransformerShape> transformer_shapes() {
  return {{1, 1, 64, 64, 128, 16, {1}},
          {1, 1, 64, 256, 128, 16, {2, 17}, false},
          {2, 2, 64, 256, 256, 16, {5, 1, 40}},
          {1, 2, 80, 640, 256, 64, {70, 3, 9, 129, 64, 65, 1, 2}},
          {2, 1, 96, 384, 128, 32, {33}},
          {1, 2, 128, 512, 384, 16, {20, 300, 1, 7, 100}, false},
          {1, 2, 64, 512, 128, 64, {1000, 257, 256, 258, 513, 3, 600, 770, 2}},
          {3, 12, 64, 3072, 1024, 64, {100}},
          {1, 12, 64, 3072, 50304, 64, {320, 64}},
          {1, 25, 64, 6400, 1664, 64, {700, 12, 290}},
          {1, 21, 64, 1344, 1408, 64, {70, 3, 9, 129, 64, 65, 1, 2}},
          {2, 2, 64, 512, 256, 16, mixed_lengths(64, 90)},
          {1, 2, 80, 640, 320, 16, mixed_lengths(33, 300), false},
          {1, 2, 96, 768, 256, 32, mixed_lengths(17, 70)},
          {1, 4, 72, 576, 320, 2, mixed_lengths(20, 100)},
          {1, 2, 128, 1024, 256, 16, mixed_lengths(70, 40)},
          {1, 9, 128, 1152, 12800, 64, mixed_lengths(9, 20)},
          {1, 12, 64, 3072, 50304, 64, mixed_lengths(64, 320)},
          {1, 25, 64, 6400, 1664, 64, mixed_lengths(10, 280)}};
}

}  // namespace

OpCases transformer_cases() {
  OpCases cases;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const TransformerShape& shape : transformer_shapes())
      cases.push_back(transformer_case(dtype, shape));
  }
  return cases;
}

OpCases transformer_benchmarks(const OpSizes& sizes, DType dtype) {
  // A token as in batch-1 decoding, with four layers: enough that memory is what counts.
  const int64_t D = sizes.channels / sizes.heads;
  const TransformerShape shape{4,
                               sizes.heads,
                               D,
                               4 * sizes.channels,
                               (sizes.vocab + 127) / 128 * 128,
                               64,
                               {static_cast<int32_t>(sizes.length)}};
  return {transformer_case(dtype, shape)};
}

}  // namespace llm
