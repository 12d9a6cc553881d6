// llm bench
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/json.h"
#include "cli/op_cases.h"
#include "support/small_model.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"
#include "weights/model_folder.h"

namespace llm::test {
namespace {

// The config of a small model, for its shape.
class BenchOfAShape : public testing::Test {
 protected:
  BenchOfAShape() {
    config_.set_dropout(0.1f);  // which is not measured
    write_model_config(directory_.path(), config_, DType::f32);
  }
  // `bench COMMAND --model CONFIG --device cpu MORE... --json` and its figures.
  ProcessResult bench(const char* command, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        "bench",    command, "--model", (directory_ / "config.json").string(),
        "--device", "cpu",   "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProcessResult result = run_llm(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    figures_ = last_line(result);
    return result;
  }

  TemporaryDirectory directory_;
  ModelConfig config_ = golden_config();  // its context is shorter than what is read by default
  Json figures_ = Json::object();
};

TEST(BenchCommand, TimesEveryOp) {
  for (const char* dtype : {"f32", "bf16"}) {
    const ProcessResult result =
        run_llm({"bench", "ops", "--device", "cpu", "--dtype", dtype, "--rows", "32", "--length",
                 "16", "--channels", "32", "--heads", "2", "--vocab-size", "100", "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const Json json = last_line(result);
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

TEST_F(BenchOfAShape, TrainSaysWhatItIsAt) {
  const ProcessResult result = bench("train", {"--batch", "1", "--length", "8", "--steps", "2"});
  EXPECT_TRUE(result.err.starts_with("making the model")) << result.err;
  EXPECT_NE(result.out.find("ms per step"), std::string::npos) << result.out;
  const double flops = figures_.at("flops_per_second"), rate = figures_.at("tokens_per_second");
  EXPECT_NEAR(flops / rate, training_flop_per_token(config_, 8), 1e-3 * flops / rate);
  EXPECT_GT(figures_.at("share_of_product"), 0);
  EXPECT_FALSE(figures_.contains("mfu"));  // the peak of a CPU is not known
}

TEST(BenchCommand, TrainRefusesWhatMakesNoSense) {
  const auto refused = [](const std::vector<std::string>& more, const std::string& message) {
    std::vector<std::string> arguments = {"bench", "train", "--device", "cpu"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProcessResult result = run_llm(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
  };
  for (const char* option :
       {"--batch", "--length", "--total-batch-tokens", "--lora-rank", "--steps"}) {
    refused({option, "-1"}, option);
  }
  refused({"--lora-targets", "q"}, "--lora-rank");
  refused({"--memory-limit", "nan"}, "--memory-limit");
  refused({"--memory-limit", "8"}, "is for GPUs");
  refused({"--retune"}, "--retune");
  refused({"--attention", "flash"}, "--attention");
}

TEST_F(BenchOfAShape, ReadsNoMoreThanAContextByDefault) {
  const ProcessResult result = bench("train", {"--batch", "1", "--steps", "1"});
  EXPECT_NE(result.out.find("1 x 32 tokens"), std::string::npos) << result.out;
}

TEST_F(BenchOfAShape, TrainsAdaptersAlone) {
  const ProcessResult result =
      bench("train", {"--batch", "1", "--length", "8", "--steps", "1", "--lora-rank", "4"});
  // 2 layers; q, k, v and the projection of width 48, and 48 x 192 twice.
  constexpr int64_t kExpected = 2 * 4 * (4 * (48 + 48) + 2 * (48 + 192));
  EXPECT_NE(result.out.find("adapters of rank 4: 6,912 trained parameters"), std::string::npos)
      << result.out;
  EXPECT_EQ(figures_.at("trained_parameters"), kExpected);
  EXPECT_FALSE(figures_.contains("flops_per_second"));
}

TEST_F(BenchOfAShape, DecodeSaysHowFastTokensCome) {
  bench("decode", {"--prompt", "3", "--tokens", "4", "--sequences", "2"});
  EXPECT_EQ(figures_.at("together").at("sequences"), 2);
  for (const char* part : {"alone", "together", "prefill"}) {
    EXPECT_GT(figures_.at(part).at("tokens_per_second"), 0) << part;
  }
  EXPECT_GT(figures_.at("alone").at("share_of_bandwidth_bound"), 0);
  EXPECT_GT(figures_.at("prefill").at("share_of_a_large_product"), 0);
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
