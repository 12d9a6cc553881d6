// What an optimizer step runs, all of it in f32.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "cli/op_cases.h"

namespace llm {
namespace {

struct Scalars {
  int32_t updates = 7, apply = 1;
  double learning_rate = 0.05, gradient_scale = 0.5;
};

UpdateState state_of(OpTensors& tensors, const Scalars& scalars) {
  UpdateState state;
  state.learning_rate = tensors.scalar("learning_rate", scalars.learning_rate);
  state.gradient_norm = tensors.scalar("gradient_norm", -1);
  state.gradient_scale = tensors.scalar("gradient_scale", scalars.gradient_scale);
  state.apply = tensors.integers("apply", {1}, std::span(&scalars.apply, 1));
  state.updates = tensors.integers("updates", {1}, std::span(&scalars.updates, 1));
  return state;
}

OpCase squared_norm_case(int64_t count) {
  OpCase each{"squared_norm", DType::f32, sizes_text({count}), {}, kF32Tolerance};
  each.large = count > 100'000;
  each.prepare = [=](OpTensors& tensors) {
    const Tensor out = tensors.changed(tensors.scalar("out", 0.5));
    const Tensor x = tensors.random("x", DType::f32, {count}, 3);
    return [=, &backend = tensors.backend()] { backend.squared_norm(out, x); };
  };
  return each;
}

struct Decision {
  double squared, loss, limit;
  float max_norm;
};

OpCase prepare_update_case(const Decision& decision) {
  OpCase each{"prepare_update",
              DType::f32,
              fmt::format("squared {}, loss {}, limit {}, clip {}", decision.squared, decision.loss,
                          decision.limit, decision.max_norm),
              {},
              kF32Tolerance};
  each.prepare = [=](OpTensors& tensors) {
    const UpdateState state = state_of(tensors, {});
    for (const Tensor& tensor :
         {state.gradient_norm, state.gradient_scale, state.apply, state.updates}) {
      tensors.changed(tensor);
    }
    const Tensor squared = tensors.scalar("squared", decision.squared);
    const Tensor loss = tensors.scalar("loss", decision.loss);
    const Tensor limit = tensors.scalar("limit", decision.limit);
    return [=, &backend = tensors.backend()] {
      backend.prepare_update(state, squared, loss, limit, decision.max_norm);
    };
  };
  return each;
}

OpCase adamw_case(int64_t count, bool low, int32_t updates, int32_t apply) {
  OpCase each{"adamw_update",
              DType::f32,
              fmt::format("{}, {}update {}{}", count, low ? "bf16 copy, " : "", updates,
                          apply ? "" : ", gate closed"),
              {},
              kF32Tolerance};
  each.large = count > 100'000;
  each.prepare = [=](OpTensors& tensors) {
    const UpdateState state = state_of(tensors, {updates, apply});
    const int64_t chunks = (count + kParameterAlignment - 1) / kParameterAlignment;
    std::vector<float> decay;  // with, without, frozen
    for (int64_t i = 0; i < chunks; ++i) {
      decay.push_back(i % 3 == 0 || tensors.reference() == nullptr ? 0.1f : i % 3 == 1 ? 0 : -1);
    }
    const Shape shape{count};
    const auto vector = [&](const char* name, double deviation, double center) {
      return tensors.changed(tensors.random(name, DType::f32, shape, deviation, center));
    };
    const Tensor params = vector("params", 0.2, 0), m = vector("m", 0.1, 0);
    const Tensor v = vector("v", 1e-4, 1e-3);  // not negative
    const Tensor copy = low ? tensors.changed(tensors.random("low", DType::bf16, shape)) : Tensor();
    const Tensor grads = tensors.random("grads", DType::f32, shape);
    const Tensor chunk_decay = tensors.input("chunk_decay", DType::f32, {chunks}, decay);
    return [=, &backend = tensors.backend()] {
      backend.adamw_update(params, copy, m, v, grads, chunk_decay, state, AdamWOptions{});
    };
  };
  return each;
}

}  // namespace

OpCases optimizer_cases() {
  constexpr double inf = std::numeric_limits<double>::infinity();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  OpCases cases;
  for (const int64_t count : {1, 7, 255, 1025, 16'383, 16'385, 300'007}) {
    cases.push_back(squared_norm_case(count));
  }
  const Decision decisions[] = {{4.5, 1, inf, 1},    // clipped
                                {4.5, 1, inf, 0},    // no clipping asked for
                                {4.5, 1, inf, 3},    // below the limit
                                {0, 1, inf, 1},      // no gradient at all
                                {4.5, 5, 5, 1},      // loss at its limit
                                {4.5, 5.5, 5, 1},    // a spike
                                {4.5, nan, inf, 1},  // losses and norms that are no numbers
                                {4.5, inf, inf, 1}, {4.5, -inf, inf, 1}, {inf, 1, inf, 0},
                                {nan, 1, inf, 0},   {4.5, 1, nan, 1}};
  for (const Decision& decision : decisions) cases.push_back(prepare_update_case(decision));
  for (const int64_t count : {1, 7, 63, 64, 65, 1000, 4096, 50'021, 768 * 3072}) {
    cases.push_back(adamw_case(count, false, 1, 1));
    cases.push_back(adamw_case(count, true, 1000, 1));
  }
  cases.push_back(adamw_case(1000, true, 3, 0));
  return cases;
}

OpCases optimizer_benchmarks(const OpSizes& sizes, DType dtype) {
  const int64_t parameters = 12 * sizes.channels * sizes.channels;  // of a layer
  return {squared_norm_case(parameters), prepare_update_case({4, 1, 5, 1}),
          adamw_case(parameters, dtype == DType::bf16, 7, 1)};
}

}  // namespace llm
