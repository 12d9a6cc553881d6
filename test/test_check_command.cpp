// llm check
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "base/json.h"
#include "cli/check_command.h"
#include "support/spoiled_backend.h"
#include "support/subprocess.h"

namespace llm::test {
namespace {

// The command itself on a backend that is wrong.
TEST(CheckCommand, ReportsAndFails) {
  const auto backend = make_spoiled_backend("scale", Spoil::element);
  CheckArguments arguments;
  arguments.ops = {"add", "scale"};
  arguments.seed = 3;
  arguments.quick = arguments.json = true;
  testing::internal::CaptureStdout();
  try {
    run_check(*backend, arguments);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 7);
    EXPECT_NE(std::string(error.what()).find("scale f32, scale bf16 failed"), std::string::npos);
    EXPECT_NE(error.hint().find("--seed 3"), std::string::npos);
  }
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_NE(text.find("FAILED"), std::string::npos);
  const size_t last = text.rfind("\n{");
  ASSERT_NE(last, std::string::npos);
  const Json json = parse_json(text.substr(last + 1), "output");
  EXPECT_EQ(json.at("seed"), 3);
  EXPECT_GT(json.at("failed"), 10);
  for (const Json& op : json.at("ops")) EXPECT_EQ(op.at("passed"), op.at("op") == "add");
}

// Times too: of ops that take none.
TEST(CheckCommand, PrintsATable) {
  const ProcessResult result =
      run_llm({"check", "accumulate_sum", "prepare_update", "--device", "cpu", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* text : {"roofline", "accumulate_sum", "prepare_update", "1e-10", "ok",
                           "of 2 ops: all within their bounds"}) {
    EXPECT_NE(result.out.find(text), std::string::npos) << text << " in " << result.out;
  }
  const Json json = last_line(result);
  EXPECT_EQ(json.at("failed"), 0);
  ASSERT_EQ(json.at("ops").size(), 2u);
  for (const Json& op : json.at("ops")) {
    EXPECT_EQ(op.at("dtype"), "f32");
    EXPECT_LE(op.at("error"), op.at("bound"));
    EXPECT_GT(op.at("microseconds"), 0);
    EXPECT_GT(op.at("roofline_share"), 0);
  }
}

TEST(CheckCommand, TheSameSeedGivesTheSameErrors) {
  const std::vector<std::string> words = {"check", "layernorm_forward", "--quick", "--device",
                                          "cpu",   "--verbose",         "--seed",  "11"};
  const ProcessResult first = run_llm(words), second = run_llm(words);
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(first.out, second.out);
  EXPECT_NE(first.out.find("17 x 16, no bias, inference"), std::string::npos) << first.out;
  const ProcessResult other =
      run_llm({"check", "layernorm_forward", "--quick", "--device", "cpu", "--verbose"});
  EXPECT_NE(first.out, other.out);
}

TEST(CheckCommand, RefusesAnAttentionThatDoesNotExist) {
  for (const auto& command : {std::vector<std::string>{"check"}, {"bench", "ops"}}) {
    std::vector<std::string> words = command;
    for (const char* word : {"gelu", "--device", "cpu", "--attention", "flash"}) {
      words.emplace_back(word);
    }
    const ProcessResult result = run_llm(words);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find("--attention"), std::string::npos) << result.err;
  }
}

TEST(CheckCommand, Help) {
  const ProcessResult result = run_llm({"check", "--help"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* text : {"--device", "--seed", "--quick", "--verbose", "--json", "Example:"}) {
    EXPECT_NE(result.out.find(text), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace llm::test
