// llm plot: the curves of one or several runs in one picture.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/svg_plot.h"

namespace llm {
namespace {

// Told apart also by people who do not see all colors (Okabe & Ito, "Color universal design",
// 2008).
constexpr std::array<std::string_view, 7> kColors = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                     "#e69f00", "#56b4e9", "#000000"};
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kMost = 1e300;
constexpr size_t kBuckets = 700;  // about one per pixel

struct PlotOptions {
  std::vector<std::string> runs;
  std::string output = "loss.svg", x = "steps", scale = "auto", title;
  std::vector<std::string> names;
  int64_t smooth = 0;  // 0: a fiftieth of the run
  bool json = false;
  std::optional<double> min_loss, max_loss;
};

// What a run logged; x as asked for.
struct RunCurves {
  std::string name;
  std::vector<PlotPoint> train_loss, val_loss, learning_rate, speed;
  int64_t steps = 0, best_step = 0;
  double best_val_loss = kNan;
};

double number_or_nan(const JsonObject& record, const std::string& key) {
  return record.number(key, -kMost, kMost, kNan);
}

// Steps, tokens and hours of training up to a record.
class XAxisOfRun {
 public:
  explicit XAxisOfRun(const std::string& kind) : kind_(kind) {}

  double at(const JsonObject& record) {
    seconds_ += record.number("seconds", 0, kMost, 0);
    if (kind_ == "tokens") {
      tokens_ = record.number("tokens", 0, kMost, tokens_);
      return tokens_;
    }
    return kind_ == "hours" ? seconds_ / 3600 : record.number("step", 0, kMost);
  }

 private:
  std::string kind_;
  double seconds_ = 0, tokens_ = 0;
};

fs::path log_of(const std::string& run) {
  const fs::path path(run);
  if (fs::is_directory(path)) {
    const fs::path log = path / "log.jsonl";
    if (!fs::exists(log)) {
      fail_input(run, "no log.jsonl in it", "RUN is a folder of llm pretrain or llm finetune");
    }
    return log;
  }
  return path;
}

// The last part of the path that says anything.
std::string short_name(const std::string& run) {
  fs::path path = fs::path(run).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  if (path.filename() == "log.jsonl" && path.has_parent_path()) path = path.parent_path();
  const std::string name = path.filename();
  return name.empty() || name == "." || name == ".."
             ? fs::absolute(path).lexically_normal().string()
             : name;
}

RunCurves read_run(const std::string& run, const std::string& x_kind) {
  RunCurves curves;
  curves.name = short_name(run);
  const fs::path path = log_of(run);
  XAxisOfRun x_axis(x_kind);
  int64_t number = 0;
  for (const Json& json : read_log(path)) {
    const JsonObject record(json, fmt::format("{}, record {}", path.string(), ++number));
    const std::string type = record.text("type");
    const double x = type == "step" || type == "eval" ? x_axis.at(record) : 0;
    if (type == "step") {
      curves.steps = record.integer("step", 0, int64_t{1} << 53);
      curves.train_loss.push_back({x, number_or_nan(record, "loss")});
      curves.learning_rate.push_back({x, number_or_nan(record, "lr")});
      curves.speed.push_back({x, number_or_nan(record, "tokens_per_second")});
    } else if (type == "eval") {
      const double loss = number_or_nan(record, "val_loss");
      curves.val_loss.push_back({x, loss});
      if (!(loss >= curves.best_val_loss) && std::isfinite(loss)) {
        curves.best_val_loss = loss;
        curves.best_step = record.integer("step", 0, int64_t{1} << 53);
      }
    }
  }
  if (curves.train_loss.empty() && curves.val_loss.empty()) {
    fail_input(path.string(), "no step and no evaluation in it yet", "train some steps first");
  }
  return curves;
}

size_t smoothing_window(const PlotOptions& options, size_t points) {
  if (options.smooth > 0) return static_cast<size_t>(options.smooth);
  return std::max<size_t>(points / 50, 1);
}

std::string color_of(size_t run) { return std::string(kColors[run % kColors.size()]); }

// One run: training and validation by color. Several: runs by color, validation by its dots.
std::string validation_color(size_t run, size_t runs) { return color_of(runs == 1 ? 1 : run); }

// Whether the first losses are so far above the last that a linear axis would show little else.
bool loses_detail(const std::vector<RunCurves>& runs) {
  double lowest = std::numeric_limits<double>::infinity(), highest = 0;
  for (const RunCurves& run : runs) {
    for (const auto* curve : {&run.train_loss, &run.val_loss}) {
      for (const PlotPoint& point : *curve) {
        if (!std::isfinite(point.y)) continue;
        lowest = std::min(lowest, point.y);
        highest = std::max(highest, point.y);
      }
    }
  }
  return lowest > 0 && highest > 4 * lowest;
}

PlotPanel loss_panel(const std::vector<RunCurves>& runs, const PlotOptions& options) {
  PlotPanel panel;
  panel.title = "Loss";
  panel.log_y = options.scale == "log" || (options.scale == "auto" && loses_detail(runs));
  panel.y_min = options.min_loss;
  panel.y_max = options.max_loss;
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::vector<PlotPoint>& raw = runs[i].train_loss;
    const size_t window = smoothing_window(options, raw.size());
    if (window > 1) {
      panel.curves.push_back({.points = thin_out(raw, kBuckets),
                              .color = color_of(i),
                              .width = 1,
                              .opacity = runs.size() == 1 ? 0.28 : 0.18,
                              .stretches_axis = false});
    }
    panel.curves.push_back(
        {.points = thin_out(smooth(raw, window), kBuckets), .color = color_of(i)});
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::vector<PlotPoint>& points = runs[i].val_loss;
    if (points.empty()) continue;
    panel.curves.push_back({.points = points,
                            .color = validation_color(i, runs.size()),
                            .width = 1.5,
                            .markers = points.size() <= 60,
                            .end_label = std::isfinite(points.back().y)
                                             ? fmt::format("{:.3f}", points.back().y)
                                             : ""});
  }
  return panel;
}

PlotPanel small_panel(const std::vector<RunCurves>& runs, const PlotOptions& options,
                      std::string title, std::vector<PlotPoint> RunCurves::*curve, bool noisy) {
  PlotPanel panel;
  panel.title = std::move(title);
  panel.y_from_zero = true;
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::vector<PlotPoint>& raw = runs[i].*curve;
    const size_t window = noisy ? smoothing_window(options, raw.size()) : 1;
    if (window > 1) {
      panel.curves.push_back({.points = thin_out(raw, kBuckets / 2),
                              .color = color_of(i),
                              .width = 1,
                              .opacity = 0.22,
                              .stretches_axis = false});
    }
    panel.curves.push_back(
        {.points = thin_out(smooth(raw, window), kBuckets / 2), .color = color_of(i)});
  }
  return panel;
}

std::vector<PlotLegendEntry> legend_of(const std::vector<RunCurves>& runs) {
  std::vector<PlotLegendEntry> legend;
  const auto best = [](const RunCurves& run) {
    return std::isfinite(run.best_val_loss)
               ? fmt::format("best {:.3f} at step {}", run.best_val_loss,
                             with_commas(run.best_step))
               : "";
  };
  if (runs.size() == 1) {
    legend.push_back({.text = "training", .color = color_of(0)});
    if (!runs[0].val_loss.empty()) {
      const std::string text = best(runs[0]);
      legend.push_back({.text = "validation" + (text.empty() ? "" : " (" + text + ")"),
                        .color = validation_color(0, 1),
                        .markers = true});
    }
    return legend;
  }
  bool any_validation = false;
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::string text = best(runs[i]);
    legend.push_back(
        {.text = runs[i].name + (text.empty() ? "" : " (" + text + ")"), .color = color_of(i)});
    any_validation = any_validation || !runs[i].val_loss.empty();
  }
  if (any_validation) {
    legend.push_back({.text = "dots: validation", .color = "#57606a", .markers = true});
  }
  return legend;
}

Plot compose(const std::vector<RunCurves>& runs, const PlotOptions& options) {
  constexpr double kLeft = 70, kWidth = 850, kGap = 80, kSmallWidth = (kWidth - kGap) / 2;
  Plot plot{.width = 990, .height = 0, .title = options.title, .legend = legend_of(runs)};
  if (plot.title.empty()) plot.title = runs.size() == 1 ? runs[0].name : "Training runs";
  const double top = heading_height(plot, kWidth) + 32;
  const std::string x_label = options.x == "hours" ? "hours of training" : options.x;

  PlotPanel loss = loss_panel(runs, options);
  loss.area = {kLeft, top, kWidth, 360};
  const double second = top + 360 + 82;
  PlotPanel rate = small_panel(runs, options, "Learning rate", &RunCurves::learning_rate, false);
  rate.area = {kLeft, second, kSmallWidth, 140};
  PlotPanel speed = small_panel(runs, options, "Throughput (tokens/s)", &RunCurves::speed, true);
  speed.area = {kLeft + kSmallWidth + kGap, second, kSmallWidth, 140};
  plot.panels = {std::move(loss), std::move(rate), std::move(speed)};
  for (PlotPanel& panel : plot.panels) panel.x_label = x_label;
  plot.height = second + 140 + 56;
  return plot;
}

void check_options(const PlotOptions& options) {
  if (!options.names.empty() && options.names.size() != options.runs.size()) {
    fail_usage("--names",
               fmt::format("{} names for {} runs", options.names.size(), options.runs.size()));
  }
  if (fs::path(options.output).extension() != ".svg") {
    fail_usage("-o", fmt::format("{} does not end in .svg", options.output),
               "other formats by a converter, for example rsvg-convert loss.svg -o loss.png");
  }
  if (options.min_loss && options.max_loss && !(*options.min_loss < *options.max_loss)) {
    fail_usage("--min-loss", "not below --max-loss");
  }
}

void plot_runs(const PlotOptions& options) {
  check_options(options);
  std::vector<RunCurves> runs;
  for (const std::string& run : options.runs) {
    runs.push_back(
        with_hint("give run folders whose log is whole", [&] { return read_run(run, options.x); }));
    if (!options.names.empty()) runs.back().name = options.names[runs.size() - 1];
  }
  write_file_atomically(options.output, draw_svg(compose(runs, options)));

  Json summary = {{"output", options.output}, {"runs", Json::array()}};
  const auto last = [](const std::vector<PlotPoint>& points) {
    return points.empty() || !std::isfinite(points.back().y) ? Json(nullptr)
                                                             : Json(points.back().y);
  };
  for (const RunCurves& run : runs) {
    const bool evaluated = std::isfinite(run.best_val_loss);
    summary["runs"].push_back(
        {{"name", run.name},
         {"steps", run.steps},
         {"train_loss", last(run.train_loss)},
         {"val_loss", last(run.val_loss)},
         {"best_val_loss", evaluated ? Json(run.best_val_loss) : Json(nullptr)},
         {"best_step", evaluated ? Json(run.best_step) : Json(nullptr)}});
  }
  fmt::print("{}\n", options.json ? to_line(summary) : options.output);
}

}  // namespace

void add_plot_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("plot", "draw loss, learning rate and throughput of runs");
  auto options = std::make_shared<PlotOptions>();
  command->add_option("RUN", options->runs, "run folders (or their log.jsonl)")->required();
  command->add_option("-o,--out", options->output, "the picture, an SVG file");
  command->add_option("--x", options->x, "horizontal axis")
      ->check(CLI::IsMember({"steps", "tokens", "hours"}));
  command
      ->add_option(
          "--smooth", options->smooth,
          "steps in the moving average of the training loss and its speed, an odd number (an even "
          "one is the next odd one); 0: a fiftieth of the run")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  command
      ->add_option("--scale", options->scale,
                   "axis of the loss; auto: logarithmic if the highest is 4 times the lowest")
      ->check(CLI::IsMember({"auto", "linear", "log"}));
  command->add_option("--min-loss", options->min_loss, "lower end of the loss axis");
  command->add_option("--max-loss", options->max_loss, "upper end of the loss axis");
  command->add_option("--title", options->title, "heading; default: the name of the run");
  command
      ->add_option("--names", options->names,
                   "names of the runs in the legend, in their order, with commas between")
      ->delimiter(',');
  command->add_flag("--json", options->json, "print a JSON object with the final figures");
  command->footer("Example: llm plot runs/small runs/large -o loss.svg");
  command->callback([options] { plot_runs(*options); });
}

}  // namespace llm
