#include <cmath>
#include <numbers>

#include "cpu_ref/gelu.h"
#include "cpu_ref/vector_math.h"
#include "support/op_check.h"

namespace llm::test {
namespace {

struct GeluCase {
  int64_t count;
  DType dtype;
  bool in_place;
  std::string name() const {
    return fmt::format("{} x {}{}", dtype_name(dtype), count, in_place ? " in place" : "");
  }
};

std::vector<GeluCase> gelu_grid() {
  std::vector<GeluCase> cases;
  for (int64_t count : {1, 7, 8, 9, 31, 1000, 50021}) {
    for (DType dtype : {DType::f32, DType::bf16}) {
      cases.push_back({count, dtype, false});
      cases.push_back({count, dtype, true});
    }
  }
  return cases;
}

Bounds gelu_bounds(const GeluCase& each) {
  return each.dtype == DType::f32 ? Bounds{1e-6, 1e-6, 1e-7, 2e-6} : kBf16Bounds;
}

Results gelu_forward(Backend& backend, const GeluCase& each) {
  Workbench bench(backend, each.name());
  const Tensor x = bench.random("x", each.dtype, {each.count}, 3);
  const Tensor y = each.in_place ? bench.changed(x) : bench.output("y", each.dtype, {each.count});
  backend.gelu_forward(y, x);
  return bench.finish();
}

Results gelu_backward(Backend& backend, const GeluCase& each) {
  Workbench bench(backend, each.name());
  const Tensor x = bench.random("x", each.dtype, {each.count}, 3);
  const Tensor dy = bench.random("dy", each.dtype, {each.count});
  const Tensor dx =
      each.in_place ? bench.changed(dy) : bench.output("dx", each.dtype, {each.count});
  backend.gelu_backward(dx, dy, x);
  return bench.finish();
}

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

TEST(Gelu, GoldenValues) {
  const Golden golden("ops_gelu", "tanh");
  const Bounds bounds{1e-6, 1e-6, 2e-7, 2e-6};
  for (const auto& [label, backend] : all_backends()) {
    Workbench bench(*backend, "golden");
    const Tensor x = golden.input(bench, "x"), dy = golden.input(bench, "dy");
    backend->gelu_forward(bench.output("y", DType::f32, golden.shape("x")), x);
    backend->gelu_backward(bench.output("dx", DType::f32, golden.shape("x")), dy, x);
    const Results results = bench.finish();
    golden.expect(label, results, "y", bounds);
    golden.expect(label, results, "dx", bounds);
  }
}

TEST(Gelu, ForwardAsThePlainLoops) {
  check_cases<GeluCase>(gelu_grid(), gelu_forward, gelu_bounds);
}
TEST(Gelu, BackwardAsThePlainLoops) {
  check_cases<GeluCase>(gelu_grid(), gelu_backward, gelu_bounds);
}

TEST(Gelu, BackwardAgainstCentralDifferences) {
  const GeluCase each{200, DType::f32, false};
  const auto x = random_values(each.name(), "x", each.count, 3);
  const auto dy = random_values(each.name(), "dy", each.count);
  std::vector<double> dx(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    dx[i] = dy[i] * (gelu(x[i] + 1e-5) - gelu(x[i] - 1e-5)) / 2e-5;
  }
  for (const auto& [label, backend] : all_backends()) {
    const Results results = gelu_backward(*backend, each);
    expect_close(label, results[0].values, dx, each.count, {1e-6, 1e-6, 5e-7, 5e-6});
  }
}

TEST(Gelu, ExtremesAndNotANumber) {
  const std::vector<double> x = {-INFINITY, -1e30, -50, -0.0, 0.0, 50, 1e4, INFINITY, NAN};
  for (const auto& [label, backend] : all_backends()) {
    Workbench bench(*backend, "extremes");
    const Shape shape{static_cast<int64_t>(x.size())};
    const Tensor in = bench.input("x", DType::f32, shape, x);
    backend->gelu_forward(bench.output("y", DType::f32, shape), in);
    const std::vector<double> y = bench.finish()[0].values;
    EXPECT_NEAR(y[2], 0, 1e-30) << label;
    EXPECT_EQ(y[3], 0) << label;
    EXPECT_EQ(y[4], 0) << label;
    EXPECT_EQ(y[5], 50) << label;
    EXPECT_EQ(y[6], 1e4) << label;
    EXPECT_EQ(y[7], INFINITY) << label;
    EXPECT_TRUE(std::isnan(y[8])) << label;
  }
}

// The exponential that all fast bodies share: its stated error over its whole range.
TEST(VectorMath, ExponentialIsWithinItsStatedError) {
  double worst = 0;
  for (double x = -87; x <= 88; x += 175.0 / 400000) {
    const auto single = static_cast<float>(x);
    const float result = cpu_ref::exp(cpu_ref::splat(single))[0];
    worst = std::max(worst, std::abs(result / std::exp(static_cast<double>(single)) - 1));
  }
  EXPECT_LT(worst, 1.2e-7);
  EXPECT_EQ(cpu_ref::exp(cpu_ref::splat(0))[3], 1);
  EXPECT_EQ(cpu_ref::exp(cpu_ref::splat(-88))[3], 0);
  EXPECT_EQ(cpu_ref::exp(cpu_ref::splat(-INFINITY))[3], 0);
  EXPECT_TRUE(std::isfinite(cpu_ref::exp(cpu_ref::splat(1000))[0]));
  EXPECT_TRUE(std::isnan(cpu_ref::exp(cpu_ref::splat(NAN))[7]));
}

}  // namespace
}  // namespace llm::test
