// Linear layers, alone and with their GELU, and the gradient of their bias.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/op_cases.h"

namespace llm {
namespace {

struct LinearShape {
  int64_t rows, in, out;
  double products() const { return 2.0 * static_cast<double>(rows * in * out); }
};

std::string linear_text(const LinearShape& s, const char* text) {
  return fmt::format("{} x {} to {}{}", s.rows, s.in, s.out, text);
}

// Products of about unit size.
double weight_deviation(const LinearShape& s) {
  return 1 / std::sqrt(static_cast<double>(std::max<int64_t>(s.in, 1)));
}

Weight weight_of(OpTensors& tensors, DType dtype, const LinearShape& s) {
  Weight weight;
  weight.data = tensors.random("weight", dtype, {s.out, s.in}, weight_deviation(s));
  return weight;
}

OpCase linear_forward_case(DType dtype, const LinearShape& s, bool bias) {
  OpCase each{
      "linear_forward", dtype, linear_text(s, bias ? "" : ", no bias"), {}, tolerance_of(dtype)};
  each.flops = s.products();
  each.prepare = [=](OpTensors& tensors) {
    const Tensor x = tensors.random("x", dtype, {s.rows, s.in});
    const Weight weight = weight_of(tensors, dtype, s);
    const Tensor shift = bias ? tensors.random("bias", dtype, {s.out}) : Tensor();
    const Tensor y = tensors.output("y", dtype, {s.rows, s.out});
    return [=, &backend = tensors.backend()] { backend.linear_forward(y, x, weight, shift); };
  };
  return each;
}

OpCase linear_gelu_forward_case(DType dtype, const LinearShape& s, bool bias, bool keep) {
  OpCase each{"linear_gelu_forward",
              dtype,
              linear_text(s, "") + (bias ? "" : ", no bias") + (keep ? "" : ", inference"),
              {},
              tolerance_of(dtype)};
  each.flops = s.products();
  each.tolerance.bf16 = bf16_elsewhere_bounds(s.rows * s.out);
  each.prepare = [=](OpTensors& tensors) {
    const Tensor x = tensors.random("x", dtype, {s.rows, s.in});
    const Weight weight = weight_of(tensors, dtype, s);
    const Tensor shift = bias ? tensors.random("bias", dtype, {s.out}) : Tensor();
    const Tensor y = tensors.output("y", dtype, {s.rows, s.out});
    const Tensor pre = keep ? tensors.output("pre", dtype, {s.rows, s.out}) : Tensor();
    return [=, &backend = tensors.backend()] {
      backend.linear_gelu_forward(y, pre, x, weight, shift);
    };
  };
  return each;
}

// What a backward pass is asked for.
struct LinearGradients {
  const char* text;
  bool dx = true, dweight = true, dbias = true, accumulate = false;
};
constexpr LinearGradients kAllOfLinear{""},
    kAccumulatedLinear{", accumulate", true, true, true, true},
    kWithoutBias{", no dbias", true, true, false}, kOnlyDx{", dx only", true, false, false, true},
    kOnlyDweight{", dweight and dbias only", false};

OpCase linear_backward_case(DType dtype, const LinearShape& s, const LinearGradients& wanted) {
  OpCase each{"linear_backward", dtype, linear_text(s, wanted.text), {}, tolerance_of(dtype)};
  each.flops = s.products() * (wanted.dx + wanted.dweight);
  if (wanted.accumulate) each.tolerance.bf16 = bf16_elsewhere_bounds(s.rows * s.in);
  each.prepare = [=](OpTensors& tensors) {
    const Tensor dy = tensors.random("dy", dtype, {s.rows, s.out});
    const Tensor x =
        wanted.dweight ? tensors.random("x", dtype, {s.rows, s.in}) : Tensor();  // else not read
    const Weight weight = weight_of(tensors, dtype, s);
    const Tensor dx = !wanted.dx ? Tensor()
                      : wanted.accumulate
                          ? tensors.changed(tensors.random("dx", dtype, {s.rows, s.in}))
                          : tensors.output("dx", dtype, {s.rows, s.in});
    const auto gradient = [&](const char* name, const Shape& shape, bool given) {
      return given ? tensors.changed(tensors.random(name, DType::f32, shape)) : Tensor();
    };
    const Tensor dweight = gradient("dweight", {s.out, s.in}, wanted.dweight);
    const Tensor dbias = gradient("dbias", {s.out}, wanted.dbias);
    return [=, &backend = tensors.backend()] {
      backend.linear_backward(dx, dweight, dbias, dy, x, weight, wanted.accumulate);
    };
  };
  return each;
}

// frozen: no gradient but that of what the layer reads.
OpCase linear_backward_gelu_case(DType dtype, const LinearShape& s, bool biases,
                                 bool frozen = false) {
  OpCase each{"linear_backward_gelu",
              dtype,
              linear_text(s, frozen   ? ", dpre only"
                             : biases ? ""
                                      : ", no biases"),
              {},
              tolerance_of(dtype)};
  each.flops = (frozen ? 1 : 2) * s.products();
  // The column sums are of rounded numbers in one backend and of f32 numbers in another.
  if (dtype == DType::bf16) each.tolerance.f32 = kBf16Bounds;
  each.prepare = [=](OpTensors& tensors) {
    const Tensor dy = tensors.random("dy", dtype, {s.rows, s.out});
    const Tensor pre = tensors.random("pre", dtype, {s.rows, s.in});
    const Tensor x = frozen ? Tensor() : tensors.random("x", dtype, {s.rows, s.in});
    const Weight weight = weight_of(tensors, dtype, s);
    const Tensor dpre = tensors.output("dpre", dtype, {s.rows, s.in});
    const auto gradient = [&](const char* name, const Shape& shape, bool given) {
      return given ? tensors.changed(tensors.random(name, DType::f32, shape)) : Tensor();
    };
    const Tensor dweight = gradient("dweight", {s.out, s.in}, !frozen);
    const Tensor dbias = gradient("dbias", {s.out}, biases);
    const Tensor dpre_bias = gradient("dpre_bias", {s.in}, biases);
    return [=, &backend = tensors.backend()] {
      backend.linear_backward_gelu(dpre, dweight, dbias, dpre_bias, dy, x, pre, weight);
    };
  };
  return each;
}

OpCase bias_backward_case(DType dtype, int64_t rows, int64_t C) {
  OpCase each{"bias_backward", dtype, sizes_text({rows, C}), {}, tolerance_of(dtype)};
  each.large = C > 600;
  each.prepare = [=](OpTensors& tensors) {
    const Tensor dy = tensors.random("dy", dtype, {rows, C});
    const Tensor dbias = tensors.changed(tensors.random("dbias", DType::f32, {C}));
    return [=, &backend = tensors.backend()] { backend.bias_backward(dbias, dy); };
  };
  return each;
}

// Vectors, the depth of a tensor core's product, and the tiles of 64 and 128.
constexpr LinearShape kLinearShapes[] = {
    {1, 1, 1},     {1, 7, 3},      {3, 8, 8},     {5, 13, 17},    {17, 33, 31},   {64, 64, 64},
    {63, 65, 127}, {129, 128, 63}, {2, 256, 129}, {127, 40, 136}, {128, 72, 257}, {200, 16, 8}};
// GPT-2's layers.
constexpr LinearShape kLargeShapes[] = {{64, 768, 2304}, {65, 3072, 768}, {33, 1600, 4800}};
constexpr LinearShape kVocabulary{4, 768, 50304};
constexpr int64_t kBiases[][2] = {{0, 8},    {1, 1},     {1, 7},    {3, 8},
                                  {31, 33},  {257, 15},  {129, 64}, {1025, 17},
                                  {64, 255}, {200, 768}, {77, 6400}};

void add_cases(OpCases& cases, DType dtype, const LinearShape& shape, bool large) {
  const size_t before = cases.size();
  for (const bool bias : {true, false}) {
    cases.push_back(linear_forward_case(dtype, shape, bias));
    cases.push_back(linear_gelu_forward_case(dtype, shape, bias, bias));
    cases.push_back(linear_backward_gelu_case(dtype, shape, bias));
  }
  if (!large) cases.push_back(linear_backward_gelu_case(dtype, shape, false, /*frozen=*/true));
  for (const LinearGradients& wanted :
       {kAllOfLinear, kAccumulatedLinear, kWithoutBias, kOnlyDx, kOnlyDweight}) {
    // Of large shapes what a training step asks for.
    if (large && (!wanted.dweight || !wanted.dx)) continue;
    cases.push_back(linear_backward_case(dtype, shape, wanted));
  }
  for (size_t i = before; i < cases.size(); ++i) cases[i].large = large;
}

}  // namespace

OpCases linear_cases() {
  OpCases cases;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const LinearShape& shape : kLinearShapes) add_cases(cases, dtype, shape, false);
    for (const LinearShape& shape : kLargeShapes) add_cases(cases, dtype, shape, true);
    cases.push_back(linear_forward_case(dtype, kVocabulary, false));
    cases.back().large = true;
    for (const auto& [rows, C] : kBiases) cases.push_back(bias_backward_case(dtype, rows, C));
  }
  return cases;
}

OpCases linear_benchmarks(const OpSizes& sizes, DType dtype) {
  const int64_t rows = sizes.rows, C = sizes.channels;
  // A layer's four products, then the one with the vocabulary on fewer rows: its result is large.
  const int64_t vocab = (sizes.vocab + 127) / 128 * 128, fewer = std::max<int64_t>(rows / 8, 1);
  OpCases cases;
  for (const LinearShape& shape : {LinearShape{rows, C, 3 * C}, LinearShape{rows, C, C},
                                   LinearShape{rows, 4 * C, C}, LinearShape{fewer, C, vocab}}) {
    const bool bias = shape.out != vocab;
    cases.push_back(linear_forward_case(dtype, shape, bias));
    cases.push_back(linear_backward_case(dtype, shape, bias ? kAllOfLinear : kWithoutBias));
  }
  cases.push_back(linear_gelu_forward_case(dtype, {rows, C, 4 * C}, true, true));
  cases.push_back(linear_backward_gelu_case(dtype, {rows, 4 * C, C}, true));
  cases.push_back(bias_backward_case(dtype, rows, 4 * C));
  return cases;
}

}  // namespace llm
