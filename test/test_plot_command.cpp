// llm plot, in this process.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"

namespace llm {
namespace {

namespace fs = std::filesystem;

class PlotCommand : public testing::Test {
 protected:
  PlotCommand() {
    folder_ = fs::path(testing::TempDir()) /
              fmt::format("plot_{}", testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~PlotCommand() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ / name; }

  std::string write_log(const std::string& run, const std::string& text) {
    fs::create_directories(folder_ / run);
    std::ofstream(folder_ / run / "log.jsonl") << text;
    return folder_ / run;
  }
  // Steps 1 to 100 and two evaluations.
  std::string write_run(const std::string& name) {
    std::string log;
    for (int step = 1; step <= 100; ++step) {
      log += fmt::format(
          R"({{"type":"step","step":{},"loss":{},"lr":0.001,"norm":1,"tokens":{},"tokens_per_second":1000,"seconds":36}})"
          "\n",
          step, step == 50 ? "null" : fmt::to_string(5.0 / step + 1), step * 64);
      if (step % 50 == 0) {
        log += fmt::format(R"({{"type":"eval","step":{},"val_loss":{},"seconds":0}})"
                           "\n",
                           step, step == 50 ? 1.25 : 1.5);
      }
    }
    log += R"({"type":"sample","step":100,"prompt":"","text":"x"})"
           "\n";
    return write_log(name, log);
  }

  // Returns what was printed.
  std::string plot(std::vector<std::string> arguments) {
    CLI::App app;
    add_plot_command(app);
    arguments.insert(arguments.begin(), "plot");
    std::reverse(arguments.begin(), arguments.end());
    testing::internal::CaptureStdout();
    try {
      app.parse(arguments);
    } catch (...) {
      testing::internal::GetCapturedStdout();
      throw;
    }
    return testing::internal::GetCapturedStdout();
  }
  ErrorKind failure(const std::vector<std::string>& arguments) {
    try {
      plot(arguments);
    } catch (const Error& error) {
      return error.kind();
    }
    ADD_FAILURE() << "accepted";
    return ErrorKind::disk;
  }
  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(folder_ / name).rdbuf();
    return text.str();
  }

  fs::path folder_;
};

TEST_F(PlotCommand, DrawsOneRun) {
  const std::string run = write_run("run-a");
  const std::string printed = plot({run, "-o", path("loss.svg"), "--json"});
  EXPECT_EQ(printed,
            fmt::format(R"({{"output":"{}","runs":[{{"name":"run-a","steps":100,"train_loss":1.05,)"
                        R"("val_loss":1.5,"best_val_loss":1.25,"best_step":50}}]}})"
                        "\n",
                        path("loss.svg")));
  const std::string svg = read("loss.svg");
  for (const char* text : {"<svg", "run-a", "validation (best 1.250 at step 50)", "Learning rate",
                           "Throughput (tokens/s)", ">steps<", ">1.500<", "</svg>"}) {
    EXPECT_NE(svg.find(text), std::string::npos) << text;
  }
}

TEST_F(PlotCommand, DrawsSeveralRuns) {
  const std::string a = write_run("a"), b = write_run("b");
  plot({a, b + "/", path("a/log.jsonl"), "-o", path("p.svg"), "--names", "<one>,two,three", "--x",
        "hours", "--title", "Compared"});
  const std::string svg = read("p.svg");
  for (const char* text : {"Compared", "&lt;one&gt; (best 1.250 at step 50)", "two (best", "three",
                           "dots: validation", "hours of training", "#0072b2", "#d55e00"}) {
    EXPECT_NE(svg.find(text), std::string::npos) << text;
  }
}

TEST_F(PlotCommand, DrawsARunThatIsStillWriting) {
  const std::string run =
      write_log("r", R"({"type":"step","step":1,"loss":4.2,"lr":0.1,"tokens_per_second":5})"
                     "\n"
                     R"({"type":"step","step":2,"lo)");
  plot({run, "-o", path("p.svg")});
  EXPECT_NE(read("p.svg").find("</svg>"), std::string::npos);
}

TEST_F(PlotCommand, RefusesWhatIsNoRun) {
  EXPECT_EQ(failure({path("nothing"), "-o", path("p.svg")}), ErrorKind::input);
  fs::create_directories(folder_ / "empty");
  EXPECT_EQ(failure({path("empty"), "-o", path("p.svg")}), ErrorKind::input);
  const std::string good = "{\"type\":\"step\",\"step\":1,\"loss\":1}\n";
  const char* bad[] = {"",
                       "no json\n",
                       "[]\n",
                       "{}\n",
                       "{\"type\":3}\n",
                       "{\"type\":\"step\"}\n",
                       "{\"type\":\"step\",\"step\":-1}\n",
                       "{\"type\":\"step\",\"step\":1,\"loss\":\"low\"}\n",
                       "{\"type\":\"sample\",\"step\":1}\n"};
  int number = 0;
  for (const char* text : bad) {
    const std::string run = write_log(fmt::format("bad{}", number++), text);
    EXPECT_EQ(failure({run, "-o", path("p.svg")}), ErrorKind::input) << text;
    EXPECT_FALSE(fs::exists(folder_ / "p.svg"));
  }
  plot({write_log("good", good), "-o", path("p.svg")});
}

TEST_F(PlotCommand, RefusesOptionsThatMakeNoSense) {
  const std::string run = write_run("run");
  EXPECT_EQ(failure({run, "-o", path("loss.png")}), ErrorKind::usage);
  EXPECT_EQ(failure({run, "-o", path("p.svg"), "--names", "a,b"}), ErrorKind::usage);
  EXPECT_EQ(failure({run, "-o", path("p.svg"), "--min-loss", "3", "--max-loss", "2"}),
            ErrorKind::usage);
  EXPECT_EQ(failure({run, "-o", path("no/such/folder/p.svg")}), ErrorKind::disk);
  EXPECT_THROW(plot({run, "--x", "miles"}), CLI::ParseError);
  EXPECT_THROW(plot({}), CLI::ParseError);
}

}  // namespace
}  // namespace llm
