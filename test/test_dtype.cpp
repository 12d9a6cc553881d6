#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "backend/dtype.h"

namespace llm::test {
namespace {

TEST(DType, SizesAndNames) {
  EXPECT_EQ(dtype_bytes(DType::f32), 4);
  EXPECT_EQ(dtype_bytes(DType::bf16), 2);
  EXPECT_EQ(dtype_bytes(DType::f16), 2);
  EXPECT_EQ(dtype_bytes(DType::i32), 4);
  EXPECT_EQ(dtype_bytes(DType::i64), 8);
  EXPECT_EQ(dtype_bytes(DType::u8), 1);
  EXPECT_EQ(dtype_name(DType::bf16), "bf16");
  EXPECT_EQ(dtype_name(DType::i64), "i64");
}

TEST(DType, EveryBf16AndF16SurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float wide_bf16 = bf16_to_f32(half), wide_f16 = f16_to_f32(half);
    if (std::isnan(wide_bf16)) {
      EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(wide_bf16))));
    } else {
      EXPECT_EQ(f32_to_bf16(wide_bf16), half);
    }
    if (std::isnan(wide_f16)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(wide_f16))));
    } else {
      EXPECT_EQ(f32_to_f16(wide_f16), half);
    }
  }
}

TEST(DType, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(1.0f + 0x1p-8f)), 1.0f);                // a tie: down to even
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);  // a tie: up to even
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(1.0f + 0x1.02p-8f)), 1.0f + 0x1p-7f);
  EXPECT_EQ(f16_to_f32(f32_to_f16(1.0f + 0x1p-11f)), 1.0f);
  EXPECT_EQ(f16_to_f32(f32_to_f16(1.0f + 3 * 0x1p-11f)), 1.0f + 0x1p-9f);
  EXPECT_EQ(f16_to_f32(f32_to_f16(1.0f + 0x1.02p-11f)), 1.0f + 0x1p-10f);
}

// Against the definition, over floats of all sizes: no representable neighbour is nearer.
template <typename Widen, typename Round>
void expect_nearest(Widen widen, Round round) {
  for (uint32_t i = 0; i < 200000; ++i) {
    const float value = std::bit_cast<float>(i * 21479u);
    if (!std::isfinite(value) || value >= 65504.0f || value <= 0) continue;
    const uint16_t rounded = round(value);
    const double error = std::abs(static_cast<double>(widen(rounded)) - value);
    for (int step : {-1, 1}) {
      if (rounded == 0 && step < 0) continue;
      const float neighbour = widen(static_cast<uint16_t>(rounded + step));
      if (std::isfinite(neighbour)) {
        ASSERT_LE(error, std::abs(static_cast<double>(neighbour) - value)) << value;
      }
    }
  }
}

TEST(DType, NoNeighbourIsNearer) {
  expect_nearest(bf16_to_f32, f32_to_bf16);
  expect_nearest(f16_to_f32, f32_to_f16);
}

TEST(DType, ExtremesOfF16) {
  EXPECT_EQ(f32_to_f16(65504.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);  // rounds to 65536, which is infinity
  EXPECT_EQ(f32_to_f16(1e30f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e30f), 0xfc00);
  EXPECT_EQ(f32_to_f16(0x1p-24f), 1);  // the smallest subnormal
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);  // a tie: to even
  EXPECT_EQ(f32_to_f16(0x1.1p-25f), 1);
  EXPECT_EQ(f32_to_f16(-0.0f), 0x8000);
  EXPECT_EQ(f32_to_f16(0x1.ffep-15f), 0x0400);  // rounds up from a subnormal to a normal number
}

TEST(DType, ExtremesOfBf16) {
  constexpr float kMax = std::numeric_limits<float>::max();
  EXPECT_TRUE(std::isinf(bf16_to_f32(f32_to_bf16(kMax))));
  EXPECT_TRUE(std::isinf(bf16_to_f32(f32_to_bf16(-INFINITY))));
  EXPECT_EQ(f32_to_bf16(-0.0f), 0x8000);
  // A NaN whose upper bits are those of infinity stays a NaN.
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7f800001u)))));
}

}  // namespace
}  // namespace llm::test
