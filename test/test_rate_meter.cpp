// The speed over the last seconds.
#include <gtest/gtest.h>

#include "base/rate_meter.h"

namespace llm {
namespace {

TEST(RateMeter, NothingIsKnownAtFirst) {
  RateMeter meter;
  EXPECT_EQ(meter.rate(), 0);
  meter.record(5, 100);
  EXPECT_EQ(meter.rate(), 0);
  meter.record(5, 200);
  EXPECT_EQ(meter.rate(), 0);
}

TEST(RateMeter, ConstantSpeed) {
  RateMeter meter;
  for (int i = 0; i <= 1000; ++i) meter.record(i * 0.01, i * 30);
  EXPECT_NEAR(meter.rate(), 3000, 1e-6);
}

TEST(RateMeter, ForgetsWhatIsLongAgo) {
  RateMeter meter(10);
  int64_t total = 0;
  for (int i = 0; i <= 1000; ++i) meter.record(i * 0.1, total += 1000);  // 10,000 a second
  for (int i = 1; i <= 200; ++i) meter.record(100 + i * 0.1, total += 10);
  EXPECT_NEAR(meter.rate(), 100, 5);
}

}  // namespace
}  // namespace llm
