#include <gtest/gtest.h>

#include <cmath>

#include "support/expect_error.h"
#include "train/schedule.h"

namespace llm {
namespace {

constexpr Schedule kCosine{ScheduleKind::cosine, 1e-3, 1e-4, 100, 2000, 0.2};

// nanoGPT's get_lr(), written as it is there, with it = step - 1.
double nano_gpt(int64_t it) {
  if (it < 100) return 1e-3 * static_cast<double>(it + 1) / 101.0;
  if (it > 2000) return 1e-4;
  const double ratio = static_cast<double>(it - 100) / 1900.0;
  return 1e-4 + 0.5 * (1.0 + std::cos(3.14159265358979323846 * ratio)) * (1e-3 - 1e-4);
}

TEST(ScheduleTest, CosineIsThatOfNanoGpt) {
  for (int64_t it = 0; it < 2100; ++it) {
    EXPECT_NEAR(learning_rate(kCosine, it + 1), nano_gpt(it), 1e-12) << it;
  }
}

TEST(ScheduleTest, WarmUpRisesToThePeak) {
  EXPECT_DOUBLE_EQ(learning_rate(kCosine, 1), 1e-3 / 101);
  EXPECT_DOUBLE_EQ(learning_rate(kCosine, 101), 1e-3);
  for (int64_t step = 2; step <= 101; ++step) {
    EXPECT_GT(learning_rate(kCosine, step), learning_rate(kCosine, step - 1));
  }
}

TEST(ScheduleTest, WithoutWarmUpTheFirstStepHasThePeak) {
  for (ScheduleKind kind :
       {ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::constant, ScheduleKind::wsd}) {
    EXPECT_DOUBLE_EQ(learning_rate({kind, 1e-3, 1e-4, 0, 10, 0.2}, 1), 1e-3);
  }
}

TEST(ScheduleTest, LinearIsAStraightLine) {
  const Schedule linear{ScheduleKind::linear, 1.0, 0.5, 0, 10, 0.2};
  for (int64_t step = 1; step <= 10; ++step) {
    EXPECT_NEAR(learning_rate(linear, step), 1 - 0.05 * static_cast<double>(step - 1), 1e-12);
  }
  EXPECT_DOUBLE_EQ(learning_rate(linear, 11), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(linear, 1000), 0.5);
}

TEST(ScheduleTest, WsdIsStableAndThenDecays) {
  const Schedule wsd{ScheduleKind::wsd, 1.0, 0.0, 10, 100, 0.2};
  for (int64_t step = 11; step <= 81; ++step) EXPECT_DOUBLE_EQ(learning_rate(wsd, step), 1.0);
  EXPECT_NEAR(learning_rate(wsd, 91), 0.5, 1e-12);
  EXPECT_NEAR(learning_rate(wsd, 100), 0.05, 1e-12);
}

TEST(ScheduleTest, DegenerateLengthsAreFinite) {
  for (ScheduleKind kind :
       {ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::constant, ScheduleKind::wsd}) {
    for (double share : {0.0, 1.0}) {
      const Schedule all_warmup{kind, 1e-3, 1e-4, 5, 5, share};
      for (int64_t step = 1; step < 10; ++step) {
        const double rate = learning_rate(all_warmup, step);
        EXPECT_TRUE(rate > 0 && rate <= 1e-3) << rate;
      }
    }
  }
}

TEST(ScheduleTest, NamesGoBothWays) {
  for (const std::string& name : schedule_names()) {
    EXPECT_EQ(schedule_name(schedule_from_name(name, "--schedule")), name);
  }
  test::expect_error(ErrorKind::usage, "cosine, linear, constant, wsd",
                     [] { schedule_from_name("cosin", "--schedule"); });
}

}  // namespace
}  // namespace llm
