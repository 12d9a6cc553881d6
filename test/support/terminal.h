// The program on a terminal of its own.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace llm::test {

class Terminal {
 public:
  explicit Terminal(std::vector<std::string> arguments);  // those behind the program's name
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys);
  // Waits for `text` behind what was waited for before; what is shown up to its end.
  std::string wait_for(const std::string& text);
  // The exit code, when it ends by itself.
  int wait_for_end();
  // What came behind what was waited for.
  const std::string& shown() const { return shown_; }

 private:
  bool read_more();

  int screen_ = -1;
  pid_t child_ = -1;
  bool ended_ = false;
  std::string shown_;
};

}  // namespace llm::test
