// Fills, conversions, sums, GELU.
#include <fmt/format.h>

#include "cli/op_cases.h"

namespace llm {
namespace {

// How a call places its tensors: apart, the output in the place of an input, or all of them as
// slices that begin at an odd element.
enum class Place { apart, first, second, slices };

std::string place_text(Place place) {
  switch (place) {
    case Place::apart:
      return "";
    case Place::first:
      return ", in place";
    case Place::second:
      return ", in place of the second";
    case Place::slices:
      return ", slices";
  }
  return "";
}

// The tensor itself, or one row more and the slice behind its first element.
Shape shape_at(const Shape& shape, Place place) {
  return place == Place::slices ? Shape{element_count(shape) + 1} : shape;
}
Tensor view_at(Tensor tensor, Place place) {
  return place == Place::slices ? tensor.slice(0, 1, tensor.dim(0) - 1) : tensor;
}

OpCase fill_case(DType dtype, const Shape& shape, Place place, double value) {
  OpCase each{"fill", dtype, sizes_text(shape) + place_text(place), {}, kExact};
  each.prepare = [=](OpTensors& tensors) {
    const Tensor y = view_at(tensors.output("y", dtype, shape_at(shape, place)), place);
    return [&backend = tensors.backend(), y, value] { backend.fill(y, value); };
  };
  return each;
}

OpCase convert_case(DType to, DType from, const Shape& shape, Place place) {
  OpCase each{"convert",
              from,
              fmt::format("{} to {}{}", sizes_text(shape), dtype_name(to), place_text(place)),
              {},
              kExact};
  each.prepare = [=](OpTensors& tensors) {
    const Shape whole = shape_at(shape, place);
    const std::vector<int32_t> integers(static_cast<size_t>(element_count(whole)), 0x7f123456);
    const Tensor x = from == DType::i32 ? tensors.integers("x", whole, integers)
                                        : tensors.random("x", from, whole, 100);
    const Tensor y = tensors.output("y", to, whole);
    return [&backend = tensors.backend(), y = view_at(y, place), x = view_at(x, place)] {
      backend.convert(y, x);
    };
  };
  return each;
}

OpCase add_case(DType dtype, const Shape& shape, Place place) {
  OpCase each{"add", dtype, sizes_text(shape) + place_text(place), {}, tolerance_of(dtype)};
  each.prepare = [=](OpTensors& tensors) {
    const Shape whole = shape_at(shape, place);
    const Tensor a = tensors.random("a", dtype, whole), b = tensors.random("b", dtype, whole, 3);
    const Tensor y = place == Place::first    ? tensors.changed(a)
                     : place == Place::second ? tensors.changed(b)
                                              : tensors.output("y", dtype, whole);
    return [&backend = tensors.backend(), y = view_at(y, place), a = view_at(a, place),
            b = view_at(b, place)] { backend.add(y, a, b); };
  };
  return each;
}

OpCase scale_case(DType dtype, const Shape& shape, Place place) {
  OpCase each{"scale", dtype, sizes_text(shape) + place_text(place), {}, tolerance_of(dtype)};
  each.prepare = [=](OpTensors& tensors) {
    const Tensor y = tensors.changed(tensors.random("y", dtype, shape_at(shape, place)));
    const Tensor factor = tensors.scalar("factor", -0.99);  // stays in range when repeated
    return
        [&backend = tensors.backend(), y = view_at(y, place), factor] { backend.scale(y, factor); };
  };
  return each;
}

OpCase gelu_forward_case(DType dtype, const Shape& shape, Place place) {
  OpCase each{
      "gelu_forward", dtype, sizes_text(shape) + place_text(place), {}, tolerance_of(dtype)};
  each.prepare = [=](OpTensors& tensors) {
    const Tensor x = tensors.random("x", dtype, shape, 2);
    const Tensor y = place == Place::first ? tensors.changed(x) : tensors.output("y", dtype, shape);
    return [&backend = tensors.backend(), y, x] { backend.gelu_forward(y, x); };
  };
  return each;
}

OpCase gelu_backward_case(DType dtype, const Shape& shape, Place place) {
  OpCase each{
      "gelu_backward", dtype, sizes_text(shape) + place_text(place), {}, tolerance_of(dtype)};
  each.prepare = [=](OpTensors& tensors) {
    const Tensor x = tensors.random("x", dtype, shape, 2);
    const Tensor dy = tensors.random("dy", dtype, shape);
    const Tensor dx =
        place == Place::first ? tensors.changed(dy) : tensors.output("dx", dtype, shape);
    return [&backend = tensors.backend(), dx, dy, x] { backend.gelu_backward(dx, dy, x); };
  };
  return each;
}

// Vectors of 16 bytes, a warp, a block, and one more and less of each.
const Shape kSizes[] = {{0, 8}, {1},   {1, 3}, {7},    {8},    {3, 3},    {31},
                        {33},   {255}, {257},  {1023}, {1025}, {41, 101}, {50, 999}};
const Shape kLargeSizes[] = {{64, 3072}, {129, 1600}};

void add_cases(OpCases& cases, DType dtype, const Shape& shape) {
  for (const Place place : {Place::apart, Place::slices}) {
    cases.push_back(fill_case(dtype, shape, place, -0.3));
    cases.push_back(scale_case(dtype, shape, place));
    for (const DType to : {DType::f32, DType::bf16, DType::f16}) {
      cases.push_back(convert_case(to, dtype, shape, place));
    }
  }
  for (const Place place : {Place::apart, Place::first, Place::second, Place::slices}) {
    cases.push_back(add_case(dtype, shape, place));
  }
  for (const Place place : {Place::apart, Place::first}) {
    cases.push_back(gelu_forward_case(dtype, shape, place));
    cases.push_back(gelu_backward_case(dtype, shape, place));
  }
}

}  // namespace

OpCases elementwise_cases() {
  OpCases cases;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Shape& shape : kSizes) add_cases(cases, dtype, shape);
    const size_t small = cases.size();
    for (const Shape& shape : kLargeSizes) add_cases(cases, dtype, shape);
    for (size_t i = small; i < cases.size(); ++i) cases[i].large = true;
  }
  for (const Shape& shape : {Shape{1}, Shape{17}, Shape{4099}}) {
    for (const DType dtype : {DType::f16, DType::i32, DType::i64, DType::u8}) {
      cases.push_back(fill_case(dtype, shape, Place::apart, 3));
    }
    for (const DType to : {DType::f32, DType::bf16, DType::f16}) {
      cases.push_back(convert_case(to, DType::f16, shape, Place::apart));
    }
    cases.push_back(convert_case(DType::i32, DType::i32, shape, Place::apart));
  }
  return cases;
}

OpCases elementwise_benchmarks(const OpSizes& sizes, DType dtype) {
  const Shape stream{sizes.rows, sizes.channels}, wide{sizes.rows, 4 * sizes.channels};
  const DType other = dtype == DType::f32 ? DType::bf16 : DType::f32;
  return {fill_case(dtype, stream, Place::apart, 0),
          convert_case(dtype, dtype, stream, Place::apart),
          convert_case(other, dtype, stream, Place::apart),
          add_case(dtype, stream, Place::apart),
          scale_case(dtype, stream, Place::apart),
          gelu_forward_case(dtype, wide, Place::apart),
          gelu_backward_case(dtype, wide, Place::apart)};
}

}  // namespace llm
