// llm pretrain over processes started by mpirun: the same losses as one process, and a bounded end
// when a process dies, hangs or is told to stop.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/log.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

using test::ProcessOptions;
using test::ProcessResult;

class SlowMpi : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::program_exists("mpirun")) GTEST_SKIP() << "no mpirun";
    std::ofstream text(folder_ / "text.txt");
    for (uint64_t i = 0; i < 4000; ++i) {
      text << "word" << i * i % 97 << (i % 11 == 0 ? ".\n" : " ");
    }
    text.close();
    const ProcessResult prepared = test::run_llm(
        {"data", "prepare", path("text.txt"), "--tokenizer", "bytes", "-o", path("data")});
    ASSERT_EQ(prepared.exit_code, 0) << prepared.err;
    ProcessOptions alone;
    alone.environment = {"RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=localhost", "MASTER_PORT=29500"};
    const ProcessResult probe = test::run_process(command("probe", {"--batch", "12"}), alone);
    if (probe.err.find("this build has no MPI") != std::string::npos) GTEST_SKIP() << "no MPI";
    ASSERT_EQ(probe.exit_code, 6) << probe.err;
  }

  std::string path(const std::string& name) const { return folder_ / name; }

  std::vector<std::string> command(const std::string& run, std::vector<std::string> more) const {
    std::vector<std::string> words = llm::test::with_words(
        {LLM_BINARY_PATH, "pretrain", "--data", path("data"), "-o", path(run)},
        "--layers 2 --heads 2 --channels 32 --context 32 --lr 3e-3 --device cpu "
        "--total-batch-tokens 768");
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  // Through mpirun; with one rank the program as it is. `prologue` is shell code that each process
  // runs before it becomes the program ($$ is its process, $OMPI_COMM_WORLD_RANK its rank).
  ProcessResult pretrain(int ranks, const std::string& run, const std::vector<std::string>& more,
                         const std::string& prologue = "") const {
    ProcessOptions options;
    options.environment = {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                           "OMPI_MCA_btl_vader_single_copy_mechanism=none", "OMP_NUM_THREADS=1"};
    options.timeout_seconds = 240;
    std::vector<std::string> words;
    if (ranks > 1) words = {"mpirun", "-np", fmt::to_string(ranks), "--oversubscribe"};
    for (const char* word : {"bash", "-c"}) words.push_back(word);
    words.push_back(prologue + "\nexec \"$0\" \"$@\"");
    for (const std::string& word : command(run, more)) words.push_back(word);
    return test::run_process(words, options);
  }

  std::vector<Json> records(const std::string& run, const std::string& type) const {
    std::vector<Json> result;
    for (const Json& record : read_log(path(run) + "/log.jsonl")) {
      if (record.at("type") == type) result.push_back(record);
    }
    return result;
  }
  std::string bytes_of(const std::string& name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  // Same steps and evaluations, losses equal to float32 reduction error.
  void expect_same_losses(const std::string& run_a, const std::string& run_b) const {
    for (const auto& [type, key] : {std::pair{"step", "loss"}, std::pair{"eval", "val_loss"}}) {
      const std::vector<Json> a = records(run_a, type), b = records(run_b, type);
      ASSERT_EQ(a.size(), b.size()) << type;
      ASSERT_GT(a.size(), 1u) << type;
      for (size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(a[i].at("step"), b[i].at("step"));
        const double loss = a[i].at(key);
        EXPECT_NEAR(loss, b[i].at(key).get<double>(), 1e-5 * loss) << type << " " << i;
      }
    }
  }

  test::TemporaryDirectory folder_;
};

TEST_F(SlowMpi, AnyNumberOfProcessesHasTheSameLosses) {
  const std::vector<std::string> common = {"--steps", "20", "--eval-every", "10"};
  const auto with_batch = [&](const char* batch) {
    std::vector<std::string> words = common;
    words.insert(words.end(), {"--batch", batch});
    return words;
  };
  const ProcessResult one = pretrain(1, "one", with_batch("24"));
  ASSERT_EQ(one.exit_code, 0) << one.err;
  const ProcessResult two = pretrain(2, "two", with_batch("12"));
  ASSERT_EQ(two.exit_code, 0) << two.err;
  const ProcessResult accumulating = pretrain(2, "accumulating", with_batch("4"));
  ASSERT_EQ(accumulating.exit_code, 0) << accumulating.err;
  const ProcessResult three = pretrain(3, "three", with_batch("8"));
  ASSERT_EQ(three.exit_code, 0) << three.err;
  expect_same_losses("one", "two");
  expect_same_losses("one", "accumulating");
  expect_same_losses("one", "three");
  // Not because nothing was learned.
  const std::vector<Json> steps = records("one", "step");
  EXPECT_LT(steps.back().at("loss").get<double>(), steps.front().at("loss").get<double>() - 0.5);

  const ProcessResult again = pretrain(2, "again", with_batch("12"));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(bytes_of("two/model.safetensors"), bytes_of("again/model.safetensors"));
  EXPECT_GT(bytes_of("two/model.safetensors").size(), 10'000u);
}

TEST_F(SlowMpi, AnotherNumberOfProcessesContinuesARun) {
  const std::vector<std::string> start = {"--batch",       "12", "--steps",      "10",
                                          "--decay-steps", "20", "--eval-every", "5"};
  ASSERT_EQ(pretrain(2, "changed", start).exit_code, 0);
  const ProcessResult rest = pretrain(1, "changed", {"--resume", "--steps", "20", "--batch", "24"});
  ASSERT_EQ(rest.exit_code, 0) << rest.err;
  const ProcessResult straight =
      pretrain(1, "straight",
               {"--batch", "24", "--steps", "20", "--decay-steps", "20", "--eval-every", "5"});
  ASSERT_EQ(straight.exit_code, 0) << straight.err;
  expect_same_losses("straight", "changed");
}

// Waits until three steps are logged, then sends a signal to this rank.
std::string signal_one_rank(const std::string& run_path, const char* signal) {
  return fmt::format(
      "if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then\n"
      "  (until [ $(grep -c '\"step\",' '{}/log.jsonl' 2>/dev/null || true) -gt 3 ] 2>/dev/null; "
      "do sleep 0.1; done; kill -{} $$) &\n"
      "fi",
      run_path, signal);
}

TEST_F(SlowMpi, AStoppedProcessEndsTheOthersWithExitCode6) {
  const ProcessResult result =
      pretrain(2, "run", {"--batch", "12", "--steps", "1000000", "--timeout", "3"},
               signal_one_rank(path("run"), "STOP"));
  EXPECT_EQ(result.exit_code, 6) << result.err;
  EXPECT_NE(result.err.find("llm: rank 0 of 2: "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find(" at step "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("did not return within 3 s"), std::string::npos) << result.err;
  EXPECT_LT(result.seconds, 120);
}

TEST_F(SlowMpi, AKilledProcessEndsTheOthersAndTheRunCanContinue) {
  const ProcessResult result = pretrain(
      2, "run", {"--batch", "12", "--steps", "1000000", "--warmup", "2", "--save-every", "1"},
      signal_one_rank(path("run"), "KILL"));
  EXPECT_NE(result.exit_code, 0);
  EXPECT_LT(result.seconds, 120) << result.err;
  const int64_t last = records("run", "save").back().at("step");
  const ProcessResult resumed =
      pretrain(2, "run", {"--resume", "--steps", fmt::to_string(last + 5)});
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(records("run", "step").size(), static_cast<size_t>(last + 5));
}

TEST_F(SlowMpi, ASignalToOneProcessStopsAllAtTheSameStep) {
  const ProcessResult result = pretrain(2, "run", {"--batch", "12", "--steps", "1000000"},
                                        signal_one_rank(path("run"), "USR1"));
  EXPECT_EQ(result.exit_code, 75) << result.err;
  const std::vector<Json> saves = records("run", "save");
  ASSERT_FALSE(saves.empty());
  EXPECT_EQ(saves.back().at("step"), records("run", "step").back().at("step"));
}

}  // namespace
}  // namespace llm
