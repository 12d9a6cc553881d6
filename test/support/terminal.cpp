#include "support/terminal.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace llm::test {

Terminal::Terminal(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), LLM_BINARY_PATH);
  child_ = forkpty(&screen_, nullptr, nullptr, nullptr);
  if (child_ != 0) return;
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

Terminal::~Terminal() {
  if (!ended_) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  close(screen_);
}

void Terminal::type(const std::string& keys) {
  EXPECT_EQ(write(screen_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

std::string Terminal::wait_for(const std::string& text) {
  while (true) {
    if (const size_t at = shown_.find(text); at != std::string::npos) {
      const std::string before = shown_.substr(0, at + text.size());
      shown_.erase(0, before.size());
      return before;
    }
    if (!read_more()) {
      ADD_FAILURE() << "\"" << text << "\" did not come; there is: " << shown_;
      return shown_;
    }
  }
}

int Terminal::wait_for_end() {
  while (read_more()) continue;
  int status = 0;
  waitpid(child_, &status, 0);
  ended_ = true;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Terminal::read_more() {
  struct pollfd screen = {screen_, POLLIN, 0};
  if (poll(&screen, 1, 60'000) != 1) return false;
  char block[4096];
  const ssize_t count = read(screen_, block, sizeof block);  // an error when the program ended
  if (count > 0) shown_.append(block, static_cast<size_t>(count));
  return count > 0;
}

}  // namespace llm::test
