// Options of `llm plot` and `llm check` that decide what is drawn and what is called.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <charconv>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/check_command.h"
#include "support/finetune_process.h"
#include "support/spoiled_backend.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"
#include "support/write_file.h"

namespace llm::test {
namespace {

class PlotOptionsUsed : public testing::Test {
 protected:
  void write_losses(const std::vector<double>& losses) {
    std::string log;
    for (size_t i = 0; i < losses.size(); ++i) {
      log += fmt::format(R"({{"type":"step","step":{},"loss":{}}})"
                         "\n",
                         i + 1, losses[i]);
    }
    fs::create_directories(folder_ / "run");
    write_file(folder_ / "run" / "log.jsonl", log);
  }
  // The curves of the loss as drawn, each the heights of its points in pixels from the top. The
  // one that the losses were smoothed to is the last.
  std::vector<std::vector<double>> drawn(const std::string& options) {
    const std::string picture = folder_ / "loss.svg";
    const ProcessResult result =
        run_llm(with_words({"plot", (folder_ / "run").string(), "-o", picture}, options));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const std::string svg = read_text_file(picture);
    const std::string panel = svg.substr(0, svg.find("</g>"));  // the first of three
    constexpr std::string_view kPath = "<path d=\"";
    std::vector<std::vector<double>> curves;
    for (size_t at = 0; (at = panel.find(kPath, at)) != std::string::npos;) {
      at += kPath.size();
      curves.push_back(heights(panel.substr(at, panel.find('"', at) - at)));
    }
    EXPECT_FALSE(curves.empty()) << svg;
    if (curves.empty()) curves.emplace_back();
    return curves;
  }

  TemporaryDirectory folder_;

 private:
  // Of "M1.0 2.0L3.0 4.0": 2 and 4.
  static std::vector<double> heights(const std::string& path) {
    std::vector<double> result;
    for (size_t at = 0; (at = path.find(' ', at)) != std::string::npos; ++at) {
      double height = 0;
      std::from_chars(path.data() + at + 1, path.data() + path.size(), height);
      result.push_back(height);
    }
    return result;
  }
};

TEST_F(PlotOptionsUsed, TheScaleIsLinearOrLogarithmic) {
  write_losses({1, 2, 4, 8});
  const std::vector<double> log = drawn("--smooth 1 --scale log").back(),
                            linear = drawn("--smooth 1 --scale linear").back();
  ASSERT_EQ(log.size(), 4u);
  ASSERT_EQ(linear.size(), 4u);
  // Each loss is twice the one before: equal steps on the one axis, each twice the last on the
  // other. Pixels are rounded to a tenth.
  EXPECT_GT(log[0] - log[1], 50);
  EXPECT_NEAR(log[0] - log[1], log[1] - log[2], 0.25);
  EXPECT_NEAR(log[1] - log[2], log[2] - log[3], 0.25);
  EXPECT_GT(linear[0] - linear[1], 20);
  EXPECT_NEAR(2 * (linear[0] - linear[1]), linear[1] - linear[2], 0.35);
  EXPECT_NEAR(2 * (linear[1] - linear[2]), linear[2] - linear[3], 0.35);
  // Not decided by anyone: logarithmic from four times the lowest on.
  EXPECT_EQ(drawn("--smooth 1").back(), log);
  EXPECT_EQ(drawn("--smooth 1 --scale auto").back(), log);
  write_losses({1, 2, 3});
  const std::vector<double> flat = drawn("--smooth 1 --scale linear").back();
  EXPECT_EQ(drawn("--smooth 1 --scale auto").back(), flat);
  EXPECT_NE(drawn("--smooth 1 --scale log").back(), flat);
  const ProcessResult other = run_llm({"plot", (folder_ / "run").string(), "--scale", "cubic"});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.err.find("--scale"), std::string::npos) << other.err;
}

TEST_F(PlotOptionsUsed, TheCurveIsTheAverageOverSoManySteps) {
  write_losses({3, 1, 5, 3, 7, 5, 9});
  // The axis is that of all losses, so heights can be compared.
  const std::string axis = " --scale linear --min-loss 0 --max-loss 10";
  const std::vector<std::vector<double>> plain = drawn("--smooth 1" + axis);
  ASSERT_EQ(plain.size(), 1u);
  const std::vector<double>& raw = plain.back();
  const std::vector<std::vector<double>> smoothed = drawn("--smooth 3" + axis);
  ASSERT_EQ(smoothed.size(), 2u);  // the losses themselves are behind it, pale
  EXPECT_EQ(smoothed.front(), raw);
  const std::vector<double>& mean = smoothed.back();
  ASSERT_EQ(mean.size(), raw.size());
  for (size_t i = 1; i + 1 < raw.size(); ++i) {
    EXPECT_NEAR(mean[i], (raw[i - 1] + raw[i] + raw[i + 1]) / 3, 0.15) << i;
  }
  const std::vector<double> wide = drawn("--smooth 5" + axis).back();
  EXPECT_NEAR(wide[3], (raw[1] + raw[2] + raw[3] + raw[4] + raw[5]) / 5, 0.15);
  EXPECT_GT(std::abs(wide[2] - mean[2]), 1);
}

TEST_F(PlotOptionsUsed, AFiftiethOfTheRunIsAveragedUnlessOneSays) {
  std::vector<double> losses;
  for (int i = 0; i < 250; ++i) losses.push_back(2 + (i * 7 % 11) / 11.0);
  write_losses(losses);
  const std::vector<std::vector<double>> given = drawn("--smooth 5");
  EXPECT_EQ(drawn(""), given);
  EXPECT_EQ(drawn("--smooth 0"), given);
  EXPECT_NE(drawn("--smooth 7").back(), given.back());
}

TEST(CheckOptionsUsed, RepeatsAreCallsOfEachCase) {
  const auto times = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"check",  "scale", "--quick",  "--verbose",
                                          "--seed", "5",     "--device", "cpu"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProcessResult result = run_llm(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::vector<std::string> counts;
    for (const std::string& line : lines_of(result.out)) {
      const size_t at = line.find(" times");
      if (!line.starts_with("scale ") || at == std::string::npos) continue;
      const std::string count = line.substr(line.rfind(' ', at - 1) + 1, at);
      counts.push_back(count.substr(0, count.find(' ')));
    }
    EXPECT_GT(counts.size(), 2u) << result.out;
    return counts;
  };
  const std::vector<std::string> all = times({});
  EXPECT_EQ(all, std::vector<std::string>(all.size(), "20"));
  EXPECT_EQ(times({"--repeats", "4"}), std::vector<std::string>(all.size(), "4"));
}

// An op whose every other call gives other bits is found by the second call, and not without it.
TEST(CheckOptionsUsed, RepeatsFindWhatChanges) {
  const auto problem = [](int repeats) -> std::string {
    const auto backend = make_spoiled_backend("accumulate_sum", Spoil::not_twice);
    CheckArguments arguments;
    arguments.ops = {"accumulate_sum"};
    arguments.seed = 5;
    arguments.quick = true;
    arguments.repeats = repeats;
    testing::internal::CaptureStdout();
    try {
      run_check(*backend, arguments);
    } catch (const Error&) {
      return testing::internal::GetCapturedStdout();
    }
    testing::internal::GetCapturedStdout();
    return "";
  };
  EXPECT_EQ(problem(1), "");
  EXPECT_NE(problem(2).find("call 2 gave other bits"), std::string::npos);
}

}  // namespace
}  // namespace llm::test
