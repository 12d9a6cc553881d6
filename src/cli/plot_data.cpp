// The numbers behind a chart: ticks, their labels, thinning and smoothing of curves.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "base/error.h"
#include "cli/svg_plot.h"

namespace llm {
namespace {

std::string superscript(int number) {
  constexpr std::array<std::string_view, 10> kDigits = {"⁰", "¹", "²", "³", "⁴",
                                                        "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string result;
  for (const char digit : fmt::to_string(number)) {
    result += digit == '-' ? std::string_view("⁻") : kDigits[static_cast<size_t>(digit - '0')];
  }
  return result;
}

// Decimals that tell numbers `step` apart.
int decimals_for(double step) {
  for (int decimals = 0; decimals < 12; ++decimals) {
    const double scaled = step * std::pow(10.0, decimals);
    if (std::abs(scaled - std::round(scaled)) < 1e-6 * scaled) return decimals;
  }
  return 12;
}

}  // namespace

std::vector<double> axis_ticks(double low, double high, int count) {
  if (!(high > low) || count < 1) return {low};
  const double rough = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * 0.999) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  const double slack = step * 1e-6;
  for (double k = std::ceil((low - slack) / step); k * step <= high + slack; ++k) {
    ticks.push_back(k * step);
  }
  return ticks;
}

std::vector<double> log_axis_ticks(double low, double high) {
  const double decades = std::log10(high / low);
  if (decades < 1) return axis_ticks(low, high, 6);
  std::vector<double> ticks;
  for (double power = std::pow(10.0, std::floor(std::log10(low))); power <= high; power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (factor > 1 && decades > 3) break;
      const double tick = factor * power;
      if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push_back(tick);
    }
  }
  return ticks;
}

std::string tick_label(double value, double step) {
  const double size = std::abs(value);
  if (size < step * 1e-6) return "0";
  if (size < 0.01) {
    int exponent = static_cast<int>(std::floor(std::log10(size) + 1e-9));
    const double unit = std::pow(10.0, exponent);
    return fmt::format("{:.{}f}·10{}", value / unit, decimals_for(step / unit),
                       superscript(exponent));
  }
  struct Unit {
    double size;
    std::string_view suffix;
  };
  for (const Unit& unit : {Unit{1e12, "T"}, Unit{1e9, "B"}, Unit{1e6, "M"}, Unit{1e5, "k"}}) {
    if (size < unit.size * (1 - 1e-9)) continue;
    const double divisor = unit.suffix == "k" ? 1e3 : unit.size;
    return fmt::format("{:.{}f}{}", value / divisor, std::min(decimals_for(step / divisor), 4),
                       unit.suffix);
  }
  const int decimals = decimals_for(step);
  return decimals == 0 ? with_commas(std::llround(value)) : fmt::format("{:.{}f}", value, decimals);
}

std::vector<PlotPoint> thin_out(const std::vector<PlotPoint>& points, size_t buckets) {
  if (buckets == 0 || points.size() <= 2 * buckets) return points;
  std::vector<PlotPoint> result;
  for (size_t bucket = 0; bucket < buckets; ++bucket) {
    const auto begin = points.begin() + static_cast<int64_t>(points.size() * bucket / buckets);
    const auto end = points.begin() + static_cast<int64_t>(points.size() * (bucket + 1) / buckets);
    // NaN compares as the highest, so that a gap stays a gap.
    const auto less = [](const PlotPoint& a, const PlotPoint& b) {
      return std::isnan(b.y) ? !std::isnan(a.y) : a.y < b.y;
    };
    auto [low, high] = std::minmax_element(begin, end, less);
    if (low > high) std::swap(low, high);
    result.push_back(*low);
    if (low != high) result.push_back(*high);
  }
  return result;
}

std::vector<PlotPoint> smooth(const std::vector<PlotPoint>& points, size_t window) {
  std::vector<PlotPoint> finite;
  for (const PlotPoint& point : points) {
    if (std::isfinite(point.y)) finite.push_back(point);
  }
  std::vector<double> sums(finite.size() + 1, 0.0);
  for (size_t i = 0; i < finite.size(); ++i) sums[i + 1] = sums[i] + finite[i].y;
  std::vector<PlotPoint> result = finite;
  for (size_t i = 0; i < finite.size(); ++i) {
    // As many neighbours on both sides, so that a slope at the ends is not bent.
    const size_t reach = std::min({window / 2, i, finite.size() - 1 - i});
    const double sum = sums[i + reach + 1] - sums[i - reach];
    result[i].y = sum / static_cast<double>(2 * reach + 1);
  }
  return result;
}

}  // namespace llm
