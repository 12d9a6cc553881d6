// Embedding, layer normalization, dropout.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/rng.h"
#include "cli/op_cases.h"

namespace llm {
namespace {

constexpr float kEpsilon = 1e-5f;

// --- Embedding

struct EmbeddingShape {
  int64_t B, T, C, vocab;
};

OpCase embedding_case(const char* op, DType dtype, const EmbeddingShape& s, bool positions) {
  const std::string shape = fmt::format("{}, {} tokens{}", sizes_text({s.B, s.T, s.C}), s.vocab,
                                        positions ? ", positions" : "");
  OpCase each{op, dtype, shape, {}, tolerance_of(dtype)};
  each.large = s.B * s.T * s.C > 50'000;
  return each;
}

// As in text, some tokens are frequent: the logarithm of the rank is evenly distributed.
std::vector<int32_t> token_ids(const EmbeddingShape& s) {
  RandomSequence random(7, stream_id("tokens"));
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < s.B * s.T; ++i) {
    const double rank = std::pow(static_cast<double>(s.vocab + 1), random.uniform());
    ids.push_back(static_cast<int32_t>(std::min(rank - 1, static_cast<double>(s.vocab - 1))));
  }
  return ids;
}
int64_t distinct(const std::vector<int32_t>& ids) {
  return static_cast<int64_t>(std::set<int32_t>(ids.begin(), ids.end()).size());
}
// Each sequence starts one position later.
Tensor positions_of(OpTensors& tensors, const EmbeddingShape& s, bool given) {
  if (!given) return {};
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < s.B * s.T; ++i) ids.push_back(static_cast<int32_t>(i % s.T + i / s.T));
  return tensors.integers("positions", {s.B, s.T}, ids);
}

OpCase embedding_forward_case(DType dtype, const EmbeddingShape& s, bool positions) {
  OpCase each = embedding_case("embedding_forward", dtype, s, positions);
  each.prepare = [=](OpTensors& tensors) {
    const std::vector<int32_t> ids = token_ids(s);
    const Tensor tokens = tensors.integers("tokens", {s.B, s.T}, ids);
    const Tensor places = positions_of(tensors, s, positions);
    const Tensor table = tensors.random("token_table", dtype, {s.vocab, s.C});
    // Without positions some models have no position table either.
    const Tensor rows = s.T == 5 && !positions
                            ? Tensor()
                            : tensors.random("position_table", dtype, {s.T + s.B, s.C});
    const Tensor y = tensors.output("y", dtype, {s.B, s.T, s.C});
    // The rows that are looked up once, and the sums.
    tensors.set_traffic((distinct(ids) + s.T + s.B * s.T) * s.C * dtype_bytes(dtype));
    return [=, &backend = tensors.backend()] {
      backend.embedding_forward(y, tokens, places, table, rows);
    };
  };
  return each;
}

OpCase embedding_backward_case(DType dtype, const EmbeddingShape& s, bool positions) {
  OpCase each = embedding_case("embedding_backward", dtype, s, positions);
  each.prepare = [=](OpTensors& tensors) {
    const std::vector<int32_t> ids = token_ids(s);
    const Tensor tokens = tensors.integers("tokens", {s.B, s.T}, ids);
    const Tensor places = positions_of(tensors, s, positions);
    const Tensor dy = tensors.random("dy", dtype, {s.B, s.T, s.C});
    const auto gradient = [&](const char* name, int64_t rows) {
      return tensors.changed(tensors.random(name, DType::f32, {rows, s.C}));
    };
    // One of the two tables may be left out.
    const Tensor dtable = s.T == 4 ? Tensor() : gradient("dtoken_table", s.vocab);
    const Tensor drows = s.T == 5 ? Tensor() : gradient("dposition_table", s.T + s.B);
    // The gradient once, and the rows of both tables that it touches, read and written.
    tensors.set_traffic(s.B * s.T * s.C * dtype_bytes(dtype) + (distinct(ids) + s.T) * s.C * 2 * 4);
    return [=, &backend = tensors.backend()] {
      backend.embedding_backward(dtable, drows, dy, tokens, places);
    };
  };
  return each;
}

// --- Layer normalization

enum class Sum { apart, in_place };

OpCase layernorm_forward_case(DType dtype, int64_t rows, int64_t C, bool bias, bool keep) {
  OpCase each{"layernorm_forward",
              dtype,
              fmt::format("{}{}{}", sizes_text({rows, C}), bias ? "" : ", no bias",
                          keep ? "" : ", inference"),
              {},
              tolerance_of(dtype)};
  each.prepare = [=](OpTensors& tensors) {
    const Tensor x = tensors.random("x", dtype, {rows, C}, 2, 0.5);
    const Tensor weight = tensors.random("weight", dtype, {C}, 0.3, 1);
    const Tensor shift = bias ? tensors.random("bias", dtype, {C}) : Tensor();
    const Tensor y = tensors.output("y", dtype, {rows, C});
    const Tensor mean = keep ? tensors.output("mean", DType::f32, {rows}) : Tensor();
    const Tensor rstd = keep ? tensors.output("rstd", DType::f32, {rows}) : Tensor();
    return [=, &backend = tensors.backend()] {
      backend.layernorm_forward(y, mean, rstd, x, weight, shift, kEpsilon);
    };
  };
  return each;
}

OpCase residual_layernorm_case(DType dtype, int64_t rows, int64_t C, bool bias, Sum place) {
  OpCase each{"residual_layernorm_forward",
              dtype,
              fmt::format("{}{}{}", sizes_text({rows, C}), bias ? "" : ", no bias",
                          place == Sum::in_place ? ", in place" : ""),
              {},
              tolerance_of(dtype)};
  each.prepare = [=](OpTensors& tensors) {
    const Tensor a = tensors.random("a", dtype, {rows, C}, 2, 0.5);
    const Tensor b = tensors.random("b", dtype, {rows, C});
    const Tensor weight = tensors.random("weight", dtype, {C}, 0.3, 1);
    const Tensor shift = bias ? tensors.random("bias", dtype, {C}) : Tensor();
    const Tensor y = tensors.output("y", dtype, {rows, C});
    const Tensor mean = tensors.output("mean", DType::f32, {rows});
    const Tensor rstd = tensors.output("rstd", DType::f32, {rows});
    const Tensor sum =
        place == Sum::in_place ? tensors.changed(a) : tensors.output("sum", dtype, {rows, C});
    return [=, &backend = tensors.backend()] {
      backend.residual_layernorm_forward(sum, y, mean, rstd, a, b, weight, shift, kEpsilon);
    };
  };
  return each;
}

struct Statistics {
  Tensor mean, rstd;
};

// Computed here, in double: the backward pass is checked alone.
Statistics statistics_of(OpTensors& tensors, const Tensor& x, int64_t rows, int64_t C) {
  if (tensors.reference() == nullptr) {
    return {tensors.random("mean", DType::f32, {rows}, 0.1),
            tensors.random("rstd", DType::f32, {rows}, 0.1, 1)};
  }
  const std::vector<float> values = tensors.values(x);
  std::vector<float> mean, rstd;
  for (int64_t row = 0; row < rows; ++row) {
    const auto at = std::span(values).subspan(static_cast<size_t>(row * C), static_cast<size_t>(C));
    double sum = 0, squares = 0;
    for (const float value : at) sum += value;
    const double average = sum / static_cast<double>(C);
    for (const float value : at) squares += (value - average) * (value - average);
    mean.push_back(static_cast<float>(average));
    rstd.push_back(static_cast<float>(1 / std::sqrt(squares / static_cast<double>(C) + kEpsilon)));
  }
  return {tensors.input("mean", DType::f32, {rows}, mean),
          tensors.input("rstd", DType::f32, {rows}, rstd)};
}

// What a backward pass is asked for.
struct Gradients {
  const char* text;
  bool dx = true, parameters = true, dx_sum = true, accumulate = false, in_place = false;
};
constexpr Gradients kAll{""}, kAccumulated{", accumulate", true, true, true, true},
    kInPlace{", in place", true, true, true, false, true},
    kWithoutSum{", no dx_sum", true, true, false},
    kOnlyInput{", dx only", true, false, false, true},
    kOnlyParameters{", dweight and dbias only", false, true, false};

OpCase layernorm_backward_case(DType dtype, int64_t rows, int64_t C, const Gradients& wanted) {
  OpCase each{
      "layernorm_backward", dtype, sizes_text({rows, C}) + wanted.text, {}, tolerance_of(dtype)};
  // One channel: what is left is rounding, times rstd, which is 316.
  if (C == 1) each.tolerance.noise = 300;
  each.prepare = [=](OpTensors& tensors) {
    const Tensor x = tensors.random("x", dtype, {rows, C}, 2, 0.5);
    const auto [mean, rstd] = statistics_of(tensors, x, rows, C);
    const Tensor dy = tensors.random("dy", dtype, {rows, C});
    const Tensor weight = tensors.random("weight", dtype, {C}, 0.3, 1);
    const Tensor dx = !wanted.dx          ? Tensor()
                      : wanted.in_place   ? tensors.changed(dy)
                      : wanted.accumulate ? tensors.changed(tensors.random("dx", dtype, {rows, C}))
                                          : tensors.output("dx", dtype, {rows, C});
    const auto gradient = [&](const char* name, bool given) {
      return given ? tensors.changed(tensors.random(name, DType::f32, {C})) : Tensor();
    };
    const Tensor dweight = gradient("dweight", wanted.parameters);
    const Tensor dbias = gradient("dbias", wanted.parameters);
    const Tensor dx_sum = gradient("dx_sum", wanted.dx_sum);
    return [=, &backend = tensors.backend(), mean = mean, rstd = rstd] {
      backend.layernorm_backward(dx, dweight, dbias, dx_sum, dy, x, mean, rstd, weight,
                                 wanted.accumulate);
    };
  };
  // The sums are of the rounded dx, and a dx of another backend may round to neighbours.
  if (wanted.dx_sum && dtype == DType::bf16) each.tolerance.f32 = kBf16Bounds;
  return each;
}

void add_layernorm_cases(OpCases& cases, DType dtype, int64_t rows, int64_t C, bool large) {
  const size_t before = cases.size();
  cases.push_back(layernorm_forward_case(dtype, rows, C, true, true));
  cases.push_back(layernorm_forward_case(dtype, rows, C, false, false));
  cases.push_back(residual_layernorm_case(dtype, rows, C, true, Sum::apart));
  cases.push_back(residual_layernorm_case(dtype, rows, C, false, Sum::in_place));
  for (const Gradients& wanted :
       {kAll, kAccumulated, kInPlace, kWithoutSum, kOnlyInput, kOnlyParameters}) {
    cases.push_back(layernorm_backward_case(dtype, rows, C, wanted));
  }
  for (size_t i = before; i < cases.size(); ++i) cases[i].large = large;
}

// --- Dropout

OpCase dropout_case(DType dtype, const Shape& shape, float rate, bool in_place) {
  OpCase each{"dropout",
              dtype,
              fmt::format("{}, rate {}{}", sizes_text(shape), rate, in_place ? ", in place" : ""),
              {},
              tolerance_of(dtype)};
  each.large = element_count(shape) > 50'000;
  each.prepare = [=](OpTensors& tensors) {
    const Tensor x = tensors.random("x", dtype, shape);
    const Tensor y = in_place ? tensors.changed(x) : tensors.output("y", dtype, shape);
    std::vector<int64_t> ids;
    for (int64_t b = 0; b < shape[0]; ++b) ids.push_back(100 + 7 * b + (b % 2 << 35));
    Dropout dropout{rate, tensors.seed(), 5, tensors.integers64("ids", {shape[0]}, ids)};
    return [=, &backend = tensors.backend()] { backend.dropout(y, x, dropout); };
  };
  return each;
}

constexpr EmbeddingShape kEmbeddings[] = {
    {1, 1, 1, 1},     {1, 5, 7, 3},      {3, 4, 17, 11},     {2, 31, 33, 5},
    {4, 32, 64, 129}, {12, 63, 127, 65}, {2, 64, 768, 5003}, {1, 129, 1600, 1009}};
// Rows and channels.
constexpr int64_t kNorms[][2] = {{1, 1},    {1, 7},    {3, 8},     {5, 15},    {17, 16},
                                 {33, 17},  {70, 31},  {129, 63},  {301, 128}, {9, 255},
                                 {31, 513}, {90, 768}, {40, 1600}, {257, 768}};
const Shape kDropped[] = {{1, 1},    {1, 7},    {3, 5},       {2, 4},       {2, 31, 33},
                          {5, 1023}, {4, 1024}, {3, 129, 64}, {2, 64, 768}, {3, 17, 1601}};

}  // namespace

OpCases layer_cases() {
  OpCases cases;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const EmbeddingShape& shape : kEmbeddings) {
      for (const bool positions : {false, true}) {
        cases.push_back(embedding_forward_case(dtype, shape, positions));
        cases.push_back(embedding_backward_case(dtype, shape, positions));
      }
    }
    for (const auto& [rows, C] : kNorms) add_layernorm_cases(cases, dtype, rows, C, C > 600);
    for (const Shape& shape : kDropped) {
      cases.push_back(dropout_case(dtype, shape, 0.1f, false));
      cases.push_back(dropout_case(dtype, shape, 0.5f, true));
    }
    cases.push_back(dropout_case(dtype, {2, 100}, 0, false));
  }
  return cases;
}

OpCases layer_benchmarks(const OpSizes& sizes, DType dtype) {
  const int64_t rows = sizes.rows, C = sizes.channels, B = rows / sizes.length;
  const EmbeddingShape embedding{B, sizes.length, C, sizes.vocab};
  return {embedding_forward_case(dtype, embedding, false),
          embedding_backward_case(dtype, embedding, false),
          layernorm_forward_case(dtype, rows, C, true, true),
          layernorm_backward_case(dtype, rows, C, kAccumulated),
          residual_layernorm_case(dtype, rows, C, true, Sum::apart),
          dropout_case(dtype, {B, sizes.length, C}, 0.1f, false)};
}

}  // namespace llm
