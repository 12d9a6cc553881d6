// Options of `llm pretrain` on evaluation and memory, each with the effect that --help tells.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/finetune_process.h"
#include "support/pretrain_process.h"
#include "support/small_dataset.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

// A run of less than a second.
constexpr const char* kSmall =
    "--layers 3 --heads 2 --channels 16 --context 16 --batch 2 --steps 6 --eval-every 3 --lr 1e-2 "
    "--dropout 0.1 ";

class PretrainOptionsUsed : public testing::Test {
 protected:
  ProcessResult pretrain(const std::string& name, const std::string& words) {
    return run_llm(with_words({"pretrain", "--data", data_.string(), "-o",
                               (folder_ / name).string(), "--json"},
                              words),
                   pretrain_environment());
  }
  // A run of a small model: its last line.
  Json trained(const std::string& name, const std::string& more) {
    const ProcessResult result = pretrain(name, std::string(kSmall) + more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? last_line(result) : Json();
  }
  std::vector<Json> records(const std::string& name, const std::string& type) {
    std::vector<Json> found = log_without_times(folder_ / name);
    std::erase_if(found, [&](const Json& record) { return record["type"] != type; });
    return found;
  }

  TemporaryDirectory folder_;
  fs::path data_ = make_small_dataset(folder_.path(), 6000);
};

TEST_F(PretrainOptionsUsed, SoManyBatchesAreEvaluated) {
  const auto evaluated = [&](const std::string& name) {
    std::vector<int64_t> targets;
    for (const Json& record : records(name, "eval")) {
      targets.push_back(record["targets"].get<int64_t>());
    }
    return targets;
  };
  const Json whole = trained("whole", ""), one = trained("one", "--eval-batches 1"),
             three = trained("three", "--eval-batches 3"),
             many = trained("many", "--eval-batches 100000");
  // A batch is 2 sequences of 16 tokens; the validation split is a tenth of the text.
  EXPECT_EQ(evaluated("one"), std::vector<int64_t>(3, 32));
  EXPECT_EQ(evaluated("three"), std::vector<int64_t>(3, 96));
  const std::vector<int64_t> all = evaluated("whole");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_GT(all[0], 590);
  EXPECT_LT(all[0], 610);
  EXPECT_EQ(evaluated("many"), all);
  EXPECT_EQ(many["val_loss"], whole["val_loss"]);
  EXPECT_NE(one["val_loss"], whole["val_loss"]);
  EXPECT_NE(one["val_loss"], three["val_loss"]);
  EXPECT_EQ(one["train_loss"], whole["train_loss"]);  // training is the same
  EXPECT_EQ(records("one", "step"), records("whole", "step"));
  const ProcessResult refused = pretrain("none", std::string(kSmall) + "--eval-batches -1");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("--eval-batches"), std::string::npos) << refused.err;
}

TEST_F(PretrainOptionsUsed, RecomputingGivesTheSameLosses) {
  const Json kept = trained("kept", ""), again = trained("again", "--recompute");
  EXPECT_EQ(again["train_loss"], kept["train_loss"]);
  EXPECT_EQ(again["val_loss"], kept["val_loss"]);
  EXPECT_EQ(records("again", "step"), records("kept", "step"));
  EXPECT_EQ(file_hash(folder_ / "again" / "model.safetensors"),
            file_hash(folder_ / "kept" / "model.safetensors"));
}

TEST_F(PretrainOptionsUsed, RecomputingPlansLessMemory) {
  const auto planned = [&](const std::string& more) {
    const ProcessResult result = pretrain(
        "planned",
        "--layers 12 --heads 4 --channels 64 --context 128 --batch 16 --steps 2 --dry-run " + more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_FALSE(fs::exists(folder_ / "planned"));
    return result.exit_code == 0 ? last_line(result) : Json();
  };
  const Json kept = planned(""), again = planned("--recompute");
  const auto activations = [](const Json& plan) {
    return plan["memory"]["activations"].get<double>();
  };
  EXPECT_LT(activations(again), activations(kept) / 4);
  // The sum has the program itself in it, which is larger under sanitizers.
  const double less = kept["memory_bytes"].get<double>() - again["memory_bytes"].get<double>();
  EXPECT_GT(less, 0.9 * (activations(kept) - activations(again)));
  for (const char* purpose : {"parameters", "gradients", "optimizer state"}) {
    EXPECT_EQ(again["memory"][purpose], kept["memory"][purpose]) << purpose;
  }
}

TEST_F(PretrainOptionsUsed, AMemoryLimitIsForGpus) {
  for (const char* limit : {"1", "0.5"}) {
    const ProcessResult result =
        pretrain("run", std::string(kSmall) + "--device cpu --memory-limit " + limit);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_NE(result.err.find("--memory-limit: is for GPUs"), std::string::npos) << result.err;
  }
  for (const char* limit : {"-1", "nan", "much"}) {
    const ProcessResult result =
        pretrain("run", std::string(kSmall) + "--device cpu --memory-limit " + limit);
    EXPECT_EQ(result.exit_code, 2) << limit;
    EXPECT_NE(result.err.find("--memory-limit"), std::string::npos) << result.err;
  }
  EXPECT_FALSE(fs::exists(folder_ / "run"));
}

}  // namespace
}  // namespace llm::test
