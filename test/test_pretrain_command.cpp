// The command line of `llm pretrain`: what it refuses, what it prints, what it leaves behind.
#include <gtest/gtest.h>

#include <fstream>

#include "support/pretrain_process.h"
#include "support/small_dataset.h"
#include "support/small_run.h"
#include "support/temporary_directory.h"
#include "train/checkpoint.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): a test of nothing else

class PretrainCommandTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TemporaryDirectory;
    data_ = make_small_dataset(shared_->path(), 6000);
  }
  static void TearDownTestSuite() { delete shared_; }

  ProcessResult run(const std::vector<std::string>& arguments) {
    return run_llm(arguments, pretrain_environment());
  }
  // A small run with these options added (a repeated option replaces the one before).
  ProcessResult pretrain(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"pretrain", "--data", data_.string(), "-o",
                                          path_.string()};
    for (const char* word : {"--layers", "1", "--heads", "2", "--channels", "16", "--context", "16",
                             "--batch", "2", "--steps", "4"}) {
      arguments.emplace_back(word);
    }
    for (size_t i = 0; i < more.size(); ++i) {
      const auto old = std::find(arguments.begin(), arguments.end(), more[i]);
      if (more[i].starts_with("--") && old != arguments.end()) arguments.erase(old, old + 2);
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  void expect_refused(const std::vector<std::string>& more, int exit_code,
                      const std::string& message) {
    const ProcessResult result = pretrain(more);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err << "\ndoes not contain\n"
                                                           << message;
    EXPECT_LT(result.seconds, 10) << message;
    EXPECT_FALSE(fs::exists(path_)) << message;
  }
  Json last_line(const ProcessResult& result) {
    std::string text = result.out;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return parse_json(text.substr(text.rfind('\n') + 1), "stdout");
  }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
  }

  static TemporaryDirectory* shared_;
  static fs::path data_;
  TemporaryDirectory directory_;
  fs::path path_ = directory_ / "run";
};
TemporaryDirectory* PretrainCommandTest::shared_ = nullptr;
fs::path PretrainCommandTest::data_;

TEST_F(PretrainCommandTest, RefusesNumbersThatMakeNoSense) {
  expect_refused({"--steps", "0"}, 2, "--steps");
  expect_refused({"--steps", "-5"}, 2, "--steps");
  expect_refused({"--steps", "many"}, 2, "--steps");
  expect_refused({"--steps", "99999999999999999999"}, 2, "--steps");
  expect_refused({"--heads", "3"}, 2, "16 channels cannot be divided among 3 heads");
  expect_refused({"--layers", "0"}, 2, "layers");
  expect_refused({"--channels", "-16"}, 2, "channels");
  expect_refused({"--context", "0"}, 2, "context");
  expect_refused({"--batch", "0"}, 2, "--batch");
  expect_refused({"--batch", "twelve"}, 2, "neither a number nor auto");
  expect_refused({"--total-batch-tokens", "100"}, 2, "for example 128");
  expect_refused({"--total-batch-tokens", "0"}, 2, "--total-batch-tokens");
  expect_refused({"--length", "17"}, 2, "--length");
  expect_refused({"--length", "0"}, 2, "--length");
  expect_refused({"--lr", "nan"}, 2, "--lr");
  expect_refused({"--lr", "inf"}, 2, "--lr");
  expect_refused({"--lr", "-1"}, 2, "--lr");
  expect_refused({"--min-lr", "1"}, 2, "--min-lr");
  expect_refused({"--warmup", "5"}, 2, "--warmup");
  expect_refused({"--beta1", "1"}, 2, "--beta1");
  expect_refused({"--beta2", "1.5"}, 2, "--beta2");
  expect_refused({"--weight-decay", "-1"}, 2, "--weight-decay");
  expect_refused({"--grad-clip", "nan"}, 2, "--grad-clip");
  expect_refused({"--dropout", "1"}, 2, "dropout");
  expect_refused({"--keep", "1"}, 2, "at least two");
  expect_refused({"--eval-every", "-1"}, 2, "--eval-every");
  expect_refused({"--seed", "-1"}, 2, "--seed");
}

TEST_F(PretrainCommandTest, RefusesNamesThatDoNotExist) {
  expect_refused({"--schedule", "zigzag"}, 2, "cosine, linear, constant, wsd");
  expect_refused({"--on-spike", "cry"}, 2, "skip, stop, ignore");
  expect_refused({"--model", "gpt7"}, 2, "presets: gpt2,");
  expect_refused({"--model", "no/such/config.json"}, 3, "no such file");
  expect_refused({"--dtype", "tf32"}, 2, "needs a GPU");
  expect_refused({"--dtype", "f31"}, 2, "f32, tf32, bf16");
  expect_refused({"--device", "cuda"}, 6, "--device: cuda: ");
  expect_refused({"--device", "tpu"}, 2, "auto, cpu");
  expect_refused({"--retune"}, 2, "--retune");
  expect_refused({"--steps", "4", "--epochs", "1"}, 2, "--epochs");
  expect_refused({"--nonsense"}, 2, "--nonsense");
  expect_refused({"--init", "nowhere"}, 3, "nowhere");
}

TEST_F(PretrainCommandTest, RefusesWrongData) {
  expect_refused({"--data", (directory_ / "nothing").string()}, 3, "nothing");
  expect_refused({"--data", "a=" + data_.string() + ":much"}, 2, "not a weight");
  expect_refused({"--data", "a=" + data_.string() + ":-1"}, 2, "not a weight");
  expect_refused({"--vocab-size", "10"}, 3, "vocabulary");
  expect_refused({"--vocab-size", "50257"}, 3, "vocabulary");
  expect_refused({"--context", "100000"}, 3, "shorter context");
  // Damage in the middle of a shard.
  const fs::path copy = directory_ / "damaged";
  fs::copy(data_, copy);
  for (const auto& entry : fs::directory_iterator(copy)) {
    if (entry.path().filename().string().starts_with("train_")) flip_byte(entry.path());
  }
  expect_refused({"--data", copy.string()}, 3, "train_");
}

TEST_F(PretrainCommandTest, RefusesMoreMemoryThanThereIs) {
  expect_refused({"--model", "gpt3-175b", "--layers", "96", "--heads", "96", "--channels", "12288"},
                 5, "not even --batch 1 fits");
  // Where a smaller micro-batch would do, its size is named.
  expect_refused({"--layers", "12", "--heads", "12", "--channels", "768", "--context", "1024",
                  "--batch", "4096"},
                 5, "the largest --batch that fits is ");
}

TEST_F(PretrainCommandTest, RefusesFoldersWithSomethingInThem) {
  make_directories(path_);
  write("run/notes.txt", "mine");
  ProcessResult result = pretrain({});
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find("not empty (notes.txt)"), std::string::npos) << result.err;
  fs::remove_all(path_);
  ASSERT_EQ(pretrain({}).exit_code, 0);
  result = pretrain({});
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find("--resume"), std::string::npos) << result.err;
}

TEST_F(PretrainCommandTest, ResumeNeedsARun) {
  const ProcessResult result = run(resume_arguments(path_));
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_NE(result.err.find("nothing to resume"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(PretrainCommandTest, TwoProcessesCannotWriteOneRun) {
  ASSERT_EQ(pretrain({}).exit_code, 0);
  const DirectoryLock lock(path_);
  const ProcessResult result = run(resume_arguments(path_));
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find(path_.string()), std::string::npos) << result.err;
}

TEST_F(PretrainCommandTest, DryRunTellsMemoryAndStepsAndWritesNothing) {
  const ProcessResult result = pretrain({"--dry-run", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_NE(result.out.find("4 steps of 32 tokens"), std::string::npos) << result.out;
  const Json json = last_line(result);
  EXPECT_EQ(json["steps"], 4);
  EXPECT_EQ(json["tokens_per_step"], 32);
  EXPECT_EQ(json["memory"]["gradients"], json["memory"]["parameters"]);
  int64_t sum = 0;
  for (const auto& [purpose, bytes] : json["memory"].items()) sum += bytes.get<int64_t>();
  EXPECT_EQ(json["memory_bytes"], sum);
  EXPECT_GT(json["estimated_seconds"].get<double>(), 0);
}

TEST_F(PretrainCommandTest, DryRunOfTheLargestPresetTakesNoMemory) {
  const ProcessResult result = pretrain({"--model", "gpt3-175b", "--layers", "96", "--heads", "96",
                                         "--channels", "12288", "--dry-run"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_LT(result.seconds, 10);
}

TEST_F(PretrainCommandTest, SummaryHasTheAgreedKeys) {
  const ProcessResult result = pretrain({"--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = last_line(result);
  for (const char* key : {"steps", "tokens", "train_loss", "val_loss", "best_val_loss", "best_step",
                          "tokens_per_second", "seconds", "peak_memory_bytes"}) {
    EXPECT_TRUE(json.contains(key) && json[key].is_number()) << key;
  }
  EXPECT_EQ(json["steps"], 4);
  EXPECT_EQ(json["tokens"], 128);
}

TEST_F(PretrainCommandTest, LeavesAModelFolder) {
  ASSERT_EQ(pretrain({}).exit_code, 0);
  const ModelConfig config = read_model_config(path_);
  EXPECT_EQ(config.channels, 16);
  EXPECT_NE(read_model_tokenizer(path_), nullptr);
  const std::string last = "checkpoints/" + checkpoint_name(4) + "/model.safetensors";
  EXPECT_EQ(file_hash(path_ / "model.safetensors"), file_hash(path_ / last));
  EXPECT_FALSE(fs::exists(path_ / "optimizer.safetensors"));
  EXPECT_EQ(list_checkpoints(path_ / "checkpoints"), (std::vector<int64_t>{4, 0}));
}

TEST_F(PretrainCommandTest, StartsFromAModelAndItsShape) {
  ASSERT_EQ(pretrain({"--untied"}).exit_code, 0);
  const fs::path second = directory_ / "second";
  const ProcessResult result =
      run({"pretrain", "--data", data_.string(), "-o", second.string(), "--init", path_.string(),
           "--steps", "2", "--batch", "2", "--lr", "1e-6"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(file_hash(second / "checkpoints" / checkpoint_name(0) / "model.safetensors"),
            file_hash(path_ / "model.safetensors"));
  EXPECT_FALSE(read_model_config(second).tied);
}

TEST_F(PretrainCommandTest, DropoutIsNotThatOfTheModelToStartFrom) {
  ASSERT_EQ(pretrain({"--dropout", "0.25"}).exit_code, 0);
  EXPECT_EQ(read_model_config(path_).attention_dropout, 0.25f);
  const fs::path second = directory_ / "second";
  const auto begin = [&](const std::string& option, const fs::path& from) {
    return run({"pretrain", "--data", data_.string(), "-o", second.string(), option, from.string(),
                "--steps", "1", "--batch", "2"});
  };
  ASSERT_EQ(begin("--init", path_).exit_code, 0);
  EXPECT_EQ(read_model_config(second).attention_dropout, 0);
  fs::remove_all(second);
  ASSERT_EQ(begin("--model", path_ / "config.json").exit_code, 0);
  EXPECT_EQ(read_model_config(second).residual_dropout, 0);
  // A resumed run keeps its own.
  ASSERT_EQ(run({"pretrain", "--resume", "-o", path_.string(), "--steps", "5"}).exit_code, 0);
  EXPECT_EQ(read_model_config(path_).attention_dropout, 0.25f);
}

TEST_F(PretrainCommandTest, ModelOfAnotherTokenizerIsRefused) {
  ASSERT_EQ(pretrain({}).exit_code, 0);
  const TemporaryDirectory other;
  // The same number of characters, one of them another.
  std::string text = small_text(6000);
  std::replace(text.begin(), text.end(), 'k', 'Z');
  std::ofstream(other / "other.txt") << text;
  ASSERT_EQ(run({"data", "prepare", (other / "other.txt").string(), "--tokenizer", "chars", "-o",
                 (other / "data").string()})
                .exit_code,
            0);
  const ProcessResult result =
      run({"pretrain", "--data", (other / "data").string(), "-o", (directory_ / "second").string(),
           "--init", path_.string(), "--steps", "2", "--batch", "2"});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_NE(result.err.find("tokenizer"), std::string::npos) << result.err;
}

TEST_F(PretrainCommandTest, MixesByWeightAndLogsTheShares) {
  const TemporaryDirectory other;
  // Both corpora use the same characters.
  const fs::path more = make_small_dataset(other.path(), 3000, 5);
  const ProcessResult result = pretrain(
      {"--data", "a=" + data_.string() + ":0.75", "b=" + more.string() + ":0.25", "--steps", "50"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::vector<Json> log = log_without_times(path_);
  const auto eval = std::find_if(log.rbegin(), log.rend(),
                                 [](const Json& record) { return record["type"] == "eval"; });
  EXPECT_NEAR((*eval)["mixture"]["a"].get<double>(), 0.75, 0.02);
  EXPECT_NEAR((*eval)["mixture"]["b"].get<double>(), 0.25, 0.02);
  EXPECT_TRUE((*eval)["parts"].contains("a"));
}

TEST_F(PretrainCommandTest, SamplesWhileTraining) {
  const ProcessResult result =
      pretrain({"--sample-every", "2", "--prompt", "the fox", "--sample-tokens", "30"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("the fox"), std::string::npos);
  int samples = 0;
  for (const Json& record : log_without_times(path_)) {
    if (record["type"] != "sample") continue;
    ++samples;
    EXPECT_EQ(record["text"].get<std::string>().size(), 30u);
  }
  EXPECT_EQ(samples, 2);
  fs::remove_all(path_);
  EXPECT_EQ(pretrain({"--sample-every", "2", "--prompt", "ÄÖÜ"}).exit_code, 2);
}

TEST_F(PretrainCommandTest, LossThatOverflowsExits7) {
  const ProcessResult result = pretrain({"--lr", "1000000", "--min-lr", "1000000", "--grad-clip",
                                         "0", "--weight-decay", "1000000", "--schedule", "constant",
                                         "--warmup", "0", "--steps", "50", "--on-spike", "ignore"});
  EXPECT_EQ(result.exit_code, 7) << result.err;
  EXPECT_NE(result.err.find("3 times in a row"), std::string::npos) << result.err;
}

TEST_F(PretrainCommandTest, BatchAutoAndEpochs) {
  const ProcessResult result =
      run(with_words({"pretrain", "--data", data_.string(), "-o", path_.string()},
                     "--layers 1 --heads 2 --channels 16 --context 16 --batch auto "
                     "--total-batch-tokens 256 --epochs 2 --dry-run --json"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = last_line(result);
  EXPECT_NEAR(json["epochs"].get<double>(), 2, 0.1);
  EXPECT_GE(json["epochs"].get<double>(), 2);
}

TEST_F(PretrainCommandTest, KeepBestPublishesTheBest) {
  const ProcessResult result = pretrain({"--lr", "3", "--steps", "20", "--eval-every", "1",
                                         "--keep-best", "--json", "--on-spike", "ignore"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const int64_t best = last_line(result)["best_step"];
  EXPECT_LT(best, 20);
  EXPECT_EQ(file_hash(path_ / "model.safetensors"),
            file_hash(path_ / "checkpoints" / checkpoint_name(best) / "model.safetensors"));
}

TEST_F(PretrainCommandTest, DamagedRunJsonIsRefused) {
  ASSERT_EQ(pretrain({}).exit_code, 0);
  for (const char* text : {"", "{", "[]", "{\"format\": 1}", "{\"format\": 1, \"format\": 1}"}) {
    write("run/run.json", text);
    const ProcessResult result = run(resume_arguments(path_));
    EXPECT_EQ(result.exit_code, 3) << text << result.err;
    EXPECT_NE(result.err.find("run.json"), std::string::npos) << result.err;
  }
}

TEST_F(PretrainCommandTest, HelpSaysWhatMayChangeOnResume) {
  const ProcessResult result = run({"pretrain", "--help"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* part : {"--steps, --batch, --eval-every", "[6e-4]", "Example:", "75"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part;
  }
}

}  // namespace
}  // namespace llm
