// The error type, its exit codes and its message.
#include <gtest/gtest.h>

#include <cerrno>
#include <climits>
#include <string>

#include "base/error.h"

namespace llm {
namespace {

template <typename Call>
Error caught(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorKind::usage, "", "");
}

TEST(Error, KindsAreTheExitCodes) {
  const auto code = [](ErrorKind kind) { return Error(kind, "", "x").exit_code(); };
  EXPECT_EQ(code(ErrorKind::usage), 2);
  EXPECT_EQ(code(ErrorKind::input), 3);
  EXPECT_EQ(code(ErrorKind::disk), 4);
  EXPECT_EQ(code(ErrorKind::memory), 5);
  EXPECT_EQ(code(ErrorKind::device), 6);
  EXPECT_EQ(code(ErrorKind::numerics), 7);
  EXPECT_EQ(code(ErrorKind::preempted), 75);
}

TEST(Error, MessageHasWhereWhatAndHint) {
  const Error full(ErrorKind::input, "a.bin", "1 byte, header says 2", "truncated?");
  EXPECT_STREQ(full.what(), "a.bin: 1 byte, header says 2 (truncated?)");
  EXPECT_EQ(full.where(), "a.bin");
  EXPECT_EQ(full.problem(), "1 byte, header says 2");
  EXPECT_EQ(full.hint(), "truncated?");
  EXPECT_STREQ(Error(ErrorKind::input, "a.bin", "bad").what(), "a.bin: bad");
  EXPECT_STREQ(Error(ErrorKind::usage, "", "bad", "good").what(), "bad (good)");
}

TEST(Error, ShorthandsThrowTheirKind) {
  EXPECT_EQ(caught([] { fail_usage("--steps", "is 0"); }).kind(), ErrorKind::usage);
  EXPECT_EQ(caught([] { fail_input("file", "is bad"); }).kind(), ErrorKind::input);
  const Error disk = caught([] { fail_disk("file", "write", EIO); });
  EXPECT_EQ(disk.kind(), ErrorKind::disk);
  EXPECT_STREQ(disk.what(), "file: write: Input/output error (the disk may be failing)");
}

TEST(Error, AssertionNamesPlaceConditionAndValues) {
  const int value = 2;
  LLM_ASSERT(value == 2);
  LLM_ASSERT(value == 2, "never formatted {}", value);
  EXPECT_DEATH(LLM_ASSERT(value == 3),
               "llm: .*test_error.cpp:[0-9]+: assertion failed: value == 3\n");
  EXPECT_DEATH(LLM_ASSERT(value == 3, "value is {}", value),
               "assertion failed: value == 3: value is 2");
}

TEST(Error, WithCommas) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(-1000), "-1,000");
  EXPECT_EQ(with_commas(-999), "-999");
  EXPECT_EQ(with_commas(1048576), "1,048,576");
  EXPECT_EQ(with_commas(LLONG_MAX), "9,223,372,036,854,775,807");
  EXPECT_EQ(with_commas(LLONG_MIN), "-9,223,372,036,854,775,808");
}

}  // namespace
}  // namespace llm
