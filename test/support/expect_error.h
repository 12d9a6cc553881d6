// Expectations about llm::Error.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace llm::test {

// call() throws Error of this kind, with `part` somewhere in its message.
template <typename Call>
void expect_error(ErrorKind kind, const std::string& part, const Call& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown; expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), static_cast<int>(kind)) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
        << error.what() << "\ndoes not contain\n"
        << part;
  }
}

}  // namespace llm::test
