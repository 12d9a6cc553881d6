#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "cpu_ref/few_rows.h"

namespace llm::test {
namespace {

using cpu_ref::few_rows_bodies;
using cpu_ref::FewRows;
using cpu_ref::FewRowsBody;
using cpu_ref::StoredRows;

// Inputs of one product, the weight in both types.
struct Product {
  int64_t rows, in, out;
  std::vector<float> x, weight, bias;
  std::vector<uint16_t> rounded;

  Product(int64_t rows_, int64_t in_, int64_t out_) : rows(rows_), in(in_), out(out_) {
    const Random random(7, stream_id("few rows"));
    const auto fill = [&](std::vector<float>& values, int64_t count, uint64_t first) {
      for (int64_t i = 0; i < count; ++i) {
        values.push_back(static_cast<float>(random.normal(first + static_cast<uint64_t>(i))));
      }
    };
    fill(x, rows * in, 0);
    fill(weight, out * in, 1 << 20);
    fill(bias, out, 1 << 22);
    for (float value : weight) rounded.push_back(f32_to_bf16(value));
  }

  StoredRows stored(DType dtype) const {
    if (dtype == DType::f32) return {weight.data(), dtype};
    return {rounded.data(), dtype};
  }
  // Columns [begin, end) of rows [row, row + count); NaN elsewhere.
  std::vector<float> run(const FewRowsBody& body, DType dtype, bool with_bias, int64_t row,
                         int64_t count, int64_t begin, int64_t end) const {
    std::vector<float> y(static_cast<size_t>(count * out), NAN);
    body.run({y.data(), x.data() + row * in, stored(dtype), with_bias ? bias.data() : nullptr,
              count, in, out, begin, end});
    return y;
  }
  std::vector<float> run(const FewRowsBody& body, DType dtype) const {
    return run(body, dtype, true, 0, rows, 0, out);
  }
  // In double, and the sum of the sizes of its terms.
  std::pair<double, double> wanted(DType dtype, bool with_bias, int64_t row, int64_t column) const {
    double sum = with_bias ? bias[static_cast<size_t>(column)] : 0, size = std::abs(sum);
    for (int64_t c = 0; c < in; ++c) {
      const auto at = static_cast<size_t>(column * in + c);
      const double w = dtype == DType::f32 ? weight[at] : bf16_to_f32(rounded[at]);
      const double term = w * x[static_cast<size_t>(row * in + c)];
      sum += term;
      size += std::abs(term);
    }
    return {sum, size};
  }
};

constexpr int64_t kInputs[] = {1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 100, 257};

TEST(FewRows, EveryBodyIsTheProduct) {
  for (const FewRowsBody& body : few_rows_bodies()) {
    for (int64_t in : kInputs) {
      for (int64_t rows = 1; rows <= 17; ++rows) {
        const int64_t out = 1 + (rows * 5 + in) % 19;
        const Product product(rows, in, out);
        for (DType dtype : {DType::f32, DType::bf16}) {
          const bool with_bias = (rows + in) % 2 == 0;
          const std::vector<float> y = product.run(body, dtype, with_bias, 0, rows, 0, out);
          for (int64_t i = 0; i < rows * out; ++i) {
            const auto [sum, size] = product.wanted(dtype, with_bias, i / out, i % out);
            // A term goes through at most in / 32 + 6 additions, each with an error of 2^-24.
            const double bound = size * (static_cast<double>(in) / 32 + 8) * 6e-8;
            ASSERT_NEAR(y[static_cast<size_t>(i)], sum, bound)
                << body.name << " " << rows << "x" << in << "x" << out << " element " << i;
          }
        }
      }
    }
  }
}

TEST(FewRows, ARowDoesNotDependOnTheOthers) {
  for (const FewRowsBody& body : few_rows_bodies()) {
    for (int64_t in : kInputs) {
      const int64_t most = 17, out = 37;
      const Product product(most, in, out);
      for (DType dtype : {DType::f32, DType::bf16}) {
        const std::vector<float> all = product.run(body, dtype);
        for (int64_t count = 1; count < most; ++count) {
          const int64_t row = most - count;  // now at another place as well
          const auto y = product.run(body, dtype, true, row, count, 0, out);
          ASSERT_EQ(std::memcmp(y.data(), all.data() + row * out, y.size() * sizeof(float)), 0)
              << body.name << " " << count << " rows of " << in;
        }
      }
    }
  }
}

TEST(FewRows, OnlyTheColumnsAskedForAreWritten) {
  const Product product(5, 40, 50);
  for (const FewRowsBody& body : few_rows_bodies()) {
    const std::vector<float> all = product.run(body, DType::f32);
    for (const auto& [begin, end] :
         {std::pair<int64_t, int64_t>{0, 0}, {0, 1}, {3, 20}, {16, 32}, {17, 50}, {49, 50}}) {
      const std::vector<float> y = product.run(body, DType::f32, true, 0, 5, begin, end);
      for (int64_t i = 0; i < 250; ++i) {
        const auto at = static_cast<size_t>(i);
        if (i % 50 >= begin && i % 50 < end) {
          EXPECT_EQ(y[at], all[at]);
        } else {
          EXPECT_TRUE(std::isnan(y[at])) << body.name << " wrote column " << i % 50;
        }
      }
    }
  }
}

TEST(FewRows, Avx2AndAvx512GiveTheSameBits) {
  const auto& bodies = few_rows_bodies();
  if (bodies.size() < 3) GTEST_SKIP() << "this processor has not both";
  ASSERT_EQ(std::string(bodies[0].name) + bodies[1].name, "avx512avx2");
  for (int64_t in : kInputs) {
    const Product product(11, in, 29);
    for (DType dtype : {DType::f32, DType::bf16}) {
      EXPECT_EQ(product.run(bodies[0], dtype), product.run(bodies[1], dtype)) << in;
    }
  }
}

// A NaN or infinity must reach the result and nothing but its row.
TEST(FewRows, WhatIsNotFiniteStaysInItsRow) {
  for (const FewRowsBody& body : few_rows_bodies()) {
    Product product(9, 45, 5);
    const std::vector<float> before = product.run(body, DType::f32);
    product.x[3 * 45 + 44] = NAN;
    product.x[5 * 45 + 2] = INFINITY;
    const std::vector<float> y = product.run(body, DType::f32);
    for (size_t i = 0; i < y.size(); ++i) {
      if (i / 5 == 3 || i / 5 == 5) {
        EXPECT_FALSE(std::isfinite(y[i])) << body.name;
      } else {
        EXPECT_EQ(y[i], before[i]) << body.name;
      }
    }
  }
}

}  // namespace
}  // namespace llm::test
