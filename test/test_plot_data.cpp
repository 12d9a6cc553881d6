// Ticks and their labels, thinning and smoothing of curves.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cli/svg_plot.h"

namespace llm {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

void expect_ticks(const std::vector<double>& ticks, const std::vector<double>& expected) {
  ASSERT_EQ(ticks.size(), expected.size());
  for (size_t i = 0; i < ticks.size(); ++i) {
    EXPECT_NEAR(ticks[i], expected[i], 1e-9 * std::abs(expected[i]) + 1e-15);
  }
}

TEST(AxisTicks, AreRoundNumbersInside) {
  expect_ticks(axis_ticks(0, 10, 5), {0, 2, 4, 6, 8, 10});
  expect_ticks(axis_ticks(1.35, 4.2, 6), {1.5, 2, 2.5, 3, 3.5, 4});
  expect_ticks(axis_ticks(0, 6e-4, 4), {0, 2e-4, 4e-4, 6e-4});
  expect_ticks(axis_ticks(-3, 3, 3), {-2, 0, 2});
  expect_ticks(axis_ticks(5, 5, 4), {5});
}

TEST(AxisTicks, OfALogarithmicAxis) {
  expect_ticks(log_axis_ticks(1, 100), {1, 2, 5, 10, 20, 50, 100});
  expect_ticks(log_axis_ticks(0.5, 20), {0.5, 1, 2, 5, 10, 20});
  expect_ticks(log_axis_ticks(1e-3, 1e4), {1e-3, 1e-2, 1e-1, 1, 10, 100, 1000, 1e4});
  expect_ticks(log_axis_ticks(2, 8), {2, 3, 4, 5, 6, 7, 8});  // less than a decade
}

TEST(TickLabel, SaysAsMuchAsTheStepNeeds) {
  EXPECT_EQ(tick_label(0, 500), "0");
  EXPECT_EQ(tick_label(1e-20, 1), "0");
  EXPECT_EQ(tick_label(1500, 500), "1,500");
  EXPECT_EQ(tick_label(2, 0.5), "2.0");
  EXPECT_EQ(tick_label(2.25, 0.25), "2.25");
  EXPECT_EQ(tick_label(-3, 1), "-3");
  EXPECT_EQ(tick_label(100'000, 20'000), "100k");
  EXPECT_EQ(tick_label(2.5e6, 5e5), "2.5M");
  EXPECT_EQ(tick_label(3e9, 1e9), "3B");
  EXPECT_EQ(tick_label(6e-4, 2e-4), "6·10⁻⁴");
  EXPECT_EQ(tick_label(1.5e-3, 5e-4), "1.5·10⁻³");
}

TEST(ThinOut, KeepsTheExtremes) {
  std::vector<PlotPoint> points;
  for (int i = 0; i < 10'000; ++i) points.push_back({static_cast<double>(i), std::sin(i * 0.7)});
  points[1234].y = 50;
  points[5678].y = -70;
  const std::vector<PlotPoint> thin = thin_out(points, 100);
  EXPECT_LE(thin.size(), 200u);
  const auto has = [&](double y) {
    return std::any_of(thin.begin(), thin.end(), [&](const PlotPoint& p) { return p.y == y; });
  };
  EXPECT_TRUE(has(50));
  EXPECT_TRUE(has(-70));
  EXPECT_TRUE(std::is_sorted(thin.begin(), thin.end(),
                             [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; }));
}

TEST(ThinOut, LeavesFewPointsAndGapsAlone) {
  std::vector<PlotPoint> points = {{0, 1}, {1, kNan}, {2, 3}};
  EXPECT_EQ(thin_out(points, 10).size(), 3u);
  points.assign(1000, {0, 1});
  points[500].y = kNan;
  const std::vector<PlotPoint> thin = thin_out(points, 10);
  EXPECT_EQ(
      std::count_if(thin.begin(), thin.end(), [](const PlotPoint& p) { return std::isnan(p.y); }),
      1);
}

TEST(Smooth, IsACentredMean) {
  std::vector<PlotPoint> points;
  for (int i = 0; i < 9; ++i) points.push_back({static_cast<double>(i), i == 4 ? 3.0 : 0.0});
  const std::vector<PlotPoint> smoothed = smooth(points, 3);
  ASSERT_EQ(smoothed.size(), points.size());
  for (int i = 0; i < 9; ++i) EXPECT_DOUBLE_EQ(smoothed[i].y, i >= 3 && i <= 5 ? 1.0 : 0.0) << i;
}

TEST(Smooth, KeepsSlopesAtTheEndsAndLeavesGapsOut) {
  std::vector<PlotPoint> line;
  for (int i = 0; i < 50; ++i) line.push_back({static_cast<double>(i), 3.0 * i - 7});
  const std::vector<PlotPoint> smoothed = smooth(line, 11);
  for (int i = 0; i < 50; ++i) EXPECT_NEAR(smoothed[i].y, 3.0 * i - 7, 1e-9) << i;
  line[20].y = kNan;
  line[21].y = std::numeric_limits<double>::infinity();
  EXPECT_EQ(smooth(line, 11).size(), 48u);
  EXPECT_TRUE(smooth({}, 5).empty());
}

}  // namespace
}  // namespace llm
