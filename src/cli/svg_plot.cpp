#include "cli/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "text/unicode.h"

namespace llm {
namespace {

constexpr std::string_view kTextColor = "#24292f";
constexpr std::string_view kQuietColor = "#57606a";
constexpr std::string_view kGridColor = "#e4e7eb";
constexpr double kTitleLine = 32, kLegendTop = 58, kLegendLine = 20, kLegendText = 34;

// Rough width of a text in the sans-serif faces that viewers use.
double text_width(std::string_view text, double font_size) {
  const auto letters = std::count_if(text.begin(), text.end(),
                                     [](char c) { return (c & 0xc0) != 0x80; });  // not bytes
  return static_cast<double>(letters) * font_size * 0.56;
}

// Maps values to pixels along one axis.
class Axis {
 public:
  Axis(double low, double high, double from, double to, bool log)
      : low_(low), high_(high), from_(from), to_(to), log_(log) {}

  double operator()(double value) const {
    const double share =
        log_ ? std::log(value / low_) / std::log(high_ / low_) : (value - low_) / (high_ - low_);
    return from_ + share * (to_ - from_);
  }
  bool shows(double value) const { return std::isfinite(value) && (!log_ || value > 0); }
  double low() const { return low_; }
  double high() const { return high_; }

 private:
  double low_, high_, from_, to_;
  bool log_;
};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return !(low <= high); }
};

class SvgWriter {
 public:
  template <typename... Values>
  void add(fmt::format_string<Values...> format, Values&&... values) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Values>(values)...);
    text_ += '\n';
  }
  void text(double x, double y, std::string_view anchor, double size, std::string_view color,
            std::string_view text, std::string_view extra = "") {
    add(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="{}" font-size="{}" fill="{}"{}>{}</text>)", x,
        y, anchor, size, color, extra, xml_escape(text));
  }
  void line(double x1, double y1, double x2, double y2, std::string_view color, double width) {
    add(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}" stroke-width="{}"/>)",
        x1, y1, x2, y2, color, width);
  }
  void marker(double x, double y, std::string_view color) {
    add(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3.2" fill="#ffffff" stroke="{}" stroke-width="1.8"/>)",
        x, y, color);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

Axis make_x_axis(const PlotPanel& panel) {
  Range range;
  for (const PlotCurve& curve : panel.curves) {
    for (const PlotPoint& point : curve.points) {
      if (std::isfinite(point.x)) range.include(point.x);
    }
  }
  if (range.empty()) range = {0, 1};
  if (range.low > 0 && range.low < 0.05 * range.high) range.low = 0;
  if (range.low == range.high) range = {range.low - 0.5, range.high + 0.5};
  const PlotRectangle& area = panel.area;
  return Axis(range.low, range.high, area.left, area.left + area.width, false);
}

Axis make_y_axis(const PlotPanel& panel) {
  Range range;
  for (const bool stretching : {true, false}) {
    // Curves that do not stretch the axis decide only if there are no others.
    if (!range.empty()) break;
    for (const PlotCurve& curve : panel.curves) {
      if (curve.stretches_axis != stretching) continue;
      for (const PlotPoint& point : curve.points) {
        if (std::isfinite(point.y) && (!panel.log_y || point.y > 0)) range.include(point.y);
      }
    }
  }
  if (range.empty()) range = {panel.log_y ? 0.1 : 0, 1};
  if (panel.log_y) {
    const double margin = std::max(std::pow(range.high / range.low, 0.05), 1.01);
    range = {range.low / margin, range.high * margin};
  } else {
    const double margin =
        std::max((range.high - range.low) * 0.06, std::abs(range.high) * 1e-3 + 1e-12);
    range = {panel.y_from_zero ? std::min(0.0, range.low) : range.low - margin,
             range.high + margin};
  }
  const double low = panel.y_min.value_or(range.low), high = panel.y_max.value_or(range.high);
  if (low < high && (!panel.log_y || low > 0)) range = {low, high};
  const PlotRectangle& area = panel.area;
  return Axis(range.low, range.high, area.top + area.height, area.top, panel.log_y);
}

double tick_step(const std::vector<double>& ticks) {
  return ticks.size() < 2 ? std::abs(ticks.empty() ? 1.0 : ticks[0]) : ticks[1] - ticks[0];
}

void draw_axes(SvgWriter& svg, const PlotPanel& panel, const Axis& x, const Axis& y) {
  const PlotRectangle& area = panel.area;
  const double right = area.left + area.width, bottom = area.top + area.height;

  const int y_count = std::max(3, static_cast<int>(area.height / 34));
  const std::vector<double> y_ticks =
      panel.log_y ? log_axis_ticks(y.low(), y.high()) : axis_ticks(y.low(), y.high(), y_count);
  const bool even = !panel.log_y || y.high() / y.low() < 10;
  for (const double tick : y_ticks) {
    svg.line(area.left, y(tick), right, y(tick), kGridColor, 1);
    svg.text(area.left - 8, y(tick) + 4, "end", 12, kQuietColor,
             tick_label(tick, even ? tick_step(y_ticks) : tick));
  }
  const int x_count = std::max(3, static_cast<int>(area.width / 95));
  const std::vector<double> x_ticks = axis_ticks(x.low(), x.high(), x_count);
  for (const double tick : x_ticks) {
    svg.line(x(tick), bottom, x(tick), bottom + 5, kQuietColor, 1);
    svg.text(x(tick), bottom + 19, "middle", 12, kQuietColor, tick_label(tick, tick_step(x_ticks)));
  }
  svg.line(area.left, bottom, right, bottom, kQuietColor, 1);
  svg.text(area.left, area.top - 10, "start", 14, kTextColor, panel.title, R"( font-weight="600")");
  svg.text(right, bottom + 36, "end", 12, kQuietColor, panel.x_label);
}

void draw_curve(SvgWriter& svg, const PlotCurve& curve, const Axis& x, const Axis& y) {
  std::string path;
  bool pen_down = false;
  for (const PlotPoint& point : curve.points) {
    if (!std::isfinite(point.x) || !y.shows(point.y)) {
      pen_down = false;
      continue;
    }
    // Far outside the panel is cut off anyway, and viewers have limits.
    const double at = std::clamp(y(point.y), -1e5, 1e5);
    fmt::format_to(std::back_inserter(path), "{}{:.1f} {:.1f}", pen_down ? 'L' : 'M', x(point.x),
                   at);
    pen_down = true;
  }
  if (path.empty()) return;
  svg.add(R"(<path d="{}" fill="none" stroke="{}" stroke-width="{}" stroke-opacity="{}" )"
          R"(stroke-linejoin="round" stroke-linecap="round"/>)",
          path, curve.color, curve.width, curve.opacity);
  if (!curve.markers) return;
  for (const PlotPoint& point : curve.points) {
    if (!std::isfinite(point.x) || !y.shows(point.y)) continue;
    svg.marker(x(point.x), std::clamp(y(point.y), -1e5, 1e5), curve.color);
  }
}

// At the right of the panel, pushed apart where they would cover each other.
void draw_end_labels(SvgWriter& svg, const PlotPanel& panel, const Axis& x, const Axis& y) {
  struct Label {
    double x, y;
    const PlotCurve* curve;
  };
  std::vector<Label> labels;
  for (const PlotCurve& curve : panel.curves) {
    if (curve.end_label.empty() || curve.points.empty()) continue;
    const PlotPoint& last = curve.points.back();
    if (!std::isfinite(last.x) || !y.shows(last.y)) continue;
    const double bottom = panel.area.top + panel.area.height;
    labels.push_back({x(last.x) + 8, std::clamp(y(last.y) + 4, panel.area.top, bottom), &curve});
  }
  std::sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y > b.y; });
  for (size_t i = 1; i < labels.size(); ++i) {
    for (size_t below = 0; below < i; ++below) {
      const bool beside = std::abs(labels[i].x - labels[below].x) > 50;
      if (!beside) labels[i].y = std::min(labels[i].y, labels[below].y - 14);
    }
  }
  for (const Label& label : labels) {
    svg.text(label.x, label.y, "start", 12, label.curve->color, label.curve->end_label,
             R"( font-weight="600" paint-order="stroke" stroke="#ffffff" stroke-width="3")");
  }
}

void draw_panel(SvgWriter& svg, const PlotPanel& panel, size_t index) {
  const Axis x = make_x_axis(panel), y = make_y_axis(panel);
  draw_axes(svg, panel, x, y);
  svg.add(R"(<clipPath id="panel{}"><rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>)"
          R"(</clipPath>)",
          index, panel.area.left - 4, panel.area.top - 4, panel.area.width + 8,
          panel.area.height + 8);
  svg.add("<g clip-path=\"url(#panel{})\">", index);
  for (const PlotCurve& curve : panel.curves) draw_curve(svg, curve, x, y);
  svg.add("</g>");
  draw_end_labels(svg, panel, x, y);
}

// Where each entry of the legend begins, in lines from left to right.
std::vector<PlotPoint> place_legend(const std::vector<PlotLegendEntry>& legend, double left,
                                    double width) {
  std::vector<PlotPoint> places;
  PlotPoint next = {left, kLegendTop};
  for (const PlotLegendEntry& entry : legend) {
    const double needed = kLegendText + text_width(entry.text, 13) + 22;
    if (next.x > left && next.x + needed > left + width) next = {left, next.y + kLegendLine};
    places.push_back(next);
    next.x += needed;
  }
  return places;
}

void draw_legend(SvgWriter& svg, const std::vector<PlotLegendEntry>& legend, double left,
                 double width) {
  const std::vector<PlotPoint> places = place_legend(legend, left, width);
  for (size_t i = 0; i < legend.size(); ++i) {
    const auto [x, y] = places[i];
    svg.line(x, y - 4, x + 26, y - 4, legend[i].color, 2.4);
    if (legend[i].markers) svg.marker(x + 13, y - 4, legend[i].color);
    svg.text(x + kLegendText, y, "start", 13, kTextColor, legend[i].text);
  }
}

}  // namespace

std::string xml_escape(std::string_view text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter next = decode_utf8(text, at);
    const char32_t c = next.code_point;
    if (!next.valid || c < 0x20 || c == 0xfffe || c == 0xffff) {
      append_utf8(result, 0xfffd);
    } else if (c == '&') {
      result += "&amp;";
    } else if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else if (c == '"') {
      result += "&quot;";
    } else {
      append_utf8(result, c);
    }
    at += static_cast<size_t>(next.length);
  }
  return result;
}

double heading_height(const Plot& plot, double width) {
  const std::vector<PlotPoint> places = place_legend(plot.legend, 0, width);
  return (places.empty() ? kTitleLine : places.back().y) + 8;
}

std::string draw_svg(const Plot& plot) {
  SvgWriter svg;
  svg.add(R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" )"
          R"(viewBox="0 0 {0} {1}" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif">)",
          plot.width, plot.height);
  svg.add("<title>{}</title>", xml_escape(plot.title));
  svg.add(R"(<rect width="{}" height="{}" fill="#ffffff"/>)", plot.width, plot.height);
  if (!plot.panels.empty()) {
    const PlotRectangle& first = plot.panels.front().area;
    svg.text(first.left, kTitleLine, "start", 18, kTextColor, plot.title, R"( font-weight="600")");
    draw_legend(svg, plot.legend, first.left, first.width);
  }
  for (size_t i = 0; i < plot.panels.size(); ++i) draw_panel(svg, plot.panels[i], i);
  svg.add("</svg>");
  return svg.take();
}

}  // namespace llm
