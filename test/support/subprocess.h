// Programs started by tests.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace llm::test {

struct ProcessResult {
  int exit_code = -1;  // 128 + the signal's number when a signal ended it
  std::string out;
  std::string err;
  double seconds = 0;
};

struct ProcessOptions {
  std::vector<std::string> environment;  // NAME=VALUE, in addition to what is there
  std::string input;                     // for standard input
  std::string directory;                 // to start in; empty: this one's
  double timeout_seconds = 120;          // then it is killed, with all that it started
};

// The words of a command line without quoting, split at spaces, behind those of `front`.
std::vector<std::string> with_words(std::vector<std::string> front, const std::string& line);

// arguments[0] is searched in PATH.
ProcessResult run_process(const std::vector<std::string>& arguments,
                          const ProcessOptions& options = {});

// The program itself, from this build.
ProcessResult run_llm(std::vector<std::string> arguments, const ProcessOptions& options = {});

// Whether a program of this name is in PATH.
bool program_exists(const std::string& name);

// What a program printed, line by line, without the line ends.
std::vector<std::string> lines_of(const std::string& text);
// The JSON object in the last line of what a command printed.
Json last_line(const ProcessResult& result);

}  // namespace llm::test
