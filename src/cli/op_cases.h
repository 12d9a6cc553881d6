// Every op of backend.h as calls that can be checked and timed: `llm check` and the tests compare
// them with the plain CPU loops over a grid of shapes, `llm bench ops` times them at real sizes.
// A new op gets its cases in the op_cases_*.cpp of its kind.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "cli/op_tensors.h"

namespace llm {

// How far results may be from those of the plain loops.
struct OpBounds {
  double mean_square = 0;  // sum (a - b)^2 / sum b^2 over a tensor
  double worst_row = 0;  // the same per row, at least a hundredth of an average row in the divisor
  double absolute = 0,
         relative = 0;  // of each element: |a - b| <= absolute * rms(b) + relative |b|
};

// f32 arithmetic without TF32, in another order of sums.
inline constexpr OpBounds kF32Bounds{1e-10, 1e-9, 1e-4, 1e-4};
// f32 results of bf16 inputs: statistics, losses, gradients of parameters.
inline constexpr OpBounds kF32OfBf16Bounds{1e-8, 1e-7, 1e-3, 1e-3};
// Rounded to bf16 once or twice on the way: an error of 2^-9 each time.
inline constexpr OpBounds kBf16Bounds{1e-5, 5e-5, 0.02, 0.01};
// One rounding to bf16 is an error of up to 2^-8 of a number with the mantissa 1, of 2^-9 with 2,
// so 3e-6 in the mean square. Where a device rounds in another place than the plain loops (GELU of
// the sum before it is rounded; a product rounded before it is added to what is there), a result
// differs by both final roundings and by that of the middle times the slope, up to 1.5: 3e-6 * (2
// + 1.5). One number may differ by (1 + 1 + 1.5)^2 * 2^-16 = 2e-4 in the square, so a tensor of few
// numbers gets no closer bound than a row.
inline OpBounds bf16_elsewhere_bounds(int64_t elements) {
  return {elements < 1000 ? 1e-4 : 2e-5, 1e-4, 0.03, 0.015};
}
// The gradients of q and k are differences of larger numbers, and where a query sees few keys, of
// all but equal ones.
inline constexpr OpBounds kF32AttentionBackwardBounds{1e-10, 1e-7, 1e-3, 1e-4};
// In bf16 the probabilities and their gradients are rounded on the way too.
inline constexpr OpBounds kBf16AttentionBackwardBounds{1e-4, 1e-3, 0.1, 0.05};

struct OpTolerance {
  OpBounds f32, bf16;  // of results of this type; those of other types have to be exact
  // A tensor counts as at least this large: results that are the rounding of larger numbers which
  // cancel have no relative error.
  double noise = 0;
};
inline constexpr OpTolerance kExact{};
inline constexpr OpTolerance kF32Tolerance{kF32Bounds, kBf16Bounds};
inline constexpr OpTolerance kBf16Tolerance{kF32OfBf16Bounds, kBf16Bounds};
inline OpTolerance tolerance_of(DType dtype) {
  return dtype == DType::f32 ? kF32Tolerance : kBf16Tolerance;
}

struct OpCase {
  std::string op;     // as in backend.h
  DType dtype;        // of its activations
  std::string shape;  // "128 x 768, in place"
  // Makes the tensors of a call and returns the call.
  std::function<std::function<void()>(OpTensors&)> prepare;
  OpTolerance tolerance;
  double flops = 0;    // of matrix products; else memory is what counts
  bool large = false;  // a real size: costs the plain loops up to a second
};
using OpCases = std::vector<OpCase>;

// In the order of backend.h.
const std::vector<std::string>& op_names();
// The ops that are meant: all if none is given; "attention" is every op that begins like that.
// Throws Error{usage} with the list of names.
std::vector<std::string> select_ops(const std::vector<std::string>& given);

// The grid of shapes, f32 and bf16: 1, primes, one more and one less than a tile, and shapes of
// GPT-2. In the order of op_names().
OpCases op_cases();

// The sizes of a model to time at.
struct OpSizes {
  int64_t rows, channels, heads, length, vocab;
};
// Of each op at least one call.
OpCases op_benchmarks(const OpSizes& sizes, DType dtype);

// {1024, 768} -> "1024 x 768".
std::string sizes_text(const Shape& shape);

// The kinds of ops, each in its op_cases_*.cpp.
OpCases elementwise_cases();
OpCases row_cases();    // ops on the rows of a matrix
OpCases layer_cases();  // embedding, normalization, dropout
OpCases linear_cases();
OpCases attention_cases();
OpCases decode_cases();
OpCases transformer_cases();
OpCases sampling_cases();
OpCases loss_cases();
OpCases optimizer_cases();
OpCases elementwise_benchmarks(const OpSizes& sizes, DType dtype);
OpCases row_benchmarks(const OpSizes& sizes, DType dtype);
OpCases layer_benchmarks(const OpSizes& sizes, DType dtype);
OpCases linear_benchmarks(const OpSizes& sizes, DType dtype);
OpCases attention_benchmarks(const OpSizes& sizes, DType dtype);
OpCases decode_benchmarks(const OpSizes& sizes, DType dtype);
OpCases transformer_benchmarks(const OpSizes& sizes, DType dtype);
OpCases sampling_benchmarks(const OpSizes& sizes, DType dtype);
OpCases loss_benchmarks(const OpSizes& sizes, DType dtype);
OpCases optimizer_benchmarks(const OpSizes& sizes, DType dtype);

}  // namespace llm
