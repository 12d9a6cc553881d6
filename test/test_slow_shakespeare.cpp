// Training on real text reaches the loss that its recipe is known to reach: GPT-2 in small, by
// characters, on tinyshakespeare.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "support/pretrain_process.h"
#include "support/sample_data.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

// nanoGPT's setting for a CPU but for the schedule: 4 layers, 4 heads, 128 channels, no biases,
// context 64, 2000 steps of 12 sequences, learning rate 1e-3 to 1e-4, beta2 0.99. With nanoGPT's
// cosine the loss over the whole split is 1.89 to 1.91 by seed, here and in PyTorch; wsd gets
// below 1.90.
std::vector<std::string> recipe(const fs::path& data, const fs::path& run) {
  return with_words({LLM_BINARY_PATH, "pretrain", "--data", data.string(), "-o", run.string()},
                    "--layers 4 --heads 4 --channels 128 --context 64 --no-bias --batch 12 --steps "
                    "2000 --lr 1e-3 "
                    "--min-lr 1e-4 --warmup 100 --beta2 0.99 --schedule wsd --eval-every 0 --json");
}

TEST(SlowShakespeareTest, ReachesTheLossOfTheRecipe) {
  const auto text = sample_data("tinyshakespeare.txt");
  if (!text) GTEST_SKIP() << "no tinyshakespeare.txt";
  const TemporaryDirectory directory;
  const fs::path data = directory / "data";
  ProcessOptions options;
  options.timeout_seconds = 800;
  ASSERT_EQ(run_process({LLM_BINARY_PATH, "data", "prepare", text->string(), "--tokenizer", "chars",
                         "-o", data.string()},
                        options)
                .exit_code,
            0);
  const ProcessResult result = run_process(recipe(data, directory / "run"), options);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string line = result.out.substr(result.out.rfind('{'));
  const Json figures = parse_json(line, "the last line");
  const double val_loss = figures.at("val_loss").get<double>();
  fmt::print("validation loss {:.4f} after {} steps, {:.0f} tokens/s\n", val_loss,
             figures.at("steps").get<int64_t>(), figures.at("tokens_per_second").get<double>());
  EXPECT_EQ(figures.at("tokens").get<int64_t>(), 2000 * 12 * 64);
  EXPECT_LE(val_loss, 1.90);
  EXPECT_GE(val_loss, 1.70) << "too good for so small a model: does it see the validation text?";
}

}  // namespace
}  // namespace llm::test
