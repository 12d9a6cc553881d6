// llm finetune from what was fine-tuned already: a classifier learns on; what else it may not be.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cpu_ref/cpu_backend.h"
#include "support/finetune_process.h"
#include "support/pretrain_process.h"
#include "support/temporary_directory.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): a test of nothing else

class FinetuneFurther : public testing::Test {
 protected:
  // A classifier that knows "high" from "low", with its labels in the order that is not that of
  // their bytes.
  static void SetUpTestSuite() {
    shared_ = new TemporaryDirectory;
    texts_ = make_labeled_texts(*shared_ / "texts.csv", 80);
    const fs::path model = make_byte_model(*shared_ / "model");
    const ProcessResult result = llm(begin(model, *shared_ / "run", "--epochs 12 --lr 1e-2"));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    classifier_ = *shared_ / "classifier";
    make_directories(classifier_);
    for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"}) {
      fs::copy(*shared_ / "run" / name, classifier_ / name);
    }
    swap_labels(classifier_);
  }
  static void TearDownTestSuite() { delete shared_; }

  static ProcessResult llm(const std::vector<std::string>& arguments) {
    return run_llm(arguments, pretrain_environment());
  }
  static std::vector<std::string> begin(const fs::path& model, const fs::path& run,
                                        const std::string& more) {
    return with_words({"finetune", model.string(), "--task", "classify", "--train", texts_.string(),
                       "-o", run.string()},
                      more);
  }
  // Labels and the rows of the output layer the other way round: the same classifier.
  static void swap_labels(const fs::path& folder) {
    const auto backend = make_cpu_backend();
    ModelConfig config = read_model_config(folder);
    ASSERT_EQ(config.labels, std::vector<std::string>({"high", "low"}));
    const auto model = load_model(*backend, folder);
    ParameterStore& store = model->parameters();
    const int score = store.find("score.weight");
    std::vector<float> values = store.read(score, store.values());
    std::rotate(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
    store.write(score, store.values(), values);
    config.labels = {"low", "high"};
    write_model_folder(folder, {config, store, reader_of(*model), DType::f32, nullptr});
  }
  void expect_refused(const std::vector<std::string>& arguments,
                      const std::vector<std::string>& messages) {
    const ProcessResult result = llm(arguments);
    EXPECT_EQ(result.exit_code, 3) << result.err;
    for (const std::string& message : messages) {
      EXPECT_NE(result.err.find(message), std::string::npos) << result.err << "\nlacks " << message;
    }
    EXPECT_FALSE(fs::exists(path_));
  }

  static TemporaryDirectory* shared_;
  static fs::path texts_, classifier_;
  TemporaryDirectory directory_;
  fs::path path_ = directory_ / "run";
};
TemporaryDirectory* FinetuneFurther::shared_ = nullptr;
fs::path FinetuneFurther::texts_, FinetuneFurther::classifier_;

TEST_F(FinetuneFurther, AClassifierKeepsItsOutputLayerAndTheOrderOfItsLabels) {
  // Steps too small to learn anything: what it knows, it knew.
  for (const char* part : {"all", "head", "lora"}) {
    const fs::path folder = directory_ / part;
    const ProcessResult result = llm(
        begin(classifier_, folder, fmt::format("--steps 1 --lr 1e-9 --json --trainable {}", part)));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const Json figures = last_line(result);
    EXPECT_EQ(figures["labels"], Json({"low", "high"}));
    EXPECT_GE(figures["train_accuracy"].get<double>(), 0.95) << part;
    const ProcessResult asked = llm({"classify", folder.string(), "aba bca", "--json"});
    ASSERT_EQ(asked.exit_code, 0) << asked.err;
    EXPECT_EQ(last_line(asked)["label"], "low");
  }
}

TEST_F(FinetuneFurther, AResumedRunKnowsTheLabelsAndTheBaseAgain) {
  const std::string options = "--steps 6 --save-every 3 --lr 1e-3 --trainable lora --lora-rank 2";
  const fs::path straight = directory_ / "straight";
  ASSERT_EQ(llm(begin(classifier_, straight, options)).exit_code, 0);
  ProcessOptions stopped = pretrain_environment();
  stopped.environment.emplace_back("LLM_FAULT=stop:1:step_00000006");
  ASSERT_EQ(run_llm(begin(classifier_, path_, options), stopped).exit_code, 137);
  const ProcessResult resumed = llm({"finetune", "--resume", "-o", path_.string()});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(file_hash(path_ / "adapter_model.safetensors"),
            file_hash(straight / "adapter_model.safetensors"));
}

TEST_F(FinetuneFurther, PoolingIsThatOfTheClassifier) {
  const fs::path mean = directory_ / "mean", again = directory_ / "again";
  ASSERT_EQ(llm(begin(classifier_, mean, "--steps 1 --pool mean")).exit_code, 0);
  ASSERT_EQ(llm(begin(mean, again, "--steps 1")).exit_code, 0);
  EXPECT_EQ(read_model_config(again).pooling, Pooling::mean);
  const fs::path last = directory_ / "last", other = directory_ / "other";
  ASSERT_EQ(llm(begin(mean, last, "--steps 1 --pool last")).exit_code, 0);
  EXPECT_GT(read_model_config(last).pad_length, 0);
  const ProcessResult result = llm(begin(last, other, "--steps 1 --pool last-token"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(read_model_config(other).pad_length, 0);
}

TEST_F(FinetuneFurther, RowsOfAClassifierOfTheLastPositionStayAsLong) {
  const fs::path last = directory_ / "last", again = directory_ / "again";
  const fs::path other = directory_ / "other";
  ASSERT_EQ(llm(begin(classifier_, last, "--steps 1 --pool last --max-length 30")).exit_code, 0);
  ASSERT_EQ(read_model_config(last).pad_length, 30);
  const ProcessResult result = llm(begin(last, again, "--steps 1"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(read_model_config(again).pad_length, 30);
  EXPECT_NE(result.err.find("rows stay 30 tokens long"), std::string::npos) << result.err;
  ASSERT_EQ(llm(begin(last, other, "--steps 1 --max-length 28")).exit_code, 0);
  EXPECT_EQ(read_model_config(other).pad_length, 28);
}

TEST_F(FinetuneFurther, OtherLabelsAreRefused) {
  const fs::path three = directory_ / "three.csv";
  write_file_atomically(three,
                        "label,text\nlow,ab\nhigh,xy\nmiddle,mn\nlow,ba\nhigh,yx\nmiddle,nm\n");
  const auto with = [&](const fs::path& table, const std::string& more = "") {
    return with_words({"finetune", classifier_.string(), "--task", "classify", "--train",
                       table.string(), "-o", path_.string(), "--split", "4,1,1", "--steps", "1"},
                      more);
  };
  expect_refused(with(three), {"three.csv", "its labels are high, low, middle, but those of the",
                               classifier_.string() + " are low, high"});
  const fs::path others = directory_ / "others.csv";
  write_file_atomically(others, "label,text\nlow,ab\nHigh,xy\nlow,ba\nHigh,yx\nlow,b\nHigh,x\n");
  expect_refused(with(others), {"its labels are High, low"});
  // Where nothing but its shape is wanted they may be any.
  const ProcessResult result = llm(with(three, "--init random"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(read_model_config(path_).labels, std::vector<std::string>({"high", "low", "middle"}));
}

TEST_F(FinetuneFurther, WhatCannotBeginIsRefusedWithAWayOut) {
  const fs::path instructions = make_instructions(directory_ / "instructions.json", 40);
  expect_refused(
      {"finetune", classifier_.string(), "--task", "instruct", "--train", instructions.string(),
       "-o", path_.string()},
      {"a classifier of 2 labels, not a language model", "take the model that it was made from"});
  const fs::path adapters = directory_ / "adapters";
  ASSERT_EQ(llm(begin(classifier_, adapters, "--steps 1 --trainable lora")).exit_code, 0);
  expect_refused(
      begin(adapters, path_, "--steps 1"),
      {"holds adapters, not a whole model",
       fmt::format("`llm export '{}' --merge -o DIR` makes a model of them", adapters.string())});
  const fs::path whole = directory_ / "whole";
  ASSERT_EQ(llm({"export", adapters.string(), "--merge", "-o", whole.string()}).exit_code, 0);
  EXPECT_EQ(llm(begin(whole, path_, "--steps 1")).exit_code, 0);
}

}  // namespace
}  // namespace llm
