// The live line, on a terminal of the test's own and without one.
#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/progress.h"

namespace llm {
namespace {

constexpr size_t kColumns = 20;

// The rows that a terminal shows after these bytes: enough of one for the live line. Rows are kept
// in bytes, so that texts with characters of several bytes must not reach the last column.
std::vector<std::string> rows_of(const std::string& bytes) {
  std::vector<std::string> rows(1);
  size_t row = 0, column = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == '\r') {
      column = 0;
    } else if (bytes[i] == '\n') {
      if (++row == rows.size()) rows.emplace_back();
    } else if (bytes.compare(i, 3, "\x1b[K") == 0) {
      rows[row].resize(std::min(column, rows[row].size()));
      i += 2;
    } else {
      if (column == kColumns) {
        column = 0;
        if (++row == rows.size()) rows.emplace_back();
      }
      rows[row].resize(std::max(rows[row].size(), column + 1), ' ');
      rows[row][column++] = bytes[i];
    }
  }
  return rows;
}

// Makes standard error a terminal for its lifetime.
class Screen {
 public:
  Screen() {
    winsize size{};
    size.ws_row = 24;
    size.ws_col = kColumns;
    int slave = -1;
    if (::openpty(&master_, &slave, nullptr, nullptr, &size) != 0) return;
    std::fflush(stderr);
    before_ = ::dup(STDERR_FILENO);
    ::dup2(slave, STDERR_FILENO);
    ::close(slave);
    ::setenv("TERM", "xterm", 1);
  }
  ~Screen() {
    if (before_ < 0) return;
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    ::close(master_);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  bool works() const { return before_ >= 0; }
  std::vector<std::string> rows() {
    // What comes after this mark has not been written yet.
    constexpr char kMark = '\x01';
    EXPECT_EQ(::write(STDERR_FILENO, &kMark, 1), 1);
    for (char c = 0; c != kMark;) {
      if (::read(master_, &c, 1) != 1) break;
      if (c != kMark) bytes_ += c;
    }
    return rows_of(bytes_);
  }

 private:
  int master_ = -1, before_ = -1;
  std::string bytes_;
};

using Rows = std::vector<std::string>;

constexpr std::chrono::milliseconds kAlways{0}, kNeverAgain{1'000'000'000};

TEST(ProgressOnTerminal, RedrawsOneLine) {
  Screen terminal;
  if (!terminal.works()) GTEST_SKIP() << "no pseudo-terminal here";
  Progress progress;
  progress.set_live_interval(kNeverAgain);
  progress.show("step 1 of 100");
  EXPECT_EQ(terminal.rows(), (Rows{"step 1 of 100"}));
  progress.show("step 2");  // too soon
  EXPECT_EQ(terminal.rows(), (Rows{"step 1 of 100"}));
  progress.set_live_interval(kAlways);
  progress.show("step 3");
  EXPECT_EQ(terminal.rows(), (Rows{"step 3"}));
  progress.set_live_interval(kNeverAgain);
  progress.show("step 4");
  progress.finish();  // shows what came too soon
  EXPECT_EQ(terminal.rows(), (Rows{"step 4", ""}));
  progress.finish();
  EXPECT_EQ(terminal.rows(), (Rows{"step 4", ""}));
}

TEST(ProgressOnTerminal, KeepsLinesAndMessagesAboveTheLiveOne) {
  Screen terminal;
  if (!terminal.works()) GTEST_SKIP() << "no pseudo-terminal here";
  {
    Progress progress;
    progress.set_live_interval(kAlways);
    progress.show("step 1");
    progress.show("evaluated", true);
    EXPECT_EQ(terminal.rows(), (Rows{"evaluated", ""}));
    progress.show("step 2");
    log_info("a message");
    EXPECT_EQ(terminal.rows(), (Rows{"evaluated", "a message", "step 2"}));
    log_warning("odd");
    EXPECT_EQ(terminal.rows(), (Rows{"evaluated", "a message", "warning: odd", "step 2"}));
  }
  EXPECT_EQ(terminal.rows(), (Rows{"evaluated", "a message", "warning: odd", "step 2", ""}));
  log_info("end");
  EXPECT_EQ(terminal.rows(), (Rows{"evaluated", "a message", "warning: odd", "step 2", "end", ""}));
}

TEST(ProgressOnTerminal, CutsTheLiveLineToTheWidth) {
  Screen terminal;
  if (!terminal.works()) GTEST_SKIP() << "no pseudo-terminal here";
  Progress progress;
  progress.set_live_interval(kAlways);
  progress.show("0123456789012345678901234567890123456789");
  EXPECT_EQ(terminal.rows(), (Rows{"0123456789012345678"}));
  progress.show("next");
  EXPECT_EQ(terminal.rows(), (Rows{"next"}));
  // 10 characters of two bytes fit, and none is cut in two.
  std::string wide;
  for (int i = 0; i < 30; ++i) wide += "\xc3\xa9";
  progress.show(wide);
  const Rows rows = terminal.rows();
  std::string all;
  for (const std::string& row : rows) all += row;
  EXPECT_EQ(all, wide.substr(0, 2 * (kColumns - 1)));
  progress.show("all of a line that is kept", true);
}

TEST(ProgressOnTerminal, DumbTerminalsGetPlainLines) {
  Screen terminal;
  if (!terminal.works()) GTEST_SKIP() << "no pseudo-terminal here";
  ::setenv("TERM", "dumb", 1);
  {
    Progress progress;
    progress.show("one", true);
    progress.show("two", true);
  }
  ::setenv("TERM", "xterm", 1);
  EXPECT_EQ(terminal.rows(), (Rows{"one", "two", ""}));
}

TEST(ProgressWithoutTerminal, PrintsPlainLines) {
  testing::internal::CaptureStderr();
  {
    Progress progress;
    progress.show("first");
    progress.show("too soon");
    progress.show("kept", true);
    log_info("message");
    progress.set_plain_interval(std::chrono::milliseconds(0));
    progress.show("next");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "first\nkept\nmessage\nnext\n");
}

TEST(ProgressWithoutTerminal, DisabledPrintsNothing) {
  testing::internal::CaptureStderr();
  {
    Progress progress(false);
    progress.show("first");
    progress.show("kept", true);
    progress.finish();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Format, Duration) {
  EXPECT_EQ(format_duration(0), "0:00");
  EXPECT_EQ(format_duration(0.6), "0:01");
  EXPECT_EQ(format_duration(59.4), "0:59");
  EXPECT_EQ(format_duration(75), "1:15");
  EXPECT_EQ(format_duration(3599.6), "1:00:00");
  EXPECT_EQ(format_duration(3700), "1:01:40");
  EXPECT_EQ(format_duration(360000), "100:00:00");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "?");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::quiet_NaN()), "?");
  EXPECT_EQ(format_duration(1e30), "?");
}

TEST(Format, Bytes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes((int64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(format_bytes(int64_t{5} << 30), "5.0 GiB");
  EXPECT_EQ(format_bytes(int64_t{1} << 40), "1.0 TiB");
  EXPECT_EQ(format_bytes(-1536), "-1.5 KiB");
}

}  // namespace
}  // namespace llm
