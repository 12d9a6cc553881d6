// The one error type for everything a user, a file or a disk can get wrong, and the assertion for
// what only a programmer can get wrong.
#pragma once

#include <fmt/format.h>

#include <exception>
#include <string>
#include <string_view>

namespace llm {

// The values are the program's exit codes.
enum class ErrorKind {
  usage = 2,       // a wrong command line
  input = 3,       // a bad file, or one that is not there
  disk = 4,        // a write, sync or rename that failed
  memory = 5,      // not enough memory for what was asked
  device = 6,      // GPU or communication between ranks
  numerics = 7,    // NaN or Inf that would not go away
  preempted = 75,  // stopped by a signal after saving; run again to continue
};

// Thrown anywhere, caught once in main(), printed as "llm: WHERE: WHAT (HINT)".
class Error : public std::exception {
 public:
  // where: file (and offset), option or rank, may be empty. what: what is wrong, with the numbers.
  // hint: what to do about it, may be empty.
  Error(ErrorKind kind, std::string where, std::string what, std::string hint = {});

  const char* what() const noexcept override { return message_.c_str(); }
  ErrorKind kind() const { return kind_; }
  int exit_code() const { return static_cast<int>(kind_); }
  const std::string& where() const { return where_; }
  const std::string& problem() const { return problem_; }
  const std::string& hint() const { return hint_; }

 private:
  ErrorKind kind_;
  std::string where_, problem_, hint_, message_;
};

// Returns call(). An Error without a hint that leaves it gets this one: for the code that knows
// what a file is for, around the code that reads it.
template <typename Call>
auto with_hint(const char* hint, const Call& call) {
  try {
    return call();
  } catch (const Error& error) {
    if (!error.hint().empty()) throw;
    throw Error(error.kind(), error.where(), error.problem(), hint);
  }
}

// Returns call(). An Error that leaves it is said to be at `where`: for the code that knows what a
// text is called, around the code that knows the text alone.
template <typename Call>
auto with_where(const std::string& where, const Call& call) {
  try {
    return call();
  } catch (const Error& error) {
    throw Error(error.kind(), where, error.problem(), error.hint());
  }
}

// Shorthands for the kinds that most code throws.
[[noreturn]] void fail_usage(std::string where, std::string what, std::string hint = {});
[[noreturn]] void fail_input(std::string where, std::string what, std::string hint = {});
// Appends the text of errno to `what`, and what may help against it.
[[noreturn]] void fail_disk(std::string where, std::string what, int error_number);

// What may help against a failed system call; empty where nothing is known.
const char* hint_for_errno(int error_number);

namespace internal {
[[noreturn]] void assertion_failed(const char* file, int line, const char* condition,
                                   const std::string& message);
}  // namespace internal

// 1048576 -> "1,048,576": how messages write counts.
std::string with_commas(long long value);

}  // namespace llm

// On in every build. The arguments after the condition are a fmt format string and its values.
#define LLM_ASSERT(condition, ...)                                      \
  do {                                                                  \
    if (!(condition)) [[unlikely]]                                      \
      ::llm::internal::assertion_failed(__FILE__, __LINE__, #condition, \
                                        ::fmt::format("" __VA_ARGS__)); \
  } while (false)
