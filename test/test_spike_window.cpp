#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "train/spike_window.h"

namespace llm {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float wave(int64_t step) { return 3.0f + 0.1f * std::sin(static_cast<float>(step)); }

SpikeWindow window_up_to(int64_t last) {
  SpikeWindow window;
  for (int64_t step = 1; step <= last; ++step) window.add(step, wave(step));
  return window;
}

TEST(SpikeWindowTest, NoLimitBeforeThereIsEnoughToJudge) {
  EXPECT_EQ(SpikeWindow().limit_for(1), kInfinity);
  EXPECT_EQ(window_up_to(31).limit_for(33), kInfinity);
  EXPECT_LT(window_up_to(32).limit_for(34), kInfinity);
}

TEST(SpikeWindowTest, LimitIsAboveTheNoiseAndBelowASpike) {
  const float limit = window_up_to(200).limit_for(202);
  EXPECT_GT(limit, 3.2f);
  EXPECT_LT(limit, 5.0f);
}

TEST(SpikeWindowTest, ConstantLossesStillAllowSmallRises) {
  SpikeWindow window;
  for (int64_t step = 1; step <= 64; ++step) window.add(step, 2.0f);
  EXPECT_FLOAT_EQ(window.limit_for(66), 2.0f + 10 * 0.02f * 2.0f);
}

TEST(SpikeWindowTest, OneSpikeDoesNotRaiseTheLimitMuch) {
  SpikeWindow window = window_up_to(100);
  const float before = window.limit_for(102);
  window.add(101, 1e20f);
  EXPECT_NEAR(window.limit_for(103), before, 0.1f * before);
}

TEST(SpikeWindowTest, LastingChangeOfLevelIsAcceptedInTime) {
  SpikeWindow window = window_up_to(100);
  int64_t step = 101;
  while (window.limit_for(step) < 9.0f && step < 200) window.add(step++, 9.0f);
  EXPECT_LT(step, 140);
}

// Right after a resume the loss of the step before is known, otherwise it is not yet.
TEST(SpikeWindowTest, LimitDoesNotDependOnTheLossOfTheStepBefore) {
  for (int64_t step = 2; step < 200; ++step) {
    EXPECT_EQ(window_up_to(step - 2).limit_for(step), window_up_to(step - 1).limit_for(step))
        << step;
  }
}

TEST(SpikeWindowTest, SameWithAMissingStep) {
  SpikeWindow late = window_up_to(98), early = window_up_to(98);  // step 99 was not finite
  EXPECT_EQ(early.limit_for(101), late.limit_for(101));
  late.add(100, 3.0f);
  EXPECT_EQ(early.limit_for(101), late.limit_for(101));
}

TEST(SpikeWindowTest, MeanOfTheLastLosses) {
  SpikeWindow window;
  EXPECT_EQ(window.recent_mean(3), 0);
  window.add(1, 10);
  EXPECT_EQ(window.recent_mean(3), 10);
  window.add(2, 1);
  window.add(3, 2);
  window.add(4, 3);
  EXPECT_EQ(window.recent_mean(3), 2);
}

}  // namespace
}  // namespace llm
