// Cross-entropy and the sum of losses.
#include <fmt/format.h>

#include <algorithm>

#include "cli/op_cases.h"

namespace llm {
namespace {

constexpr int32_t kIgnoredTarget = -100;

struct LossShape {
  int64_t rows, vocab, padded;
  double deviation = 3;  // of the logits
  std::string text() const {
    std::string text = fmt::format("{} x {}", rows, vocab);
    if (padded != vocab) text += fmt::format(" of {}", padded);
    if (deviation > 10) text += ", steep";
    return text;
  }
};

struct Inputs {
  Tensor logits, targets;
};

// Padded columns hold a large number, which must not be seen; every fourth target is to be ignored.
Inputs inputs_of(OpTensors& tensors, DType dtype, const LossShape& s) {
  std::vector<int32_t> targets;
  for (int64_t row = 0; row < s.rows; ++row) {
    targets.push_back(row % 4 == 2 ? kIgnoredTarget
                                   : static_cast<int32_t>((row * 31 + s.vocab - 1) % s.vocab));
  }
  Inputs inputs;
  inputs.targets = tensors.integers("targets", {s.rows}, targets);
  inputs.logits = tensors.random("logits", dtype, {s.rows, s.padded}, s.deviation);
  if (tensors.reference() == nullptr) return inputs;
  std::vector<float> values = tensors.values(inputs.logits);
  for (size_t i = 0; i < values.size(); ++i) {
    if (static_cast<int64_t>(i) % s.padded >= s.vocab) values[i] = 1e30f;
  }
  inputs.logits = tensors.input("padded logits", dtype, {s.rows, s.padded}, values);
  return inputs;
}

OpCase loss_case(const char* op, DType dtype, const LossShape& s) {
  OpCase each{op, dtype, s.text(), {}, tolerance_of(dtype)};
  // A single row whose target has all the probability has a gradient of nothing but rounding.
  if (s.rows == 1) each.tolerance.noise = 1;
  each.large = s.rows * s.padded > 100'000;
  return each;
}

OpCase cross_entropy_forward_case(DType dtype, const LossShape& s) {
  OpCase each = loss_case("cross_entropy_forward", dtype, s);
  each.prepare = [=](OpTensors& tensors) {
    const auto [logits, targets] = inputs_of(tensors, dtype, s);
    const Tensor losses = tensors.output("losses", DType::f32, {s.rows});
    return [=, &backend = tensors.backend(), logits = logits, targets = targets] {
      backend.cross_entropy_forward(losses, logits, targets, s.vocab);
    };
  };
  return each;
}

OpCase cross_entropy_backward_case(DType dtype, const LossShape& s, bool in_place) {
  OpCase each = loss_case("cross_entropy_backward", dtype, s);
  if (in_place) each.shape += ", in place";
  each.prepare = [=](OpTensors& tensors) {
    const auto [logits, targets] = inputs_of(tensors, dtype, s);
    const Tensor scale = tensors.scalar("scale", 0.7);
    const Tensor dlogits =
        in_place ? tensors.changed(logits) : tensors.output("dlogits", dtype, {s.rows, s.padded});
    return [=, &backend = tensors.backend(), logits = logits, targets = targets] {
      backend.cross_entropy_backward(dlogits, logits, targets, s.vocab, scale);
    };
  };
  return each;
}

OpCase cross_entropy_case(DType dtype, const LossShape& s) {
  OpCase each = loss_case("cross_entropy_forward_backward", dtype, s);
  each.prepare = [=](OpTensors& tensors) {
    const auto [logits, targets] = inputs_of(tensors, dtype, s);
    const Tensor scale = tensors.scalar("scale", 0.7);
    tensors.changed(logits);
    const Tensor losses = tensors.output("losses", DType::f32, {s.rows});
    return [=, &backend = tensors.backend(), logits = logits, targets = targets] {
      backend.cross_entropy_forward_backward(losses, logits, targets, s.vocab, scale);
    };
  };
  return each;
}

OpCase accumulate_sum_case(int64_t count, bool factor) {
  OpCase each{"accumulate_sum",
              DType::f32,
              sizes_text({count}) + (factor ? "" : ", no factor"),
              {},
              kF32Tolerance};
  each.large = count > 100'000;
  each.prepare = [=](OpTensors& tensors) {
    const Tensor out = tensors.changed(tensors.scalar("out", 2));
    const Tensor x = tensors.random("x", DType::f32, {count}, 1, 0.5);
    const Tensor share = factor ? tensors.scalar("factor", 0.125) : Tensor();
    return [=, &backend = tensors.backend()] { backend.accumulate_sum(out, x, share); };
  };
  return each;
}

constexpr LossShape kLossShapes[] = {{1, 1, 1},           {1, 2, 16},        {3, 7, 7},
                                     {5, 31, 32},         {4, 33, 48},       {5, 33, 48, 30},
                                     {17, 128, 128},      {6, 257, 272},     {3, 1025, 1040},
                                     {9, 5003, 5120, 30}, {3, 50257, 50304}, {5, 50257, 50272, 30}};

}  // namespace

OpCases loss_cases() {
  OpCases cases;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const LossShape& shape : kLossShapes) {
      cases.push_back(cross_entropy_forward_case(dtype, shape));
      cases.push_back(cross_entropy_backward_case(dtype, shape, false));
      cases.push_back(cross_entropy_backward_case(dtype, shape, true));
      cases.push_back(cross_entropy_case(dtype, shape));
    }
  }
  for (const int64_t count : {1, 17, 255, 1025, 16'385, 300'007}) {
    cases.push_back(accumulate_sum_case(count, true));
    cases.push_back(accumulate_sum_case(count, false));
  }
  return cases;
}

OpCases loss_benchmarks(const OpSizes& sizes, DType dtype) {
  // The logits of all rows would not fit some devices.
  const LossShape shape{std::max<int64_t>(sizes.rows / 8, 1), sizes.vocab,
                        (sizes.vocab + 127) / 128 * 128};
  return {cross_entropy_forward_case(dtype, shape), cross_entropy_backward_case(dtype, shape, true),
          cross_entropy_case(dtype, shape), accumulate_sum_case(sizes.rows, true)};
}

}  // namespace llm
