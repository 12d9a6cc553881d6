#include <cmath>

#include "backend/dropout_mask.h"
#include "support/op_check.h"

namespace llm::test {
namespace {

struct DropoutCase {
  int64_t samples, elements;
  float rate;
  DType dtype;
  bool in_place;
  std::string name() const {
    return fmt::format("{} {}x{} rate {}{}", dtype_name(dtype), samples, elements, rate,
                       in_place ? " in place" : "");
  }
};

std::vector<DropoutCase> dropout_grid() {
  std::vector<DropoutCase> cases;
  const std::pair<int64_t, int64_t> shapes[] = {{1, 1},  {1, 7},    {3, 31},
                                                {2, 33}, {5, 1023}, {9, 4099}};
  for (const auto& [samples, elements] : shapes) {
    cases.push_back({samples, elements, 0.1f, DType::f32, false});
    cases.push_back({samples, elements, 0.5f, DType::f32, true});
    cases.push_back({samples, elements, 0.2f, DType::bf16, false});
    cases.push_back({samples, elements, 0.0f, DType::f32, false});
  }
  return cases;
}

Results run(Backend& backend, const DropoutCase& each) {
  Workbench bench(backend, each.name());
  const Shape shape{each.samples, each.elements};
  std::vector<int64_t> ids;
  for (int64_t b = 0; b < each.samples; ++b) ids.push_back(1000 + 37 * b);
  Dropout dropout;
  dropout.rate = each.rate;
  dropout.seed = 42;
  dropout.site = 17;
  dropout.sample_ids = bench.integers64("ids", {each.samples}, ids);
  const Tensor x = bench.random("x", each.dtype, shape);
  const Tensor y = each.in_place ? bench.changed(x) : bench.output("y", each.dtype, shape);
  backend.dropout(y, x, dropout);
  return bench.finish();
}

// Ones through dropout of a (samples, elements) tensor.
std::vector<double> mask_of(Backend& backend, std::vector<int64_t> ids, int64_t elements,
                            uint64_t seed, uint32_t site, float rate) {
  Workbench bench(backend, "mask");
  const auto samples = static_cast<int64_t>(ids.size());
  const std::vector<double> ones(static_cast<size_t>(samples * elements), 1.0);
  Dropout dropout;
  dropout.rate = rate;
  dropout.seed = seed;
  dropout.site = site;
  dropout.sample_ids = bench.integers64("ids", {samples}, ids);
  const Tensor x = bench.input("x", DType::f32, {samples, elements}, ones);
  backend.dropout(bench.output("y", DType::f32, {samples, elements}), x, dropout);
  return bench.finish()[0].values;
}

TEST(Dropout, AsThePlainLoopsToTheBit) {
  check_cases<DropoutCase>(dropout_grid(), run, [](const DropoutCase&) {
    return Bounds{0, 0, 1e-30, 0};
  });
}

TEST(Dropout, FollowsTheDefinitionOfTheMask) {
  for (const auto& [label, backend] : all_backends()) {
    const auto mask = mask_of(*backend, {5, 9}, 50, 7, 3, 0.3f);
    for (uint64_t e = 0; e < 100; ++e) {
      const uint64_t stream = dropout_stream(3, e < 50 ? 5 : 9);
      const bool kept = dropout_keeps(7, stream, e % 50, dropout_threshold(0.3f));
      EXPECT_EQ(mask[e], kept ? 1.0f / (1.0f - 0.3f) : 0) << label << " " << e;
    }
  }
}

TEST(Dropout, KeepsTheExpectedShare) {
  for (const auto& [label, backend] : all_backends()) {
    for (float rate : {0.1f, 0.5f, 0.9f}) {
      const int64_t count = 40000;
      const auto mask = mask_of(*backend, {1}, count, 11, 2, rate);
      const auto dropped = static_cast<double>(std::count(mask.begin(), mask.end(), 0.0));
      const double deviation = std::sqrt(count * rate * (1.0 - rate));
      EXPECT_LT(std::abs(dropped - count * rate), 4 * deviation) << label << " " << rate;
      // Neighbours are independent.
      double both = 0;
      for (size_t i = 1; i < mask.size(); ++i) both += mask[i] == 0 && mask[i - 1] == 0;
      const double expected = count * static_cast<double>(rate) * rate;
      EXPECT_LT(std::abs(both - expected), 6 * std::sqrt(expected)) << label << " " << rate;
    }
  }
}

TEST(Dropout, TheBatchSplitDoesNotShow) {
  for (const auto& [label, backend] : all_backends()) {
    const auto whole = mask_of(*backend, {10, 11, 12, 13}, 77, 42, 5, 0.4f);
    auto first = mask_of(*backend, {10, 11}, 77, 42, 5, 0.4f);
    const auto second = mask_of(*backend, {12, 13}, 77, 42, 5, 0.4f);
    first.insert(first.end(), second.begin(), second.end());
    EXPECT_EQ(whole, first) << label;
  }
}

TEST(Dropout, SeedsSitesAndSamplesDiffer) {
  for (const auto& [label, backend] : all_backends()) {
    const auto mask = mask_of(*backend, {1}, 256, 42, 5, 0.5f);
    EXPECT_NE(mask, mask_of(*backend, {2}, 256, 42, 5, 0.5f)) << label;
    EXPECT_NE(mask, mask_of(*backend, {1}, 256, 43, 5, 0.5f)) << label;
    EXPECT_NE(mask, mask_of(*backend, {1}, 256, 42, 6, 0.5f)) << label;
  }
}

}  // namespace
}  // namespace llm::test
