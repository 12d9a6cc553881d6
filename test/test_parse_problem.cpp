// Wrong values on the command line, as the program tells them.
#include <gtest/gtest.h>

#include "cli/parse_problem.h"
#include "support/subprocess.h"

namespace llm {
namespace {

TEST(ParseProblem, NumbersAreToldByWhatIsWrongWithThem) {
  const std::pair<const char*, const char*> cases[] = {
      {"--tokens: Value 1e3 not in range 1 to 1099511627776",
       "--tokens: 1e3 is not a whole number, such as 1000"},
      {"--tokens: Value 2.5 not in range 1 to 9", "--tokens: 2.5 is not a whole number, such as 2"},
      {"--tokens: Value 0 not in range 1 to 9", "--tokens: 0 is not in the range 1 to 9"},
      {"--tokens: Value 1e30 not in range 1 to 9", "--tokens: 1e30 is not in the range 1 to 9"},
      {"--tokens: Value abc not in range 1 to 9", "--tokens: \"abc\" is not a number"},
      {"--tokens: Value  not in range 1 to 9", "--tokens: \"\" is not a number"},
      {"Could not convert: --top-k = abc", "--top-k: \"abc\" is not a number"},
      {"Could not convert: --top-k = 1e3", "--top-k: \"1e3\" is not a whole number"},
      {"--out: At Most 1 required but received 2", "--out: given more than once"},
      {"--x: something else", "--x: something else"},
  };
  for (const auto& [problem, plain] : cases) EXPECT_EQ(plain_problem(problem), plain);
}

// That the parser still says what is looked for.
TEST(ParseProblem, OnTheCommandLine) {
  const auto told = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"generate", "model"});
    const test::ProcessResult result = test::run_llm(arguments);
    EXPECT_EQ(result.exit_code, 2);
    return result.err;
  };
  EXPECT_TRUE(told({"-n", "1e3"}).starts_with("llm: --tokens: 1e3 is not a whole number"));
  EXPECT_TRUE(told({"-n", "ten"}).starts_with("llm: --tokens: \"ten\" is not a number"));
  EXPECT_TRUE(told({"-n", "0"}).starts_with("llm: --tokens: 0 is not in the range 1 to"));
  EXPECT_TRUE(told({"--top-k", "x"}).starts_with("llm: --top-k: \"x\" is not a number"));
  EXPECT_TRUE(told({"-n", "1", "-n", "2"}).find("given more than once") != std::string::npos);
}

}  // namespace
}  // namespace llm
