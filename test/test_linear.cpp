#include <algorithm>
#include <cmath>

#include "support/op_check.h"

namespace llm::test {
namespace {

struct LinearCase {
  int64_t rows, in, out;
  DType dtype;
  bool bias, accumulate;
  std::string name() const {
    return fmt::format("{} {}x{}x{}{}{}", dtype_name(dtype), rows, in, out, bias ? " bias" : "",
                       accumulate ? " accumulate" : "");
  }
};

std::vector<LinearCase> linear_grid() {
  std::vector<LinearCase> cases;
  const int64_t shapes[][3] = {
      {1, 1, 1},    {1, 7, 3},    {2, 16, 5},   {3, 17, 31},   {4, 33, 8},    {5, 64, 47},
      {7, 13, 49},  {47, 19, 11}, {49, 48, 96}, {97, 128, 65}, {1, 768, 130}, {64, 128, 384},
      {8, 40, 333}, {9, 31, 17},  {16, 65, 34}, {17, 100, 50}, {63, 96, 51},  {65, 96, 193}};
  for (const auto& [rows, in, out] : shapes) {
    for (DType dtype : {DType::f32, DType::bf16}) {
      cases.push_back({rows, in, out, dtype, true, false});
      cases.push_back({rows, in, out, dtype, false, true});
    }
  }
  return cases;
}

Bounds linear_bounds(const LinearCase& each) {
  // The rounding error of an f32 sum of n terms of size 1 grows like n (measured: 5e-8 n at worst).
  const double absolute = 1e-7 * static_cast<double>(std::max({each.rows, each.in, each.out}));
  return each.dtype == DType::f32 ? Bounds{1e-6, 2e-6, 1e-6 + absolute, 2e-6}
                                  : Bounds{1e-3, 6e-3, 1e-4, 8e-3};
}

// In bf16 a GPU may round in other places than the plain loops: the product before a bias or what
// is there is added, or the GELU's argument not at all. That is an error of 2^-8 of numbers of size
// sqrt(n), and 1.05e-5 in the mean square (3e-6 per rounding; see cuda/linear.h). Few results have
// no mean.
Bounds linear_gpu_bounds(const LinearCase& each) {
  if (each.dtype == DType::f32) return gpu_bounds(linear_bounds(each));
  const double size = std::sqrt(static_cast<double>(std::max({each.rows, each.in, each.out})));
  const bool few = each.rows * each.out < 64 || each.rows * each.in < 64;
  const double mean = few ? INFINITY : 4.5e-3;
  return {mean, few ? INFINITY : 0.03, 0.012 * size, 0.016};
}

Results linear_forward(Backend& backend, const LinearCase& each) {
  Workbench bench(backend, each.name());
  const Tensor x = bench.random("x", each.dtype, {each.rows, each.in});
  Weight weight;
  weight.data = bench.random("weight", each.dtype, {each.out, each.in});
  const Tensor bias = each.bias ? bench.random("bias", each.dtype, {each.out}) : Tensor();
  backend.linear_forward(bench.output("y", each.dtype, {each.rows, each.out}), x, weight, bias);
  return bench.finish();
}

Results run_gelu_forward(Backend& backend, const LinearCase& each) {
  Workbench bench(backend, each.name());
  const Tensor x = bench.random("x", each.dtype, {each.rows, each.in});
  Weight weight;
  weight.data = bench.random("weight", each.dtype, {each.out, each.in});
  const Tensor bias = each.bias ? bench.random("bias", each.dtype, {each.out}) : Tensor();
  const Shape shape{each.rows, each.out};
  backend.linear_gelu_forward(bench.output("y", each.dtype, shape),
                              bench.output("pre", each.dtype, shape), x, weight, bias);
  backend.linear_gelu_forward(bench.output("y of inference", each.dtype, shape), {}, x, weight,
                              bias);
  return bench.finish();
}

Results linear_backward(Backend& backend, const LinearCase& each) {
  Workbench bench(backend, each.name());
  const Shape in_shape{each.rows, each.in};
  const Tensor x = bench.random("x", each.dtype, in_shape);
  const Tensor dy = bench.random("dy", each.dtype, {each.rows, each.out});
  Weight weight;
  weight.data = bench.random("weight", each.dtype, {each.out, each.in});
  const Tensor dx = each.accumulate ? bench.changed(bench.random("dx", each.dtype, in_shape))
                                    : bench.output("dx", each.dtype, in_shape);
  const Tensor dweight = bench.changed(bench.random("dweight", DType::f32, {each.out, each.in}));
  Tensor dbias;
  if (each.bias) dbias = bench.changed(bench.random("dbias", DType::f32, {each.out}));
  backend.linear_backward(dx, dweight, dbias, dy, x, weight, each.accumulate);
  return bench.finish();
}

TEST(Linear, GoldenValues) {
  const Bounds bounds{1e-6, 2e-6, 2e-6, 2e-6};
  for (const std::string& name : golden_cases("ops_linear")) {
    const Golden golden("ops_linear", name);
    for (const auto& [label, backend] : all_backends()) {
      Workbench bench(*backend, name);
      const Tensor x = golden.input(bench, "x"), bias = golden.input(bench, "bias");
      const Tensor dy = golden.input(bench, "dy");
      Weight weight;
      weight.data = golden.input(bench, "weight");
      const Shape& out_shape = golden.shape("y");
      backend->linear_forward(bench.output("y", DType::f32, out_shape), x, weight, bias);
      backend->linear_gelu_forward(bench.output("gelu", DType::f32, out_shape), {}, x, weight,
                                   bias);
      const auto zeros = [&](const char* tensor, const char* like) {
        const std::vector<double> none(golden.values(like).size());
        return bench.changed(bench.input(tensor, DType::f32, golden.shape(like), none));
      };
      backend->linear_backward(bench.output("dx", DType::f32, golden.shape("x")),
                               zeros("dweight", "weight"), zeros("dbias", "bias"), dy, x, weight,
                               false);
      const Results results = bench.finish();
      for (const char* tensor : {"y", "gelu", "dx", "dweight", "dbias"}) {
        golden.expect(label + " " + name, results, tensor, bounds);
      }
    }
  }
}

TEST(Linear, ForwardAsThePlainLoops) {
  check_cases<LinearCase>(linear_grid(), linear_forward, linear_bounds, kRepeats,
                          linear_gpu_bounds);
}
TEST(Linear, BackwardAsThePlainLoops) {
  check_cases<LinearCase>(linear_grid(), linear_backward, linear_bounds, kRepeats,
                          linear_gpu_bounds);
}
TEST(Linear, FusedGeluAsThePlainLoops) {
  check_cases<LinearCase>(linear_grid(), run_gelu_forward, linear_bounds, kRepeats,
                          linear_gpu_bounds);
}

TEST(Linear, AModelsOwnShapes) {
  const std::vector<LinearCase> cases = {{256, 768, 768, DType::f32, true, false},
                                         {96, 128, 512, DType::f32, true, false}};
  check_cases<LinearCase>(cases, linear_forward, linear_bounds, 3);
  check_cases<LinearCase>(cases, linear_backward, linear_bounds, 3);
}

// Rows that are decoded together, in batches of any size up to the one that takes another body.
TEST(Linear, ARowOnTheCpuDoesNotDependOnTheOthers) {
  for (const auto& [label, backend] : all_backends()) {
    if (label == kGpuLabel) continue;
    for (DType dtype : {DType::f32, DType::bf16}) {
      const int64_t most = 64, in = 200, out = 777;  // 621 KB of weight: several threads
      Workbench bench(*backend, label);
      const Tensor x = bench.random("x", dtype, {most, in});
      Weight weight;
      weight.data = bench.random("weight", dtype, {out, in});
      const Tensor bias = bench.random("bias", dtype, {out});
      for (int64_t rows : {64, 1, 2, 3, 5, 7, 8, 16, 33}) {
        for (const char* op : {"linear", "gelu"}) {
          const Tensor y = bench.output(fmt::format("{} {}", op, rows), dtype, {rows, out});
          const Tensor last = x.slice(0, most - rows, rows);
          if (*op == 'l') {
            backend->linear_forward(y, last, weight, bias);
          } else {
            backend->linear_gelu_forward(y, {}, last, weight, bias);
          }
        }
      }
      const Results results = bench.finish();
      for (size_t i = 2; i < results.size(); ++i) {
        const std::vector<double>&all = results[i % 2].values, &some = results[i].values;
        EXPECT_TRUE(std::equal(some.rbegin(), some.rend(), all.rbegin()))
            << label << " " << results[i].name << " rows, " << dtype_name(dtype);
      }
    }
  }
}

// The fused op is defined as the product and then the GELU of what was stored.
TEST(Linear, FusedGeluIsTheComposition) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const LinearCase each{11, 20, 37, dtype, true, false};
    for (const auto& [label, backend] : all_backends()) {
      if (label == kGpuLabel) continue;  // its epilogue rounds elsewhere
      const Results fused = run_gelu_forward(*backend, each);
      Workbench bench(*backend, "composition");
      const std::vector<double>& pre = result_named(fused, "pre").values;
      backend->gelu_forward(bench.output("y", dtype, {11, 37}),
                            bench.input("pre", dtype, {11, 37}, pre));
      EXPECT_EQ(bench.finish()[0].values, result_named(fused, "y").values) << label;
      EXPECT_EQ(result_named(fused, "y of inference").values, result_named(fused, "y").values);
      EXPECT_EQ(linear_forward(*backend, each)[0].values, pre) << label;
    }
  }
}

TEST(Linear, EachGradientAlone) {
  const LinearCase each{10, 12, 14, DType::f32, true, false};
  for (const auto& [label, backend] : all_backends()) {
    const Results whole = linear_backward(*backend, each);
    for (const std::string only : {"dx", "dweight", "dbias"}) {
      Workbench bench(*backend, each.name());
      Weight weight;
      weight.data = bench.random("weight", DType::f32, {14, 12});
      const Tensor x = bench.random("x", DType::f32, {10, 12});
      const Tensor dy = bench.random("dy", DType::f32, {10, 14});
      Tensor dx, dweight, dbias;
      if (only == "dx") dx = bench.output("dx", DType::f32, {10, 12});
      if (only == "dweight") {
        dweight = bench.changed(bench.random("dweight", DType::f32, {14, 12}));
      }
      if (only == "dbias") dbias = bench.changed(bench.random("dbias", DType::f32, {14}));
      backend->linear_backward(dx, dweight, dbias, dy, x, weight, false);
      const Result& wanted = result_named(whole, only);
      const Results alone = bench.finish();
      if (label == kGpuLabel) {  // may take another algorithm
        expect_close(label, alone[0].values, wanted.values, wanted.columns, linear_bounds(each));
      } else {
        EXPECT_EQ(alone[0].values, wanted.values) << label << " " << only;
      }
    }
  }
}

TEST(Linear, BackwardAgainstCentralDifferences) {
  const LinearCase each{3, 4, 5, DType::f32, true, false};
  const auto values = [&](const char* name, int64_t count) {
    return random_values(each.name(), name, count);
  };
  const auto x = values("x", 12), weight = values("weight", 20), dy = values("dy", 15);
  const auto bias = values("bias", 5);
  const auto loss = [&](std::span<const double> a, std::span<const double> w,
                        std::span<const double> b) {
    double sum = 0;
    for (size_t row = 0; row < 3; ++row) {
      for (size_t o = 0; o < 5; ++o) {
        sum += dy[row * 5 + o] * (b[o] + dot(a.subspan(row * 4, 4), w.subspan(o * 4, 4)));
      }
    }
    return sum;
  };
  const auto dx = central_differences(x, [&](auto v) { return loss(v, weight, bias); });
  auto dweight = central_differences(weight, [&](auto v) { return loss(x, v, bias); });
  auto dbias = central_differences(bias, [&](auto v) { return loss(x, weight, v); });
  const auto old_weight = values("dweight", 20), old_bias = values("dbias", 5);
  for (size_t i = 0; i < 20; ++i) dweight[i] += old_weight[i];
  for (size_t i = 0; i < 5; ++i) dbias[i] += old_bias[i];
  for (const auto& [label, backend] : all_backends()) {
    const Results results = linear_backward(*backend, each);
    expect_close(label, result_named(results, "dx").values, dx, 4, kF32Bounds);
    expect_close(label, result_named(results, "dweight").values, dweight, 4, kF32Bounds);
    expect_close(label, result_named(results, "dbias").values, dbias, 5, kF32Bounds);
  }
}

}  // namespace
}  // namespace llm::test
