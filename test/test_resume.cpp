// Resuming the program itself: the same bits and the same log as a run that was never stopped.
#include <gtest/gtest.h>
#include <signal.h>

#include "support/pretrain_process.h"
#include "support/small_dataset.h"
#include "support/small_run.h"
#include "support/temporary_directory.h"
#include "train/checkpoint.h"

namespace llm {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): a test of nothing else

class ResumeTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TemporaryDirectory;
    data_ = make_small_dataset(shared_->path(), 6000);
    straight_ = *shared_ / "straight";
    const ProcessResult result =
        run_llm(pretrain_arguments(data_, straight_), pretrain_environment());
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  static void TearDownTestSuite() { delete shared_; }

  ProcessResult run(const std::vector<std::string>& arguments,
                    std::vector<std::string> environment = {}) {
    ProcessOptions options = pretrain_environment();
    options.environment.insert(options.environment.end(), environment.begin(), environment.end());
    return run_llm(arguments, options);
  }
  // Stops at the file operation `fault` names.
  void run_stopped(const std::string& fault) {
    const ProcessResult result = run(pretrain_arguments(data_, path_), {"LLM_FAULT=" + fault});
    ASSERT_EQ(result.exit_code, 137) << result.err;
  }
  void expect_same_as_straight() {
    EXPECT_EQ(manifest_of(path_, 40), manifest_of(straight_, 40));
    EXPECT_EQ(file_hash(path_ / "model.safetensors"), file_hash(straight_ / "model.safetensors"));
    EXPECT_EQ(log_without_times(path_), log_without_times(straight_));
  }

  static TemporaryDirectory* shared_;
  static fs::path data_, straight_;
  TemporaryDirectory directory_;
  fs::path path_ = directory_ / "run";
};
TemporaryDirectory* ResumeTest::shared_ = nullptr;
fs::path ResumeTest::data_, ResumeTest::straight_;

TEST_F(ResumeTest, RepeatedRunIsTheSame) {
  ASSERT_EQ(run(pretrain_arguments(data_, path_)).exit_code, 0);
  expect_same_as_straight();
}

TEST_F(ResumeTest, KilledAndResumedIsTheSame) {
  run_stopped("stop:1:step_00000025");  // after 24 steps, at the first operation of a save
  const ProcessResult resumed = run(resume_arguments(path_));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("resuming after step 20"), std::string::npos) << resumed.err;
  expect_same_as_straight();
}

TEST_F(ResumeTest, TwentyAndTwentyMoreAreForty) {
  const std::vector<std::string> first = pretrain_arguments(data_, path_, {"--decay-steps", "40"});
  std::vector<std::string> twenty = first;
  *std::find(twenty.begin(), twenty.end(), "40") = "20";  // of --steps
  ASSERT_EQ(run(twenty).exit_code, 0);
  ASSERT_EQ(run(resume_arguments(path_, {"--steps", "40"})).exit_code, 0);
  expect_same_as_straight();
}

TEST_F(ResumeTest, AMovedDatasetIsStillTheSame) {
  run_stopped("stop:1:step_00000025");
  const fs::path moved = directory_ / "moved";
  fs::copy(data_, moved, fs::copy_options::recursive);
  const ProcessResult resumed = run(resume_arguments(path_, {"--data", moved.string()}));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(manifest_of(path_, 40), manifest_of(straight_, 40));
}

TEST_F(ResumeTest, StoppedByASignalAndResumedHasTheSameTensors) {
  // The signal comes while step 0 is saved; step 1 is finished and saved, then the run stops.
  const fs::path script = directory_ / "stop.sh";
  std::vector<std::string> command = {
      "bash", "-c",
      "\"$@\" & child=$!; while [ ! -e " + (path_ / "log.jsonl").string() +
          " ]; do sleep 0.002; done; kill -TERM $child; wait $child",
      "bash", LLM_BINARY_PATH};
  const std::vector<std::string> arguments = pretrain_arguments(data_, path_, {"--json"});
  command.insert(command.end(), arguments.begin(), arguments.end());
  const ProcessResult stopped = run_process(command, pretrain_environment());
  ASSERT_EQ(stopped.exit_code, 75) << stopped.err;
  EXPECT_NE(stopped.err.find("stopping after this step"), std::string::npos) << stopped.err;
  EXPECT_NE(stopped.err.find("stopped by SIGTERM after step"), std::string::npos) << stopped.err;
  EXPECT_NE(stopped.err.find("--resume"), std::string::npos) << stopped.err;
  const Json figures = parse_json(stopped.out, "stdout");
  EXPECT_EQ(figures["stopped_by"], "SIGTERM");
  EXPECT_GE(figures["steps"], 0);
  EXPECT_LT(figures["steps"], 40);
  ASSERT_EQ(run(resume_arguments(path_)).exit_code, 0);
  EXPECT_EQ(manifest_of(path_, 40), manifest_of(straight_, 40));
}

TEST_F(ResumeTest, ALostFieldShowsAndABrokenOneIsNotedNot) {
  run_stopped("stop:1:step_00000025");
  const fs::path kept = directory_ / "kept";
  fs::copy(path_, kept, fs::copy_options::recursive);
  ASSERT_EQ(run(resume_arguments(path_)).exit_code, 0);
  ASSERT_EQ(manifest_of(path_, 40), manifest_of(straight_, 40));
  // The same again with Adam's step count lost.
  change_state(kept, 20, [](Json& state) { state["updates"] = 0; });
  ASSERT_EQ(run(resume_arguments(kept)).exit_code, 0);
  EXPECT_NE(manifest_of(kept, 40), manifest_of(straight_, 40));
  EXPECT_NE(file_hash(kept / "model.safetensors"), file_hash(straight_ / "model.safetensors"));
}

TEST_F(ResumeTest, SampleCountThatDoesNotFitIsRefused) {
  run_stopped("stop:1:step_00000025");
  change_state(path_, 20, [](Json& state) { state["samples"] = 3; });
  const ProcessResult result = run(resume_arguments(path_));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("sample count"), std::string::npos) << result.err;
}

TEST_F(ResumeTest, DamagedNewestFallsBackLoudlyAndEndsTheSame) {
  run_stopped("stop:1:step_00000025");
  flip_byte(path_ / "checkpoints" / checkpoint_name(20) / "optimizer.safetensors");
  const ProcessResult resumed = run(resume_arguments(path_));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("warning: checkpoint of step 20"), std::string::npos) << resumed.err;
  EXPECT_NE(resumed.err.find("resuming after step 15"), std::string::npos) << resumed.err;
  expect_same_as_straight();
}

TEST_F(ResumeTest, NeverFromScratch) {
  run_stopped("stop:1:step_00000010");
  for (int64_t step : list_checkpoints(path_ / "checkpoints")) {
    truncate_half(path_ / "checkpoints" / checkpoint_name(step) / "model.safetensors");
  }
  const ProcessResult resumed = run(resume_arguments(path_));
  EXPECT_EQ(resumed.exit_code, 3) << resumed.err;
  EXPECT_NE(resumed.err.find("no good checkpoint"), std::string::npos) << resumed.err;
}

TEST_F(ResumeTest, StartStoppedBeforeStepZeroMayBeginAgain) {
  run_stopped("stop:5:step_00000000");
  EXPECT_EQ(run(resume_arguments(path_)).exit_code, 3);
  const ProcessResult again = run(pretrain_arguments(data_, path_));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  expect_same_as_straight();
}

// A sample of all moments in a save at which a process can die; test_slow_kills takes all of them.
TEST_F(ResumeTest, KilledAtAnyOperationOfASave) {
  for (int operation : {2, 7, 12, 17, 22, 27}) {
    const fs::path saved = path_;
    path_ = directory_ / ("run" + std::to_string(operation));
    run_stopped("stop:" + std::to_string(operation) + ":step_00000025");
    const ProcessResult resumed = run(resume_arguments(path_));
    ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_EQ(resumed.err.find("not usable"), std::string::npos) << resumed.err;
    expect_same_as_straight();
    path_ = saved;
  }
}

TEST_F(ResumeTest, FullDiskTrainsOnAndTheLastSaveExits4) {
  // Everything under checkpoints/ fails from step 10 on.
  const ProcessResult result =
      run(pretrain_arguments(data_, path_), {"LLM_FAULT=fail:60+:checkpoints/"});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_NE(result.err.find("training goes on"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("No space left"), std::string::npos) << result.err;
  const int64_t newest = list_checkpoints(path_ / "checkpoints").front();
  EXPECT_LT(newest, 40);
  EXPECT_EQ(log_without_times(path_).back()["step"], 40);  // the log went on
  ASSERT_EQ(run(resume_arguments(path_)).exit_code, 0);
  expect_same_as_straight();
}

TEST_F(ResumeTest, OptionsMayNotChange) {
  run_stopped("stop:1:step_00000010");
  const auto refused = [&](const std::vector<std::string>& more, const std::string& message) {
    const ProcessResult result = run(resume_arguments(path_, more));
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
  };
  refused({"--lr", "0.5"}, "--lr is 0.5, but the run began with 0.01");
  refused({"--seed", "3"}, "--seed is 3, but the run began with 42");
  refused({"--channels", "32"}, "--channels is 32, but the run began with 16");
  refused({"--no-bias"}, "--no-bias is true, but the run began with false");
  refused({"--steps", "3"}, "has done 5 already");
  refused({"--init", straight_.string()}, "--init");
  ASSERT_EQ(run(resume_arguments(path_, {"--lr", "0.01", "--eval-every", "20"})).exit_code, 0);
}

TEST_F(ResumeTest, OtherDataIsRefused) {
  run_stopped("stop:1:step_00000010");
  const TemporaryDirectory other;
  const fs::path data = make_small_dataset(other.path(), 6000, 2);
  const ProcessResult result = run(resume_arguments(path_, {"--data", data.string()}));
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find("--data"), std::string::npos) << result.err;
}

TEST_F(ResumeTest, FinishedRunMayGoOn) {
  ASSERT_EQ(run(pretrain_arguments(data_, path_)).exit_code, 0);
  const std::string before = file_hash(path_ / "model.safetensors");
  ASSERT_EQ(run(resume_arguments(path_)).exit_code, 0);
  EXPECT_EQ(file_hash(path_ / "model.safetensors"), before);
  EXPECT_EQ(log_without_times(path_), log_without_times(straight_));
  ASSERT_EQ(run(resume_arguments(path_, {"--steps", "45"})).exit_code, 0);
  EXPECT_NE(file_hash(path_ / "model.safetensors"), before);
}

}  // namespace
}  // namespace llm
