#include "cli/line_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace llm {
namespace {

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free, "needed in a signal handler");

struct sigaction previous;

// The handler writes a byte into it. The system may run the handler on any thread, so that it alone
// need not end the waiting of the one that reads.
int wake_read = -1, wake_write = -1;

void handle(int) {
  if (++received == InterruptCatcher::kMostInterrupts) _exit(128 + SIGINT);
  const int before = errno;
  // A full pipe wakes as well as one byte more would.
  [[maybe_unused]] const ssize_t written = write(wake_write, "", 1);
  errno = before;
}

void empty_wake_pipe() {
  std::array<char, 16> bytes;
  while (::read(wake_read, bytes.data(), bytes.size()) > 0) continue;
}

// Waits until standard input has something. False if SIGINT came instead.
bool wait_for_input() {
  while (received == 0) {
    std::array<pollfd, 2> waiting = {{{STDIN_FILENO, POLLIN, 0}, {wake_read, POLLIN, 0}}};
    const int count = poll(waiting.data(), waiting.size(), -1);
    if (count < 0 && errno != EINTR) return true;  // read() will say what is wrong
    if (count <= 0) continue;
    if (waiting[1].revents == 0) return true;
    empty_wake_pipe();  // by now the flag is up, unless that interrupt is forgotten
  }
  return false;
}

}  // namespace

InterruptCatcher::InterruptCatcher() {
  received = 0;
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    throw Error(ErrorKind::memory, "Ctrl-C", fmt::format("no pipe: {}", strerror(errno)));
  }
  wake_read = ends[0];
  wake_write = ends[1];
  struct sigaction action = {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;  // output goes on; waiting for input does not
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous);
}

InterruptCatcher::~InterruptCatcher() {
  sigaction(SIGINT, &previous, nullptr);
  close(std::exchange(wake_read, -1));
  close(std::exchange(wake_write, -1));
}

bool InterruptCatcher::interrupted() { return received > 0; }

void InterruptCatcher::forget() { received = 0; }

LineReader::Event LineReader::read(std::string& line) {
  while (!take_line(line)) {
    if (at_end_) return Event::end;
    if (!wait_for_input()) {
      InterruptCatcher::forget();
      buffer_.clear();
      looked_at_ = 0;
      return Event::interrupt;
    }
    std::array<char, 1 << 16> block;
    const ssize_t count = ::read(STDIN_FILENO, block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      fail_input("standard input", fmt::format("cannot read: {}", strerror(errno)),
                 "give messages by a pipe, a file or a terminal");
    }
    at_end_ = count == 0;
    buffer_.append(block.data(), static_cast<size_t>(count));
  }
  ++line_number_;
  return Event::line;
}

bool LineReader::take_line(std::string& line) {
  const size_t end = buffer_.find('\n', looked_at_);
  looked_at_ = buffer_.size();
  const size_t length = end == std::string::npos ? buffer_.size() : end;
  if (length > kMaxLineBytes) {
    fail_input("standard input",
               fmt::format("line {} is longer than {} bytes", line_number_ + 1,
                           with_commas(static_cast<int64_t>(kMaxLineBytes))),
               "messages are lines of text");
  }
  if (end == std::string::npos && !(at_end_ && !buffer_.empty())) return false;
  line = buffer_.substr(0, length);
  if (line.ends_with('\r')) line.pop_back();
  buffer_.erase(0, length + 1);
  looked_at_ = 0;
  return true;
}

bool append_line(std::string& message, std::string_view line) {
  const bool goes_on = line.ends_with('\\');
  if (goes_on) line.remove_suffix(1);
  message += line;
  if (goes_on) message += '\n';
  return !goes_on;
}

}  // namespace llm
