// Charts as SVG: well-formed whatever the curves and names are.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "cli/svg_plot.h"

namespace llm {
namespace {

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();
constexpr double kEndless = std::numeric_limits<double>::infinity();

// Whether every tag is closed in the right order and there is one root.
bool well_formed(const std::string& xml) {
  std::vector<std::string> open;
  int roots = 0;
  for (size_t at = xml.find('<'); at != std::string::npos; at = xml.find('<', at + 1)) {
    const size_t end = xml.find('>', at);
    if (end == std::string::npos) return false;
    const std::string tag = xml.substr(at + 1, end - at - 1);
    if (tag.find('<') != std::string::npos || tag.empty()) return false;
    const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
    if (tag[0] == '/') {
      if (open.empty() || "/" + open.back() != name) return false;
      open.pop_back();
    } else {
      if (open.empty()) ++roots;
      if (tag.back() != '/') open.push_back(name);
    }
  }
  return open.empty() && roots == 1;
}

Plot one_panel(std::vector<PlotCurve> curves, bool log_y = false) {
  Plot plot{.width = 400, .height = 300, .title = "Title"};
  PlotPanel panel{.area = {50, 80, 300, 160}, .title = "Panel", .x_label = "steps"};
  panel.log_y = log_y;
  panel.curves = std::move(curves);
  plot.panels.push_back(std::move(panel));
  return plot;
}

// The d attribute of the first path.
std::string path_of(const std::string& svg) {
  const size_t begin = svg.find("<path d=\"");
  if (begin == std::string::npos) return "";
  return svg.substr(begin + 9, svg.find('"', begin + 9) - begin - 9);
}

TEST(XmlEscape, LeavesNothingThatXmlForbids) {
  EXPECT_EQ(xml_escape("a<b>&\"c\""), "a&lt;b&gt;&amp;&quot;c&quot;");
  EXPECT_EQ(xml_escape("Tür 日本 🙂"), "Tür 日本 🙂");
  EXPECT_EQ(xml_escape("a\x01"
                       "b\nc"),
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd"
            "c");
  EXPECT_EQ(xml_escape("\xff\xc3"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(xml_escape("\xef\xbf\xbf"), "\xef\xbf\xbd");  // U+FFFF
}

TEST(DrawSvg, MapsCurvesOntoThePanel) {
  // The x axis ends where the points end; the y axis leaves 6 % at both ends.
  const std::string svg = draw_svg(one_panel({{.points = {{0, 0}, {10, 100}}}}));
  EXPECT_TRUE(well_formed(svg));
  EXPECT_EQ(path_of(svg), "M50.0 231.4L350.0 88.6");
}

TEST(DrawSvg, BreaksCurvesAtGaps) {
  const std::string svg = draw_svg(
      one_panel({{.points = {{0, 1}, {1, 2}, {2, kNoNumber}, {3, kEndless}, {4, 3}, {5, 4}}}}));
  const std::string path = path_of(svg);
  EXPECT_EQ(std::count(path.begin(), path.end(), 'M'), 2) << path;
  EXPECT_EQ(std::count(path.begin(), path.end(), 'L'), 2) << path;
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(DrawSvg, ALogarithmicAxisLeavesOutWhatIsNotPositive) {
  const std::string svg =
      draw_svg(one_panel({{.points = {{0, 0}, {1, -1}, {2, 10}, {3, 1}}}}, true));
  EXPECT_TRUE(well_formed(svg));
  const std::string path = path_of(svg);
  EXPECT_EQ(std::count(path.begin(), path.end(), 'M'), 1) << path;
  EXPECT_EQ(std::count(path.begin(), path.end(), 'L'), 1) << path;
}

TEST(DrawSvg, OddCurvesGiveWellFormedPictures) {
  const std::vector<std::vector<PlotPoint>> curves = {
      {},
      {{0, 0}},
      {{5, 7}},
      {{1, kNoNumber}, {2, kNoNumber}},
      {{0, 3}, {1, 3}},
      {{0, -1e300}, {1, 1e300}},
      {{0, 1e-300}, {1, 2e-300}},
      {{kNoNumber, 1}, {kEndless, 2}},
  };
  for (const bool log_y : {false, true}) {
    for (size_t i = 0; i < curves.size(); ++i) {
      const std::string svg =
          draw_svg(one_panel({{.points = curves[i], .markers = true, .end_label = "<&>"}}, log_y));
      EXPECT_TRUE(well_formed(svg)) << i << svg;
      EXPECT_EQ(svg.find("nan"), std::string::npos) << i << svg;
      EXPECT_EQ(svg.find("inf\""), std::string::npos) << i << svg;
      EXPECT_LT(svg.size(), 100'000u);
    }
  }
}

TEST(HeadingHeight, GrowsWithTheLegend) {
  Plot plot = one_panel({});
  const double none = heading_height(plot, 300);
  plot.legend = {{.text = "one", .color = "#000000"}};
  const double one_line = heading_height(plot, 300);
  for (int i = 0; i < 8; ++i) plot.legend.push_back({.text = "a longer name", .color = "#000000"});
  EXPECT_LT(none, one_line);
  EXPECT_GT(heading_height(plot, 300), one_line + 50);
  EXPECT_TRUE(well_formed(draw_svg(plot)));
}

TEST(WellFormed, IsACheckThatCanFail) {
  EXPECT_TRUE(well_formed("<a><b/><c>x</c></a>"));
  EXPECT_FALSE(well_formed("<a><b></a></b>"));
  EXPECT_FALSE(well_formed("<a>"));
  EXPECT_FALSE(well_formed("<a></a><b></b>"));
}

}  // namespace
}  // namespace llm
