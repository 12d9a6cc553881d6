// Processes killed without warning, again and again, while they save a checkpoint every step.
// LLM_SOAK=1 kills 200 times and dies at every single file operation of a save.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/rng.h"
#include "support/pretrain_process.h"
#include "support/small_dataset.h"
#include "support/temporary_directory.h"
#include "train/checkpoint.h"

namespace llm {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): a test of nothing else

bool soak() { return std::getenv("LLM_SOAK") != nullptr; }

// kill -9 after so many seconds.
ProcessResult run_killed(const std::vector<std::string>& arguments, double seconds) {
  ProcessOptions options = pretrain_environment();
  options.timeout_seconds = seconds;
  return run_llm(arguments, options);
}

int64_t newest(const fs::path& run) {
  const std::vector<int64_t> steps = list_checkpoints(run / "checkpoints");
  return steps.empty() ? -1 : steps.front();
}

std::vector<std::string> every_step(const fs::path& data, const fs::path& run) {
  return pretrain_arguments(data, run, {"--decay-steps", "100000"});
}

// Replaces the value behind an option.
std::vector<std::string> with(std::vector<std::string> arguments, const std::string& option,
                              const std::string& value) {
  *(std::find(arguments.begin(), arguments.end(), option) + 1) = value;
  return arguments;
}

TEST(SlowKillsTest, RandomKillsWhileSavingEveryStep) {
  const int kills = soak() ? 200 : 20;
  const TemporaryDirectory directory;
  const fs::path data = make_small_dataset(directory.path(), 6000);
  const fs::path run = directory / "run";
  const auto first = with(with(every_step(data, run), "--save-every", "1"), "--steps", "100000");
  // The first must get as far as step 0.
  for (double seconds = 1; newest(run) < 0; seconds *= 1.5) run_killed(first, seconds);

  const Random random(7, 0);
  int64_t lost = 0, resumed = 0, from_damaged = 0, early = 0;
  double longest = 0.5;  // seconds; follows how long this machine takes to load
  while (resumed < kills) {
    ASSERT_LT(early, 20 * kills) << "no run gets as far as loading its checkpoint";
    const int64_t before = newest(run);
    const double seconds = longest * random.uniform(static_cast<uint64_t>(resumed + early));
    const ProcessResult result = run_killed(resume_arguments(run), seconds);
    ASSERT_EQ(result.exit_code, 128 + 9) << result.err;
    ASSERT_GE(newest(run), before) << "a checkpoint disappeared";
    if (result.err.find("not usable") != std::string::npos) ++from_damaged;
    const size_t said = result.err.find("resuming after step ");
    if (said == std::string::npos) {
      ++early;
      longest *= 1.05;
      continue;
    }
    ++resumed;
    if (longest > 0.5) longest *= 0.96;
    const int64_t step = std::atoll(result.err.c_str() + said + 20);
    lost = std::max(lost, before - step);
  }
  const int64_t last = newest(run);
  const ProcessResult end = run_llm(resume_arguments(run, {"--steps", std::to_string(last + 10)}),
                                    pretrain_environment());
  ASSERT_EQ(end.exit_code, 0) << end.err;
  fmt::print(
      "{} kills after a resume and {} while it was loading; {} damaged checkpoints met, "
      "at most {} steps lost, {} steps reached\n",
      resumed, early, from_damaged, lost, last);
  EXPECT_EQ(from_damaged, 0);
  EXPECT_EQ(lost, 0);
  EXPECT_GT(last, kills / 4);

  // The same steps in one go.
  const fs::path straight = directory / "straight";
  const auto once = with(with(every_step(data, straight), "--save-every", "1000000"), "--steps",
                         std::to_string(last + 10));
  ASSERT_EQ(run_llm(once, pretrain_environment()).exit_code, 0);
  EXPECT_EQ(file_hash(run / "model.safetensors"), file_hash(straight / "model.safetensors"));
  EXPECT_EQ(manifest_of(run, last + 10), manifest_of(straight, last + 10));
  const auto steps_of = [](const fs::path& path) {
    std::vector<Json> records = log_without_times(path);
    std::erase_if(records, [](const Json& record) { return record["type"] == "save"; });
    return records;
  };
  EXPECT_EQ(steps_of(run), steps_of(straight));
}

TEST(SlowKillsTest, DeathAtEveryOperationOfASave) {
  const TemporaryDirectory directory;
  const fs::path data = make_small_dataset(directory.path(), 6000);
  const auto arguments = [&](const fs::path& run) {
    return with(pretrain_arguments(data, run), "--steps", "15");
  };
  const fs::path straight = directory / "straight";
  ASSERT_EQ(run_llm(arguments(straight), pretrain_environment()).exit_code, 0);
  int died = 0;
  for (int operation = 1;; operation += soak() ? 1 : 6) {
    const fs::path run = directory / std::to_string(operation);
    ProcessOptions options = pretrain_environment();
    options.environment.push_back(fmt::format("LLM_FAULT=stop:{}:step_00000010", operation));
    const ProcessResult stopped = run_llm(arguments(run), options);
    if (stopped.exit_code == 0) break;  // the save has fewer operations
    ASSERT_EQ(stopped.exit_code, 137) << stopped.err;
    ++died;
    const ProcessResult resumed = run_llm(resume_arguments(run), pretrain_environment());
    ASSERT_EQ(resumed.exit_code, 0) << operation << "\n" << resumed.err;
    EXPECT_EQ(resumed.err.find("not usable"), std::string::npos) << operation << resumed.err;
    EXPECT_EQ(manifest_of(run, 15), manifest_of(straight, 15)) << operation;
    EXPECT_EQ(log_without_times(run), log_without_times(straight)) << operation;
    remove_tree(run);
  }
  fmt::print("died at {} operations\n", died);
  EXPECT_GE(died, 5);
}

}  // namespace
}  // namespace llm
