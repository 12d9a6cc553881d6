#include "base/error.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace llm {

Error::Error(ErrorKind kind, std::string where, std::string what, std::string hint)
    : kind_(kind), where_(std::move(where)), problem_(std::move(what)), hint_(std::move(hint)) {
  message_ = where_.empty() ? problem_ : where_ + ": " + problem_;
  if (!hint_.empty()) message_ += " (" + hint_ + ")";
}

void fail_usage(std::string where, std::string what, std::string hint) {
  throw Error(ErrorKind::usage, std::move(where), std::move(what), std::move(hint));
}

void fail_input(std::string where, std::string what, std::string hint) {
  throw Error(ErrorKind::input, std::move(where), std::move(what), std::move(hint));
}

void fail_disk(std::string where, std::string what, int error_number) {
  throw Error(ErrorKind::disk, std::move(where), std::move(what) + ": " + strerror(error_number),
              hint_for_errno(error_number));
}

const char* hint_for_errno(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "free some space on this disk, or write to another one";
    case ENOENT:
      return "check the path";
    case ENOTDIR:
      return "check the path: a file stands where a folder is needed";
    case EISDIR:
      return "check the path: a folder stands where a file is needed";
    case ENAMETOOLONG:
      return "choose a shorter path";
    case EACCES:
    case EPERM:
      return "check the permissions, or choose another place";
    case EROFS:
      return "this disk is read-only: choose another place";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files: ulimit -n 4096";
    case EIO:
      return "the disk may be failing";
    case ENOMEM:
      return "there is too little memory";
    default:
      return "";
  }
}

namespace internal {
void assertion_failed(const char* file, int line, const char* condition,
                      const std::string& message) {
  fmt::print(stderr, "llm: {}:{}: assertion failed: {}{}{}\n", file, line, condition,
             message.empty() ? "" : ": ", message);
  std::fflush(stderr);
  std::abort();
}
}  // namespace internal

std::string with_commas(long long value) {
  const std::string digits = std::to_string(value < 0 ? -static_cast<unsigned long long>(value)
                                                      : static_cast<unsigned long long>(value));
  std::string result = value < 0 ? "-" : "";
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) result += ',';
    result += digits[i];
  }
  return result;
}

}  // namespace llm
