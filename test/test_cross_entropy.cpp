#include <cmath>

#include "support/op_check.h"

namespace llm::test {
namespace {

struct CrossEntropyCase {
  int64_t rows, vocab, padded;
  DType dtype;
  double deviation;  // of the logits
  std::string name() const {
    return fmt::format("{} rows {} vocabulary {} of {} deviation {}", dtype_name(dtype), rows,
                       vocab, padded, deviation);
  }
};

std::vector<CrossEntropyCase> cross_entropy_grid() {
  std::vector<CrossEntropyCase> cases;
  const int64_t shapes[][3] = {{1, 1, 1},   {1, 2, 16},     {3, 7, 7},       {5, 31, 32},
                               {4, 33, 48}, {17, 128, 128}, {3, 1025, 1040}, {2, 50257, 50272}};
  for (const auto& [rows, vocab, padded] : shapes) {
    cases.push_back({rows, vocab, padded, DType::f32, 1});
    // A single row whose target has all the probability has a gradient of nothing but rounding.
    if (rows > 1) cases.push_back({rows, vocab, padded, DType::f32, 30});
    cases.push_back({rows, vocab, padded, DType::bf16, 3});
  }
  return cases;
}

Bounds cross_entropy_bounds(const CrossEntropyCase& each) {
  return each.dtype == DType::f32 ? Bounds{2e-6, 4e-6, 1e-6, 4e-6} : kBf16Bounds;
}
int repeats_of(const CrossEntropyCase& each) { return each.padded > 2000 ? 3 : kRepeats; }

Tensor targets_of(Workbench& bench, const CrossEntropyCase& each) {
  std::vector<int32_t> targets;
  for (int64_t row = 0; row < each.rows; ++row) {
    targets.push_back(
        row % 4 == 2 ? -100 : static_cast<int32_t>((row * 31 + each.vocab - 1) % each.vocab));
  }
  return bench.integers("targets", {each.rows}, targets);
}

// Padded columns hold a large number, which must not be seen.
Tensor logits_of(Workbench& bench, const CrossEntropyCase& each) {
  std::vector<double> values =
      random_values(each.name(), "logits", each.rows * each.padded, each.deviation);
  for (int64_t i = 0; i < each.rows * each.padded; ++i) {
    if (i % each.padded >= each.vocab) values[static_cast<size_t>(i)] = 1e30;
  }
  return bench.input("logits", each.dtype, {each.rows, each.padded}, values);
}

Results run_separate(Backend& backend, const CrossEntropyCase& each) {
  Workbench bench(backend, each.name());
  const Tensor logits = logits_of(bench, each), targets = targets_of(bench, each);
  const Tensor scale = bench.scalar("scale", 0.125);
  backend.cross_entropy_forward(bench.output("losses", DType::f32, {each.rows}), logits, targets,
                                each.vocab);
  backend.cross_entropy_backward(bench.output("dlogits", each.dtype, {each.rows, each.padded}),
                                 logits, targets, each.vocab, scale);
  return bench.finish();
}

Results run_in_place(Backend& backend, const CrossEntropyCase& each) {
  Workbench bench(backend, each.name());
  const Tensor logits = bench.changed(logits_of(bench, each)), targets = targets_of(bench, each);
  backend.cross_entropy_backward(logits, logits, targets, each.vocab, bench.scalar("scale", 0.125));
  return bench.finish();
}

Results run_fused(Backend& backend, const CrossEntropyCase& each) {
  Workbench bench(backend, each.name());
  const Tensor logits = bench.changed(logits_of(bench, each)), targets = targets_of(bench, each);
  backend.cross_entropy_forward_backward(bench.output("losses", DType::f32, {each.rows}), logits,
                                         targets, each.vocab, bench.scalar("scale", 0.125));
  return bench.finish();
}

TEST(CrossEntropy, GoldenValues) {
  const Golden golden("ops_cross_entropy", "ignored_and_padded");
  const auto vocab = static_cast<int64_t>(golden.number("vocab"));
  const Bounds bounds{1e-6, 1e-6, 2e-7, 1e-6};
  for (const auto& [label, backend] : all_backends()) {
    Workbench bench(*backend, "golden");
    const Tensor logits = golden.input(bench, "logits");
    const Tensor targets = golden.integer_input(bench, "targets");
    const Shape rows = golden.shape("losses");
    backend->cross_entropy_forward(bench.output("losses", DType::f32, rows), logits, targets,
                                   vocab);
    backend->cross_entropy_backward(bench.output("dlogits", DType::f32, golden.shape("logits")),
                                    logits, targets, vocab, golden.input(bench, "gradient_scale"));
    const Results results = bench.finish();
    golden.expect(label, results, "losses", bounds);
    golden.expect(label, results, "dlogits", bounds);
    const std::vector<double>& dlogits = result_named(results, "dlogits").values;
    for (size_t i = 0; i < dlogits.size(); ++i) {
      // Row 1 is ignored; columns from the vocabulary on are padding.
      if (i / 16 == 1 || i % 16 >= 13) {
        EXPECT_EQ(dlogits[i], 0) << label << " " << i;
      }
    }
  }
}

TEST(CrossEntropy, AsThePlainLoops) {
  for (const CrossEntropyCase& each : cross_entropy_grid()) {
    const std::vector<CrossEntropyCase> one = {each};
    check_cases<CrossEntropyCase>(one, run_separate, cross_entropy_bounds, repeats_of(each));
    check_cases<CrossEntropyCase>(one, run_in_place, cross_entropy_bounds, repeats_of(each));
    check_cases<CrossEntropyCase>(one, run_fused, cross_entropy_bounds, repeats_of(each));
  }
}

TEST(CrossEntropy, BackwardAgainstCentralDifferences) {
  const CrossEntropyCase each{3, 7, 7, DType::f32, 2};
  const auto logits = random_values(each.name(), "logits", 21, 2);
  const auto loss = [&](std::span<const double> x) {
    double total = 0;
    for (size_t row : {0, 1}) {  // the target of row 2 is -100
      double sum = 0;
      for (size_t v = 0; v < 7; ++v) sum += std::exp(x[row * 7 + v]);
      total += std::log(sum) - x[row * 7 + (row * 31 + 6) % 7];
    }
    return 0.125 * total;
  };
  const auto expected = central_differences(logits, loss);
  for (const auto& [label, backend] : all_backends()) {
    const Results results = run_separate(*backend, each);
    expect_close(label, result_named(results, "dlogits").values, expected, 7,
                 {2e-6, 4e-6, 1e-7, 5e-6});
  }
}

TEST(CrossEntropy, ANotANumberReachesTheLoss) {
  for (const auto& [label, backend] : all_backends()) {
    for (double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
      Workbench bench(*backend, "nan");
      std::vector<double> values = random_values("nan", "logits", 40);
      values[5] = bad;
      const std::vector<int32_t> targets = {0, 1};
      const Tensor logits = bench.changed(bench.input("logits", DType::f32, {2, 20}, values));
      backend->cross_entropy_forward_backward(bench.output("losses", DType::f32, {2}), logits,
                                              bench.integers("targets", {2}, targets), 20,
                                              bench.scalar("scale", 1));
      const Results results = bench.finish();
      const std::vector<double>& losses = result_named(results, "losses").values;
      EXPECT_FALSE(std::isfinite(losses[0])) << label;
      EXPECT_TRUE(std::isfinite(losses[1])) << label;
    }
  }
}

TEST(CrossEntropyDeathTest, RefusesTargetsBeyondTheVocabulary) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Workbench bench(plain_backend(), "beyond");
  const std::vector<int32_t> targets = {5};
  const Tensor logits = bench.random("logits", DType::f32, {1, 8});
  const Tensor losses = bench.output("losses", DType::f32, {1});
  const Tensor ids = bench.integers("targets", {1}, targets);
  EXPECT_DEATH(bench.backend().cross_entropy_forward(losses, logits, ids, 5), "target 5 of 5");
}

}  // namespace
}  // namespace llm::test
