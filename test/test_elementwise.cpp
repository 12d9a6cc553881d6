#include <cmath>

#include "base/error.h"
#include "support/op_check.h"

namespace llm::test {
namespace {

constexpr int64_t kSizes[] = {1, 7, 8, 9, 1000, 50021};

TEST(Fill, EveryTypeAndSize) {
  for (const auto& [label, backend] : all_backends()) {
    for (int64_t count : kSizes) {
      for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8}) {
        Workbench bench(*backend, "fill");
        backend->fill(bench.output("y", dtype, {count}), 3);
        const Results results = bench.finish();
        for (double value : results[0].values) ASSERT_EQ(value, 3) << label;
      }
    }
    Workbench bench(*backend, "fill");
    backend->fill(bench.output("y", DType::f32, {5}), -INFINITY);
    EXPECT_EQ(bench.finish()[0].values[4], -INFINITY) << label;
  }
}

TEST(ConvertTypes, EveryPairOfFloatTypes) {
  const DType types[] = {DType::f32, DType::bf16, DType::f16};
  for (const auto& [label, backend] : all_backends()) {
    for (DType from : types) {
      for (DType to : types) {
        for (int64_t count : kSizes) {
          Workbench bench(*backend, "convert");
          const Tensor x = bench.changed(bench.random("x", from, {count}, 100));
          backend->convert(bench.output("y", to, {count}), x);
          const Results results = bench.finish();
          for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
            const auto value = static_cast<float>(results[0].values[i]);
            const double expected = to == DType::f32    ? value
                                    : to == DType::bf16 ? bf16_to_f32(f32_to_bf16(value))
                                                        : f16_to_f32(f32_to_f16(value));
            ASSERT_EQ(results[1].values[i], expected) << label;
          }
        }
      }
    }
  }
}

TEST(ConvertTypes, CopiesIntegers) {
  const std::vector<int32_t> numbers = {1, -2, 2147483647, -2147483647 - 1, 16777217};
  for (const auto& [label, backend] : all_backends()) {
    Workbench bench(*backend, "copy");
    backend->convert(bench.output("y", DType::i32, {5}), bench.integers("x", {5}, numbers));
    const std::vector<double> copy = bench.finish()[0].values;
    EXPECT_EQ(copy, std::vector<double>(numbers.begin(), numbers.end())) << label;
  }
}

TEST(Add, SumsRoundedOnce) {
  for (const auto& [label, backend] : all_backends()) {
    for (int64_t count : kSizes) {
      for (DType dtype : {DType::f32, DType::bf16}) {
        for (int in_place : {0, 1, 2}) {
          Workbench bench(*backend, fmt::format("add {}", count));
          const Tensor a = bench.random("a", dtype, {count}), b = bench.random("b", dtype, {count});
          const Tensor y = in_place == 1   ? bench.changed(a)
                           : in_place == 2 ? bench.changed(b)
                                           : bench.output("y", dtype, {count});
          backend->add(y, a, b);
          const std::vector<double> sums = bench.finish()[0].values;
          const auto round = [&](double value) {
            const auto single = static_cast<float>(value);
            return dtype == DType::f32 ? single : bf16_to_f32(f32_to_bf16(single));
          };
          const auto first = random_values(fmt::format("add {}", count), "a", count);
          const auto second = random_values(fmt::format("add {}", count), "b", count);
          for (size_t i = 0; i < sums.size(); ++i) {
            ASSERT_EQ(sums[i], round(round(first[i]) + round(second[i]))) << label;
          }
        }
      }
    }
  }
}

TEST(Scale, ByANumberOnTheDevice) {
  for (const auto& [label, backend] : all_backends()) {
    for (int64_t count : kSizes) {
      for (DType dtype : {DType::f32, DType::bf16}) {
        Workbench bench(*backend, "scale");
        const Tensor y = bench.changed(bench.random("y", dtype, {count}));
        backend->scale(y, bench.scalar("factor", 0.25));  // exact in both types
        const auto before = random_values("scale", "y", count);
        const std::vector<double> after = bench.finish()[0].values;
        for (size_t i = 0; i < after.size(); ++i) {
          const auto single = static_cast<float>(before[i]);
          const double held = dtype == DType::f32 ? single : bf16_to_f32(f32_to_bf16(single));
          ASSERT_EQ(after[i], held * 0.25) << label;
        }
      }
    }
  }
}

TEST(AccumulateSum, AddsTheScaledSum) {
  for (int64_t count : {1, 17, 16384, 16385, 300007}) {
    const std::string seed = fmt::format("sum {}", count);
    double expected = 2;
    for (double value : random_values(seed, "x", count, 1, 0.5)) expected += 0.125 * value;
    double first = 0;
    for (const auto& [label, backend] : all_backends()) {
      Workbench bench(*backend, seed);
      const Tensor out = bench.changed(bench.scalar("out", 2));
      backend->accumulate_sum(out, bench.random("x", DType::f32, {count}, 1, 0.5),
                              bench.scalar("factor", 0.125));
      const double sum = bench.finish()[0].values[0];
      EXPECT_NEAR(sum / expected, 1, 1e-7) << label;
      if (first == 0) first = sum;
      EXPECT_EQ(sum, first) << label;
    }
  }
}

TEST(Memory, IsAlignedAndCopiesBothWays) {
  for (const auto& [label, backend] : all_backends()) {
    for (int64_t bytes : {0, 1, 1000, 20 << 20}) {
      const auto memory = backend->allocate(bytes, "test");
      EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->data()) % 256, 0u) << label;
      EXPECT_EQ(memory->bytes(), bytes) << label;
    }
  }
}

TEST(Memory, RefusesWhatIsNotThere) {
  for (const auto& [label, backend] : all_backends()) {
    for (int64_t bytes : {backend->memory_available() * 2, int64_t{1} << 60}) {
      try {
        backend->allocate(bytes, "activations");
        ADD_FAILURE() << label << ": got " << bytes << " bytes";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::memory) << label;
        EXPECT_EQ(error.where(), "activations") << label;
        EXPECT_NE(error.problem().find(with_commas(bytes)), std::string::npos) << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace llm::test
