#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <future>
#include <thread>

#include "base/error.h"
#include "cli/line_reader.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

// Standard input is a file while this exists.
class InputFrom {
 public:
  explicit InputFrom(const std::string& text) : before_(dup(STDIN_FILENO)) {
    const std::string path = directory_ / "input";
    std::ofstream(path, std::ios::binary) << text;
    const int opened = open(path.c_str(), O_RDONLY);
    EXPECT_EQ(dup2(opened, STDIN_FILENO), STDIN_FILENO);
    close(opened);
  }
  ~InputFrom() {
    dup2(before_, STDIN_FILENO);
    close(before_);
  }
  InputFrom(const InputFrom&) = delete;
  InputFrom& operator=(const InputFrom&) = delete;

 private:
  test::TemporaryDirectory directory_;
  int before_;
};

// Standard input is a pipe while this exists.
class InputFromPipe : public InputFrom {
 public:
  InputFromPipe() : InputFrom("") {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    EXPECT_EQ(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    close(ends[0]);
    end_ = ends[1];
  }
  void give(const std::string& text) {
    EXPECT_EQ(write(end_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void finish() { close(end_); }

 private:
  int end_ = -1;
};

std::vector<std::string> lines_through_reader(const std::string& text) {
  const InputFrom input(text);
  LineReader reader;
  std::vector<std::string> lines;
  std::string line;
  while (reader.read(line) == LineReader::Event::line) lines.push_back(line);
  EXPECT_EQ(reader.line_number(), static_cast<int64_t>(lines.size()));
  return lines;
}

TEST(LineReader, LinesOfAFile) {
  using Lines = std::vector<std::string>;
  EXPECT_EQ(lines_through_reader(""), Lines{});
  EXPECT_EQ(lines_through_reader("a\nb\n"), (Lines{"a", "b"}));
  EXPECT_EQ(lines_through_reader("a\r\n\n no end"), (Lines{"a", "", " no end"}));
  EXPECT_EQ(lines_through_reader("\n"), Lines{""});
  EXPECT_EQ(lines_through_reader(std::string("a\0b\n\xff\n", 6)),
            (Lines{std::string("a\0b", 3), "\xff"}));
  const std::string longest(LineReader::kMaxLineBytes, 'x');
  EXPECT_EQ(lines_through_reader(longest + "\n" + longest), (Lines{longest, longest}));
}

TEST(LineReader, AnEndlessLineIsRefused) {
  const InputFrom input("short\n" + std::string(LineReader::kMaxLineBytes + 1, 'x'));
  LineReader reader;
  std::string line;
  EXPECT_EQ(reader.read(line), LineReader::Event::line);
  try {
    reader.read(line);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos);
  }
}

TEST(LineReader, AnInterruptEndsWaiting) {
  InputFromPipe input;
  const InterruptCatcher catcher;
  raise(SIGINT);
  EXPECT_TRUE(InterruptCatcher::interrupted());
  LineReader reader;
  std::string line;
  EXPECT_EQ(reader.read(line), LineReader::Event::interrupt);
  EXPECT_FALSE(InterruptCatcher::interrupted());
  input.give("next\n");
  EXPECT_EQ(reader.read(line), LineReader::Event::line);
  EXPECT_EQ(line, "next");
  input.finish();
  EXPECT_EQ(reader.read(line), LineReader::Event::end);
}

// The system may give the signal to any thread: here to one that is not the reader.
TEST(LineReader, AnInterruptOnAnotherThreadEndsWaiting) {
  InputFromPipe input;
  const InterruptCatcher catcher;
  std::promise<void> read;
  std::thread other([&, done = read.get_future()] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the reader is waiting by now
    raise(SIGINT);                                               // on this thread
    done.wait_for(std::chrono::seconds(20));
    input.finish();
  });
  LineReader reader;
  std::string line;
  EXPECT_EQ(reader.read(line), LineReader::Event::interrupt);
  read.set_value();
  other.join();
}

TEST(LineReaderDeathTest, AThirdInterruptEndsTheProcess) {
  EXPECT_EXIT(
      {
        const InterruptCatcher catcher;
        raise(SIGINT);
        raise(SIGINT);
        InterruptCatcher::forget();
        raise(SIGINT);
        raise(SIGINT);
        if (InterruptCatcher::interrupted()) raise(SIGINT);
      },
      testing::ExitedWithCode(130), "");
}

TEST(LineReader, ABackslashContinuesAMessage) {
  std::string message;
  EXPECT_FALSE(append_line(message, "one\\"));
  EXPECT_FALSE(append_line(message, "\\"));
  EXPECT_TRUE(append_line(message, "three"));
  EXPECT_EQ(message, "one\n\nthree");
}

}  // namespace
}  // namespace llm
