#include <cmath>

#include "support/op_check.h"

namespace llm::test {
namespace {

// The scalars of an update on a backend.
struct Scalars {
  explicit Scalars(Workbench& bench, double learning_rate = 1e-2, int32_t updates = 0,
                   int32_t apply = 1) {
    const std::vector<int32_t> count = {updates}, flag = {apply};
    state.learning_rate = bench.scalar("learning_rate", learning_rate);
    state.gradient_norm = bench.changed(bench.scalar("gradient_norm", -1));
    state.gradient_scale = bench.changed(bench.scalar("gradient_scale", 1));
    state.apply = bench.changed(bench.integers("apply", {1}, flag));
    state.updates = bench.changed(bench.integers("updates", {1}, count));
  }
  UpdateState state;
};

struct OptimizerCase {
  int64_t count;
  bool low;
  int32_t updates;
  int32_t apply = 1;
  std::string name() const { return fmt::format("{} low {} t {}", count, low, updates); }
};

std::vector<OptimizerCase> optimizer_grid() {
  std::vector<OptimizerCase> cases;
  for (int64_t count : {1, 7, 63, 64, 65, 1000, 4096, 50021}) {
    cases.push_back({count, false, 1});
    cases.push_back({count, true, 1000});
  }
  return cases;
}

Results run_adamw(Backend& backend, const OptimizerCase& each) {
  Workbench bench(backend, each.name());
  const Shape shape{each.count};
  const int64_t chunks = (each.count + kParameterAlignment - 1) / kParameterAlignment;
  std::vector<double> decay;  // with, without, frozen
  for (int64_t i = 0; i < chunks; ++i) decay.push_back(i % 3 == 0 ? 0.1 : i % 3 == 1 ? 0 : -1);
  std::vector<double> second = random_values(each.name(), "v", each.count, 1e-3);
  for (double& value : second) value = std::abs(value);
  Scalars scalars(bench, 1e-2, each.updates, each.apply);
  const Tensor params = bench.changed(bench.random("params", DType::f32, shape));
  const Tensor low = each.low ? bench.changed(bench.random("low", DType::bf16, shape)) : Tensor();
  const Tensor m = bench.changed(bench.random("m", DType::f32, shape, 0.1));
  const Tensor v = bench.changed(bench.input("v", DType::f32, shape, second));
  backend.adamw_update(params, low, m, v, bench.random("grads", DType::f32, shape),
                       bench.input("decay", DType::f32, {chunks}, decay), scalars.state,
                       AdamWOptions{});
  return bench.finish();
}

Bounds adamw_bounds(const OptimizerCase&) { return {1e-3, 6e-3, 1e-6, 5e-3}; }

TEST(AdamW, AsThePlainLoops) {
  for (const OptimizerCase& each : optimizer_grid()) {
    const Results expected = run_adamw(plain_backend(), each);
    for (const BackendUnderTest& tested : backends_under_test()) {
      const Results actual = run_adamw(*tested.backend, each);
      for (size_t i = 0; i < actual.size(); ++i) {
        // The bf16 copy may round to a neighbour; everything else is f32.
        const Bounds bounds =
            expected[i].name == "low" ? adamw_bounds(each) : Bounds{3e-7, 1e-6, 3e-8, 1e-6};
        expect_close(tested.name + " " + each.name() + " " + expected[i].name, actual[i].values,
                     expected[i].values, 64, bounds);
      }
      for (int i = 1; i < kRepeats; ++i) {
        expect_same_bits(each.name(), run_adamw(*tested.backend, each), actual);
      }
    }
  }
}

TEST(AdamW, GoldenSequenceOfSteps) {
  const Golden golden("ops_adamw", "five_steps");
  const Shape shape = golden.shape("params");
  for (const auto& [label, backend] : all_backends()) {
    Workbench bench(*backend, "golden");
    const std::vector<double> zeros(golden.values("params").size());
    const Tensor params = bench.changed(golden.input(bench, "params"));
    const Tensor m = bench.changed(bench.input("m", DType::f32, shape, zeros));
    const Tensor v = bench.changed(bench.input("v", DType::f32, shape, zeros));
    const Tensor decay = golden.input(bench, "decay");
    Scalars scalars(bench);
    UpdateState& state = scalars.state;
    for (int step = 0; step < 5; ++step) {
      const std::string number = std::to_string(step);
      const Tensor gradient = golden.input(bench, "gradient" + number);
      state.learning_rate = golden.input(bench, "rate" + number);
      const Tensor squared = bench.changed(bench.scalar("squared" + number, 0));
      backend->squared_norm(squared, gradient);
      backend->prepare_update(state, squared, bench.scalar("loss", 2), bench.scalar("limit", 3),
                              1.0f);
      backend->adamw_update(params, {}, m, v, gradient, decay, state, AdamWOptions{});
      std::vector<float> host(zeros.size());
      backend->copy_to_host(host.data(), params);
      const std::vector<double> now(host.begin(), host.end());
      expect_close(label + " step " + number, now, golden.values("params" + number), 100,
                   {2e-7, 2e-7, 1e-7, 2e-6});
      float norm = 0;
      backend->copy_to_host(&norm, state.gradient_norm);
      EXPECT_NEAR(norm / golden.number("norm" + number), 1, 3e-7) << label;
    }
    const Results results = bench.finish();
    golden.expect(label, results, "m", {1e-6, 1e-6, 1e-8, 1e-6});
    golden.expect(label, results, "v", {1e-6, 1e-6, 1e-12, 2e-6});
    EXPECT_EQ(result_named(results, "updates").values[0], 5) << label;
  }
}

TEST(AdamW, AClosedGateChangesNotOneBit) {
  for (const auto& [label, backend] : all_backends()) {
    Workbench bench(*backend, "gate");
    std::vector<double> gradient = random_values("gate", "grads", 200);
    gradient[17] = NAN;
    gradient[90] = INFINITY;
    // Inputs that are not declared as changed must come back as they were: finish() checks it.
    Scalars scalars(bench, 1e-2, 3, 0);
    const std::vector<double> decay = {0.1, 0, -1, 0.1};
    backend->adamw_update(
        bench.random("params", DType::f32, {200}), bench.random("low", DType::bf16, {200}),
        bench.random("m", DType::f32, {200}), bench.random("v", DType::f32, {200}),
        bench.input("grads", DType::f32, {200}, gradient),
        bench.input("decay", DType::f32, {4}, decay), scalars.state, AdamWOptions{});
    const Results results = bench.finish();
    EXPECT_EQ(result_named(results, "updates").values[0], 3) << label;
    EXPECT_EQ(result_named(results, "apply").values[0], 0) << label;
  }
}

TEST(AdamW, FrozenChunksKeepEveryBit) {
  for (const auto& [label, backend] : all_backends()) {
    Workbench bench(*backend, "frozen");
    const std::vector<double> decay = {-1, -1};
    Scalars scalars(bench, 1e-2, 1, 1);
    backend->adamw_update(
        bench.random("params", DType::f32, {100}), bench.random("low", DType::bf16, {100}),
        bench.random("m", DType::f32, {100}), bench.random("v", DType::f32, {100}),
        bench.random("grads", DType::f32, {100}), bench.input("decay", DType::f32, {2}, decay),
        scalars.state, AdamWOptions{});
    bench.finish();
  }
}

TEST(SquaredNorm, AddsTheSumOfSquares) {
  for (int64_t count : {1, 15, 16, 17, 16383, 16385, 300007}) {
    const std::string seed = fmt::format("squares {}", count);
    const auto values = random_values(seed, "x", count, 3);
    const double expected = 0.5 + dot(values, values);
    double first = 0;
    for (const auto& [label, backend] : all_backends()) {
      for (int i = 0; i < 3; ++i) {
        Workbench bench(*backend, seed);
        const Tensor out = bench.changed(bench.scalar("out", 0.5));
        backend->squared_norm(out, bench.random("x", DType::f32, {count}, 3));
        const double sum = bench.finish()[0].values[0];
        EXPECT_NEAR(sum / expected, 1, 1e-7) << label;
        if (first == 0) first = sum;
        EXPECT_EQ(sum, first) << label;  // f64 inside: the same float on every backend and thread
      }
    }
  }
}

struct Preparation {
  double squared, loss, limit;
  float max_norm;
  // expected
  double norm, scale;
  bool apply;
};

TEST(PrepareUpdate, ClipsAndGates) {
  constexpr double inf = INFINITY, nan = NAN;
  const Preparation cases[] = {
      {4, 1, inf, 1, 2, 0.5, true},      // clipped
      {4, 1, inf, 0, 2, 1, true},        // no clipping asked for
      {4, 1, inf, 3, 2, 1, true},        // below the limit
      {0, 1, inf, 1, 0, 1, true},        // no gradient at all
      {4, 5, 5, 1, 2, 0.5, true},        // loss at its limit
      {4, 5.5, 5, 1, 2, 0.5, false},     // a spike
      {4, nan, inf, 1, 2, 0.5, false},   // NaN loss
      {4, inf, inf, 1, 2, 0.5, false},   // infinite loss
      {4, -inf, inf, 1, 2, 0.5, false},  //
      {inf, 1, inf, 1, inf, -1, false},  // infinite norm
      {nan, 1, inf, 1, nan, -1, false},  // NaN norm
      {4, 1, nan, 1, 2, 0.5, false},     // no limit to compare with
  };
  for (const auto& [label, backend] : all_backends()) {
    for (const Preparation& each : cases) {
      Workbench bench(*backend, "prepare");
      Scalars scalars(bench, 1e-2, 7, 5);
      backend->prepare_update(scalars.state, bench.scalar("squared", each.squared),
                              bench.scalar("loss", each.loss), bench.scalar("limit", each.limit),
                              each.max_norm);
      const Results results = bench.finish();
      const std::string what =
          fmt::format("{} squared {} loss {} limit {}", label, each.squared, each.loss, each.limit);
      const double norm = result_named(results, "gradient_norm").values[0];
      EXPECT_TRUE(norm == each.norm || (std::isnan(norm) && std::isnan(each.norm))) << what;
      if (each.scale >= 0) {
        EXPECT_EQ(result_named(results, "gradient_scale").values[0], each.scale) << what;
      }
      EXPECT_EQ(result_named(results, "apply").values[0], each.apply) << what;
      EXPECT_EQ(result_named(results, "updates").values[0], 7 + each.apply) << what;
    }
  }
}

TEST(PrepareUpdate, TheNormOfABadGradientClosesTheGate) {
  for (const auto& [label, backend] : all_backends()) {
    for (double bad : {static_cast<double>(NAN), static_cast<double>(-INFINITY), 3e38}) {
      Workbench bench(*backend, "bad gradient");
      std::vector<double> gradient = random_values("bad gradient", "grads", 5000);
      gradient[4999] = bad;
      Scalars scalars(bench);
      const Tensor squared = bench.changed(bench.scalar("squared", 0));
      backend->squared_norm(squared, bench.input("grads", DType::f32, {5000}, gradient));
      backend->prepare_update(scalars.state, squared, bench.scalar("loss", 1),
                              bench.scalar("limit", INFINITY), 1);
      EXPECT_EQ(result_named(bench.finish(), "apply").values[0], 0) << label << " " << bad;
    }
  }
}

}  // namespace
}  // namespace llm::test
