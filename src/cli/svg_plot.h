// Line charts as SVG: panels with axes, curves and a legend. Knows nothing of training.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llm {

struct PlotPoint {
  double x, y;
};

struct PlotCurve {
  std::vector<PlotPoint> points;
  std::string color = "#000000";  // as SVG writes it
  double width = 1.8;
  double opacity = 1;
  bool markers = false;  // a dot at each point
  // A faint curve shows the noise behind another one: the axis need not hold all of it.
  bool stretches_axis = true;
  std::string end_label = {};  // written at the last point
};

struct PlotRectangle {
  double left, top, width, height;
};

struct PlotPanel {
  PlotRectangle area;  // of the curves; labels are outside
  std::string title, x_label;
  bool log_y = false;
  bool y_from_zero = false;
  // Instead of what fits the curves.
  std::optional<double> y_min = {}, y_max = {};
  std::vector<PlotCurve> curves = {};
};

struct PlotLegendEntry {
  std::string text, color;
  bool markers = false;
};

struct Plot {
  double width = 0, height = 0;
  std::string title;
  std::vector<PlotLegendEntry> legend = {};  // beside each other below the title
  std::vector<PlotPanel> panels = {};
};

// What title and legend take at the top of a plot whose panels are `width` wide.
double heading_height(const Plot& plot, double width);

// A complete SVG document. Title and legend begin above the first panel's left end. Points that are
// not finite (or not positive on a logarithmic axis) break their curve.
std::string draw_svg(const Plot& plot);

// About `count` round numbers (1, 2 or 5 times a power of ten apart) within [low, high].
std::vector<double> axis_ticks(double low, double high, int count);
// Round numbers for a logarithmic axis, low > 0: 1, 2 and 5 times powers of ten, powers only over
// many decades; over less than one, those of axis_ticks.
std::vector<double> log_axis_ticks(double low, double high);
// 1500 -> "1,500", 2500000 -> "2.5M", 0.0006 -> "6·10⁻⁴"; enough digits to tell ticks `step` apart.
std::string tick_label(double value, double step);
// &, <, > and quotes as entities; bytes that XML does not allow become U+FFFD.
std::string xml_escape(std::string_view text);

// At most about 2 * buckets points that look the same: the lowest and highest of each stretch.
std::vector<PlotPoint> thin_out(const std::vector<PlotPoint>& points, size_t buckets);
// Mean over `window` neighbours, centred; fewer at the ends. Points that are not finite are left
// out of it.
std::vector<PlotPoint> smooth(const std::vector<PlotPoint>& points, size_t window);

}  // namespace llm
