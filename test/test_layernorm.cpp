#include <cmath>

#include "support/op_check.h"

namespace llm::test {
namespace {

constexpr float kEpsilon = 1e-5f;

struct LayernormCase {
  int64_t rows, channels;
  DType dtype;
  bool bias, accumulate;
  std::string name() const {
    return fmt::format("{} rows {} channels {}{}{}", dtype_name(dtype), rows, channels,
                       bias ? " bias" : "", accumulate ? " accumulate" : "");
  }
};

std::vector<LayernormCase> layernorm_grid() {
  std::vector<LayernormCase> cases;
  for (const auto& [rows, channels] : {std::pair<int64_t, int64_t>{1, 1},
                                       {1, 7},
                                       {3, 8},
                                       {5, 15},
                                       {17, 16},
                                       {33, 17},
                                       {70, 31},
                                       {301, 128},
                                       {90, 768}}) {
    for (DType dtype : {DType::f32, DType::bf16}) {
      cases.push_back({rows, channels, dtype, true, false});
      cases.push_back({rows, channels, dtype, rows % 2 == 0, true});
    }
  }
  return cases;
}

Bounds layernorm_bounds(const LayernormCase& each) {
  // One channel: every x - mean and every gradient is 0, so that there are no relative errors.
  if (each.channels == 1) return {INFINITY, INFINITY, 1e-4, 1e-5};
  return each.dtype == DType::f32 ? Bounds{2e-6, 2e-5, 2e-5, 2e-5} : kBf16Bounds;
}

Results layernorm_forward(Backend& backend, const LayernormCase& each) {
  Workbench bench(backend, each.name());
  const Shape shape{each.rows, each.channels}, row{each.channels};
  const Tensor x = bench.random("x", each.dtype, shape, 2, 0.5);
  const Tensor weight = bench.random("weight", each.dtype, row, 0.3, 1);
  const Tensor bias = each.bias ? bench.random("bias", each.dtype, row) : Tensor();
  const Tensor y = bench.output("y", each.dtype, shape);
  const Tensor mean = bench.output("mean", DType::f32, {each.rows});
  const Tensor rstd = bench.output("rstd", DType::f32, {each.rows});
  backend.layernorm_forward(y, mean, rstd, x, weight, bias, kEpsilon);
  // Without anything kept for a backward pass.
  const Tensor again = bench.output("y of inference", each.dtype, shape);
  backend.layernorm_forward(again, {}, {}, x, weight, bias, kEpsilon);
  return bench.finish();
}

Results run_residual(Backend& backend, const LayernormCase& each) {
  Workbench bench(backend, each.name());
  const Shape shape{each.rows, each.channels}, row{each.channels};
  Tensor a = bench.random("a", each.dtype, shape, 2, 0.5);
  const Tensor b = bench.random("b", each.dtype, shape);
  const Tensor weight = bench.random("weight", each.dtype, row, 0.3, 1);
  const Tensor bias = each.bias ? bench.random("bias", each.dtype, row) : Tensor();
  const Tensor y = bench.output("y", each.dtype, shape);
  const Tensor mean = bench.output("mean", DType::f32, {each.rows});
  const Tensor rstd = bench.output("rstd", DType::f32, {each.rows});
  // In one case the sum replaces a.
  const Tensor sum = each.accumulate ? bench.changed(a) : bench.output("sum", each.dtype, shape);
  backend.residual_layernorm_forward(sum, y, mean, rstd, a, b, weight, bias, kEpsilon);
  return bench.finish();
}

// Mean and rstd are inputs of the backward pass: computed here, in double.
void statistics(std::span<const double> x, int64_t channels, std::vector<double>& mean,
                std::vector<double>& rstd) {
  for (size_t at = 0; at < x.size(); at += static_cast<size_t>(channels)) {
    const auto row = x.subspan(at, static_cast<size_t>(channels));
    double sum = 0, squares = 0;
    for (double value : row) sum += value;
    const double average = sum / static_cast<double>(channels);
    for (double value : row) squares += (value - average) * (value - average);
    mean.push_back(average);
    rstd.push_back(1 / std::sqrt(squares / static_cast<double>(channels) + kEpsilon));
  }
}

Results layernorm_backward(Backend& backend, const LayernormCase& each, bool in_place,
                           bool parameters) {
  Workbench bench(backend, each.name());
  const Shape shape{each.rows, each.channels}, row{each.channels};
  std::vector<double> x_values = random_values(each.name(), "x", each.rows * each.channels, 2, 0.5);
  std::vector<double> mean_values, rstd_values;
  statistics(x_values, each.channels, mean_values, rstd_values);
  const Tensor x = bench.input("x", each.dtype, shape, x_values);
  const Tensor weight = bench.random("weight", each.dtype, row, 0.3, 1);
  const Tensor dy = bench.random("dy", each.dtype, shape);
  const Tensor mean = bench.input("mean", DType::f32, {each.rows}, mean_values);
  const Tensor rstd = bench.input("rstd", DType::f32, {each.rows}, rstd_values);
  Tensor dx = in_place          ? bench.changed(dy)
              : each.accumulate ? bench.changed(bench.random("dx", each.dtype, shape))
                                : bench.output("dx", each.dtype, shape);
  Tensor dweight, dbias, dx_sum;
  // In half of the cases the column sums of dx too.
  if (each.rows % 2 == 1) dx_sum = bench.changed(bench.random("dx_sum", DType::f32, row));
  if (parameters) {
    dweight = bench.changed(bench.random("dweight", DType::f32, row));
    if (each.bias) dbias = bench.changed(bench.random("dbias", DType::f32, row));
  }
  backend.layernorm_backward(dx, dweight, dbias, dx_sum, dy, x, mean, rstd, weight,
                             each.accumulate);
  return bench.finish();
}

TEST(Layernorm, GoldenValues) {
  const Bounds bounds{1e-6, 2e-6, 2e-6, 2e-6};
  for (const std::string& name : golden_cases("ops_layernorm")) {
    const Golden golden("ops_layernorm", name);
    for (const auto& [label, backend] : all_backends()) {
      Workbench bench(*backend, name);
      const Tensor x = golden.input(bench, "x"), weight = golden.input(bench, "weight");
      const Tensor bias = golden.has("bias") ? golden.input(bench, "bias") : Tensor();
      const Tensor dy = golden.input(bench, "dy");
      const Tensor y = bench.output("y", DType::f32, golden.shape("x"));
      const Tensor mean = bench.output("mean", DType::f32, golden.shape("mean"));
      const Tensor rstd = bench.output("rstd", DType::f32, golden.shape("mean"));
      backend->layernorm_forward(y, mean, rstd, x, weight, bias, kEpsilon);
      const Tensor dx = bench.output("dx", DType::f32, golden.shape("x"));
      const std::vector<double> zeros(golden.values("weight").size());
      const Shape& row = golden.shape("weight");
      const Tensor dweight = bench.changed(bench.input("dweight", DType::f32, row, zeros));
      const Tensor dbias = bench.changed(bench.input("dbias", DType::f32, row, zeros));
      backend->layernorm_backward(dx, dweight, dbias, {}, dy, x, mean, rstd, weight, false);
      const Results results = bench.finish();
      for (const char* tensor : {"y", "mean", "rstd", "dx", "dweight", "dbias"}) {
        if (golden.has(tensor)) golden.expect(label + " " + name, results, tensor, bounds);
      }
    }
  }
}

TEST(Layernorm, ForwardAsThePlainLoops) {
  check_cases<LayernormCase>(layernorm_grid(), layernorm_forward, layernorm_bounds);
}

TEST(Layernorm, ResidualForwardAsThePlainLoops) {
  check_cases<LayernormCase>(layernorm_grid(), run_residual, layernorm_bounds);
}

// The fused op is defined as the sum and then the norm of what was stored.
TEST(Layernorm, FusedResidualIsTheComposition) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const LayernormCase each{11, 37, dtype, true, false};
    const Shape shape{11, 37};
    for (const auto& [label, backend] : all_backends()) {
      if (label == kGpuLabel) continue;  // compared within bounds
      const Results fused = run_residual(*backend, each);
      Workbench bench(*backend, each.name());
      const std::vector<double>& sum = result_named(fused, "sum").values;
      backend->add(bench.output("sum", dtype, shape), bench.random("a", dtype, shape, 2, 0.5),
                   bench.random("b", dtype, shape));
      backend->layernorm_forward(
          bench.output("y", dtype, shape), bench.output("mean", DType::f32, {11}),
          bench.output("rstd", DType::f32, {11}), bench.input("x", dtype, shape, sum),
          bench.random("weight", dtype, {37}, 0.3, 1), bench.random("bias", dtype, {37}), kEpsilon);
      const Results apart = bench.finish();
      for (const char* name : {"sum", "y", "mean", "rstd"}) {
        EXPECT_EQ(result_named(apart, name).values, result_named(fused, name).values)
            << label << " " << name << " " << dtype_name(dtype);
      }
    }
  }
}

TEST(Layernorm, BackwardAsThePlainLoops) {
  check_cases<LayernormCase>(
      layernorm_grid(),
      [](Backend& b, const LayernormCase& c) { return layernorm_backward(b, c, false, true); },
      layernorm_bounds);
}

TEST(Layernorm, BackwardWithoutParameters) {
  check_cases<LayernormCase>(
      layernorm_grid(),
      [](Backend& b, const LayernormCase& c) { return layernorm_backward(b, c, false, false); },
      layernorm_bounds, 2);
}

TEST(Layernorm, BackwardInPlace) {
  std::vector<LayernormCase> cases = layernorm_grid();
  std::erase_if(cases, [](const LayernormCase& each) { return each.accumulate; });
  check_cases<LayernormCase>(
      cases,
      [](Backend& b, const LayernormCase& c) { return layernorm_backward(b, c, true, true); },
      layernorm_bounds, 2);
}

TEST(Layernorm, OnlyTheGradientsOfTheParameters) {
  const LayernormCase each{9, 20, DType::f32, true, false};
  for (const auto& [label, backend] : all_backends()) {
    const Results whole = layernorm_backward(*backend, each, false, true);
    Workbench bench(*backend, each.name());
    std::vector<double> x_values = random_values(each.name(), "x", 180, 2, 0.5), mean, rstd;
    statistics(x_values, 20, mean, rstd);
    const Tensor dweight = bench.changed(bench.random("dweight", DType::f32, {20}));
    backend->layernorm_backward({}, dweight, {}, {}, bench.random("dy", DType::f32, {9, 20}),
                                bench.input("x", DType::f32, {9, 20}, x_values),
                                bench.input("mean", DType::f32, {9}, mean),
                                bench.input("rstd", DType::f32, {9}, rstd),
                                bench.random("weight", DType::f32, {20}, 0.3, 1), false);
    EXPECT_EQ(bench.finish()[0].values, result_named(whole, "dweight").values) << label;
  }
}

// Forward in double, straight from the definition.
double loss_of(std::span<const double> x, std::span<const double> weight,
               std::span<const double> bias, std::span<const double> dy) {
  std::vector<double> mean, rstd;
  const size_t channels = weight.size();
  statistics(x, static_cast<int64_t>(channels), mean, rstd);
  double loss = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t row = i / channels, c = i % channels;
    loss += dy[i] * ((x[i] - mean[row]) * rstd[row] * weight[c] + bias[c]);
  }
  return loss;
}

TEST(Layernorm, BackwardAgainstCentralDifferences) {
  const LayernormCase each{3, 10, DType::f32, true, false};
  const auto values = [&](const char* name, int64_t count, double deviation, double center) {
    return random_values(each.name(), name, count, deviation, center);
  };
  const auto x = values("x", 30, 2, 0.5), weight = values("weight", 10, 0.3, 1);
  const auto dy = values("dy", 30, 1, 0), bias = values("bias", 10, 1, 0);
  auto dweight = central_differences(weight, [&](auto w) { return loss_of(x, w, bias, dy); });
  auto dbias = central_differences(bias, [&](auto b) { return loss_of(x, weight, b, dy); });
  const auto dx = central_differences(x, [&](auto v) { return loss_of(v, weight, bias, dy); });
  // The op adds to what is there.
  const auto old_weight = values("dweight", 10, 1, 0), old_bias = values("dbias", 10, 1, 0);
  for (size_t c = 0; c < 10; ++c) dweight[c] += old_weight[c], dbias[c] += old_bias[c];
  const Bounds bounds{2e-6, 5e-6, 5e-6, 1e-5};
  for (const auto& [label, backend] : all_backends()) {
    const Results results = layernorm_backward(*backend, each, false, true);
    expect_close(label + " dx", result_named(results, "dx").values, dx, 10, bounds);
    expect_close(label + " dweight", result_named(results, "dweight").values, dweight, 10, bounds);
    expect_close(label + " dbias", result_named(results, "dbias").values, dbias, 10, bounds);
  }
}

TEST(Layernorm, NotANumberSpoilsItsRowOnly) {
  for (const auto& [label, backend] : all_backends()) {
    Workbench bench(*backend, "nan");
    std::vector<double> x = random_values("nan", "x", 40);
    x[13] = NAN;
    const std::vector<double> ones(20, 1.0);
    const Tensor y = bench.output("y", DType::f32, {2, 20});
    backend->layernorm_forward(y, {}, {}, bench.input("x", DType::f32, {2, 20}, x),
                               bench.input("weight", DType::f32, {20}, ones), {}, kEpsilon);
    const Results results = bench.finish();
    for (size_t i = 0; i < 40; ++i) {
      EXPECT_EQ(std::isnan(results[0].values[i]), i < 20) << label << " " << i;
    }
  }
}

}  // namespace
}  // namespace llm::test
