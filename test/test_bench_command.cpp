// llm bench
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/json.h"
#include "cli/op_cases.h"
#include "support/subprocess.h"

namespace llm::test {
namespace {

TEST(BenchCommand, TimesEveryOp) {
  for (const char* dtype : {"f32", "bf16"}) {
    const ProcessResult result =
        run_llm({"bench", "ops", "--device", "cpu", "--dtype", dtype, "--rows", "32", "--length",
                 "16", "--channels", "32", "--heads", "2", "--vocab-size", "100", "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const size_t last = result.out.rfind("\n{");
    ASSERT_NE(last, std::string::npos) << result.out;
    const Json json = parse_json(result.out.substr(last + 1), "output");
    EXPECT_EQ(json.at("dtype"), dtype);
    EXPECT_GT(json.at("copy_bytes_per_second"), 0);
    EXPECT_GT(json.at("linear_flops_per_second"), 0);
    std::set<std::string> timed;
    for (const Json& op : json.at("ops")) {
      timed.insert(op.at("op"));
      EXPECT_GT(op.at("microseconds"), 0) << op;
      EXPECT_GT(op.at("roofline_share"), 0) << op;
      EXPECT_NE(result.out.find(std::string(op.at("shape"))), std::string::npos) << op;
    }
    EXPECT_EQ(timed, std::set<std::string>(op_names().begin(), op_names().end()));
  }
}

TEST(BenchCommand, TimesTheOpsThatAreNamed) {
  const ProcessResult result = run_llm({"bench", "ops", "gelu", "add", "--device", "cpu", "--rows",
                                        "32", "--channels", "32", "--heads", "2"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("gelu_backward"), std::string::npos);
  EXPECT_NE(result.out.find("add "), std::string::npos);
  EXPECT_EQ(result.out.find("layernorm"), std::string::npos);
}

TEST(BenchCommand, TrainSaysWhatItIsAt) {
  const ProcessResult result = run_llm(
      {"bench", "train", "--device", "cpu", "--batch", "1", "--length", "8", "--steps", "1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(result.err.starts_with("making the model")) << result.err;
  EXPECT_NE(result.out.find("ms per step"), std::string::npos) << result.out;
}

TEST(BenchCommand, TrainsAdaptersAlone) {
  const ProcessResult result =
      run_llm({"bench", "train", "--device", "cpu", "--batch", "1", "--length", "8", "--steps", "1",
               "--lora-rank", "16", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("adapters of rank 16: 2,654,208 trained parameters"), std::string::npos)
      << result.out;
  const Json json = parse_json(result.out.substr(result.out.rfind("\n{") + 1), "output");
  EXPECT_EQ(json.at("trained_parameters"), 2654208);
  EXPECT_FALSE(json.contains("flops"));
}

TEST(BenchCommand, DecodeSaysHowFastTokensCome) {
  const ProcessResult result = run_llm({"bench", "decode", "--device", "cpu", "--prompt", "3",
                                        "--tokens", "4", "--sequences", "2", "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const size_t last = result.out.rfind("\n{");
  ASSERT_NE(last, std::string::npos) << result.out;
  const Json json = parse_json(result.out.substr(last + 1), "output");
  EXPECT_EQ(json.at("together").at("sequences"), 2);
  for (const char* part : {"alone", "together", "prefill"}) {
    EXPECT_GT(json.at(part).at("tokens_per_second"), 0) << part;
  }
  EXPECT_GT(json.at("alone").at("share_of_bandwidth_bound"), 0);
}

TEST(BenchCommand, Help) {
  const ProcessResult result = run_llm({"bench", "ops", "--help"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* text : {"--device", "--dtype", "--rows", "--heads", "--json", "Example:"}) {
    EXPECT_NE(result.out.find(text), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace llm::test
