// The command line of `llm finetune`: what it refuses, what it prints, what it leaves behind, and
// that it goes on exactly where it was stopped.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/finetune_process.h"
#include "support/pretrain_process.h"
#include "support/temporary_directory.h"
#include "train/checkpoint.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): a test of nothing else

class FinetuneCommandTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TemporaryDirectory;
    model_ = make_byte_model(*shared_ / "model");
    texts_ = make_labeled_texts(*shared_ / "texts.csv", 80);
    instructions_ = make_instructions(*shared_ / "instructions.json", 40);
  }
  static void TearDownTestSuite() { delete shared_; }

  ProcessResult run(const std::vector<std::string>& arguments,
                    const std::vector<std::string>& environment = {}) {
    ProcessOptions options = pretrain_environment();
    options.environment.insert(options.environment.end(), environment.begin(), environment.end());
    return run_llm(arguments, options);
  }
  std::vector<std::string> classify(const fs::path& folder, const std::string& more = "") {
    return with_words({"finetune", model_.string(), "--task", "classify", "--train",
                       texts_.string(), "-o", folder.string()},
                      more);
  }
  std::vector<std::string> instruct(const fs::path& folder, const std::string& more = "") {
    return with_words({"finetune", model_.string(), "--task", "instruct", "--train",
                       instructions_.string(), "-o", folder.string()},
                      more);
  }
  std::vector<std::string> resume(const fs::path& folder, const std::string& more = "") {
    return with_words({"finetune", "--resume", "-o", folder.string()}, more);
  }
  void expect_refused(const std::vector<std::string>& arguments, int exit_code,
                      const std::string& message) {
    const ProcessResult result = run(arguments);
    EXPECT_EQ(result.exit_code, exit_code) << message << "\n" << result.err;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err << "\ndoes not contain\n"
                                                           << message;
    EXPECT_FALSE(fs::exists(path_)) << message;
  }
  fs::path write(const std::string& name, const std::string& text) {
    write_file_atomically(directory_ / name, text);
    return directory_ / name;
  }
  // The run that is stopped at a save and resumed is the one that is not.
  void expect_exact_resume(const std::vector<std::string>& straight,
                           const std::vector<std::string>& stopped, const std::string& weights) {
    const fs::path whole = directory_ / "straight";
    ASSERT_EQ(run(straight).exit_code, 0);
    ASSERT_EQ(run(stopped, {"LLM_FAULT=stop:1:step_00000010"}).exit_code, 137);
    const ProcessResult resumed = run(resume(path_));
    ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_NE(resumed.err.find("resuming after step 5"), std::string::npos) << resumed.err;
    EXPECT_EQ(manifest_of(path_, 14), manifest_of(whole, 14));
    EXPECT_EQ(file_hash(path_ / weights), file_hash(whole / weights));
    EXPECT_EQ(log_without_times(path_), log_without_times(whole));
  }

  static TemporaryDirectory* shared_;
  static fs::path model_, texts_, instructions_;
  TemporaryDirectory directory_;
  fs::path path_ = directory_ / "run";
};
TemporaryDirectory* FinetuneCommandTest::shared_ = nullptr;
fs::path FinetuneCommandTest::model_, FinetuneCommandTest::texts_,
    FinetuneCommandTest::instructions_;

TEST_F(FinetuneCommandTest, AClassifierLearns) {
  const ProcessResult result =
      run(classify(path_, "--epochs 12 --lr 1e-2 --json --split 0.5,0.2,0.3"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json figures = last_line(result);
  EXPECT_GE(figures["train_accuracy"].get<double>(), 0.95);
  EXPECT_GE(figures["val_accuracy"].get<double>(), 0.9);
  EXPECT_GE(figures["test_accuracy"].get<double>(), 0.9);
  EXPECT_GE(figures["test_f1"].get<double>(), 0.9);
  EXPECT_EQ(figures["confusion"].size(), 2);
  EXPECT_EQ(figures["parts"]["test"]["texts"], 24);
  EXPECT_EQ(figures["labels"], Json({"high", "low"}));
  EXPECT_NE(result.out.find("precision"), std::string::npos) << result.out;
  EXPECT_NE(result.err.find("buckets by length save"), std::string::npos) << result.err;
  EXPECT_EQ(read_json_file(path_ / "report.json"), figures);

  const ModelConfig config = read_model_config(path_);
  EXPECT_EQ(config.labels, std::vector<std::string>({"high", "low"}));
  EXPECT_NE(SafetensorsFile(path_ / "model.safetensors").find("score.weight"), nullptr);
  EXPECT_TRUE(fs::exists(path_ / "tokenizer.json"));
  EXPECT_TRUE(fs::exists(path_ / "data" / "test.csv"));
  int64_t evaluations = 0;
  for (const Json& record : log_without_times(path_)) {
    if (record["type"] != "eval") continue;
    ++evaluations;
    EXPECT_TRUE(record.contains("val_accuracy"));
  }
  EXPECT_EQ(evaluations, 13);  // before the first step and after each epoch
}

TEST_F(FinetuneCommandTest, EveryPoolingAndPartIsTrained) {
  for (const char* more :
       {"--pool mean --trainable last-block", "--pool last", "--pool mean --trainable head",
        "--class-weights high=2,low=1 --trainable lora", "--init random --class-weights balanced",
        "--trainable lora --lora-targets all --lora-rank 2"}) {
    const fs::path folder = directory_ / std::to_string(std::hash<std::string>()(more));
    const ProcessResult result =
        run(classify(folder, fmt::format("--epochs 12 --lr 1e-2 --json {}", more)));
    ASSERT_EQ(result.exit_code, 0) << more << result.err;
    const Json figures = last_line(result);
    EXPECT_GE(figures["train_accuracy"].get<double>(), 0.85) << more;
  }
}

TEST_F(FinetuneCommandTest, FrozenWeightsStayAsTheyAre) {
  ASSERT_EQ(run(classify(path_, "--epochs 1 --trainable last-block --lr 1e-2")).exit_code, 0);
  const SafetensorsFile before(model_ / "model.safetensors"), after(path_ / "model.safetensors");
  const auto same = [&](const std::string& name) {
    const TensorInfo *a = before.find(name), *b = after.find(name);
    std::vector<float> old_values(static_cast<size_t>(a->elements())), values(old_values.size());
    before.read_f32(*a, old_values);
    after.read_f32(*b, values);
    return old_values == values;
  };
  EXPECT_TRUE(same("transformer.wte.weight"));
  EXPECT_TRUE(same("transformer.wpe.weight"));
  EXPECT_FALSE(same("transformer.h.0.attn.c_attn.weight"));  // the last block of one
  EXPECT_FALSE(same("transformer.ln_f.weight"));
}

TEST_F(FinetuneCommandTest, ResumedClassifierIsTheSame) {
  const std::string options =
      "--steps 14 --lr 1e-2 --save-every 5 --eval-every 5 --dropout 0.1 --balance";
  expect_exact_resume(classify(directory_ / "straight", options), classify(path_, options),
                      "model.safetensors");
}

TEST_F(FinetuneCommandTest, ResumedAssistantIsTheSame) {
  const std::string options =
      "--steps 14 --lr 1e-2 --save-every 5 --eval-every 5 --sample-every 7 --mask-prompt "
      "--answer-tokens 4 --batch 4 --total-batch 8 --template chatml";
  expect_exact_resume(instruct(directory_ / "straight", options), instruct(path_, options),
                      "model.safetensors");
}

TEST_F(FinetuneCommandTest, ResumedAdaptersAreTheSame) {
  const std::string options =
      "--steps 14 --lr 1e-2 --save-every 5 --trainable lora --lora-rank 4 --lora-dropout 0.1 "
      "--lora-targets all";
  expect_exact_resume(classify(directory_ / "straight", options), classify(path_, options),
                      "adapter_model.safetensors");
}

TEST_F(FinetuneCommandTest, ResumingRefusesWhatMayNotChange) {
  const std::string options = "--steps 4 --save-every 2 --sample-every 0 --answer-tokens 4";
  ASSERT_EQ(run(instruct(path_, options)).exit_code, 0);
  const auto refused = [&](const std::vector<std::string>& arguments, const std::string& message) {
    const ProcessResult result = run(arguments);
    EXPECT_NE(result.exit_code, 0) << message;
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err << message;
  };
  refused(resume(path_, "--lr 1e-3"), "--lr is");
  refused(resume(path_, "--mask-prompt"), "--mask-prompt is true");
  refused(resume(path_, "--total-batch 16"), "--total-batch");
  refused(resume(path_, "--train x.json"), "--train");
  refused(resume(path_, "--quoting csv"), "--quoting");
  refused(resume(path_, "--label-column a"), "--label-column");
  refused({"pretrain", "--resume", "-o", path_.string()}, "one of fine-tuning");
  refused(instruct(path_, options), "there is a run in this folder");
  const ProcessResult longer = run(resume(path_, "--steps 6 --json"));
  ASSERT_EQ(longer.exit_code, 0) << longer.err;
  EXPECT_EQ(last_line(longer)["steps"], 6);
  write_file_atomically(path_ / "data" / "train.jsonl",
                        "{\"instruction\": \"a\", \"output\": \"b\"}\n");
  refused(resume(path_, "--steps 8"), "not the examples that the run began with");
}

TEST_F(FinetuneCommandTest, AnAssistantAnswersHeldOutInstructions) {
  const ProcessResult result = run(instruct(
      path_,
      "--epochs 2 --lr 1e-2 --split 30,4,6 --split-order file --template book --mask-prompt "
      "--answers 1 --answer-tokens 6 --json"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json figures = last_line(result);
  EXPECT_GT(figures["train_loss"].get<double>(), 0);
  EXPECT_GT(figures["val_loss"].get<double>(), 0);
  const Json all = read_json_file(instructions_);
  const Json responses = read_json_file(path_ / "responses.json");
  ASSERT_EQ(responses.size(), 6);
  EXPECT_EQ(responses[0]["instruction"], all[30]["instruction"]);  // file order: test before val
  EXPECT_EQ(responses[0]["output"], all[30]["output"]);
  EXPECT_TRUE(responses[0]["model_response"].is_string());
  EXPECT_EQ(read_json_file(path_ / "llm_chat.json"), Json({{"template", "book"}}));
  int64_t answers = 0;
  for (const Json& record : log_without_times(path_)) answers += record["type"] == "sample";
  EXPECT_EQ(answers, 2);
  EXPECT_NE(result.err.find("wanted: "), std::string::npos);
}

TEST_F(FinetuneCommandTest, PackedRowsTrainAndNeedFewerSteps) {
  const Json plain = last_line(run(instruct(path_, "--dry-run --json")));
  const Json packed = last_line(run(instruct(path_, "--dry-run --json --pack --template chatml")));
  EXPECT_LE(packed["steps_per_epoch"].get<int64_t>(), plain["steps_per_epoch"].get<int64_t>());
  const ProcessResult result = run(
      instruct(path_, "--pack --template chatml --epochs 2 --answer-tokens 4 --max-length 256"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("packing saves"), std::string::npos) << result.err;
}

TEST_F(FinetuneCommandTest, AdaptersAloneAreSavedAndCanBeMerged) {
  const ProcessResult result = run(instruct(
      path_,
      "--steps 4 --trainable lora --lora-targets q,v --lora-rank 2 --merge --answer-tokens 4 "
      "--lr 1e-2 --keep-best"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_FALSE(fs::exists(path_ / "model.safetensors"));
  EXPECT_EQ(SafetensorsFile(path_ / "adapter_model.safetensors").tensors().size(), 2);
  const Json config = read_json_file(path_ / "adapter_config.json");
  EXPECT_EQ(config["base_model_name_or_path"], fs::absolute(model_).string());
  const SafetensorsFile before(model_ / "model.safetensors");
  const SafetensorsFile merged(path_ / "merged" / "model.safetensors");
  EXPECT_EQ(before.tensors().size(), merged.tensors().size());
  EXPECT_NE(file_hash(model_ / "model.safetensors"),
            file_hash(path_ / "merged" / "model.safetensors"));
  EXPECT_EQ(read_json_file(path_ / "merged" / "llm_chat.json"), Json({{"template", "alpaca"}}));
  // While it still trained, the newest checkpoint had them.
  fs::remove(path_ / "adapter_config.json");
  fs::remove(path_ / "adapter_model.safetensors");
  const ProcessResult inspected = run({"inspect", path_.string()});
  EXPECT_EQ(inspected.exit_code, 0) << inspected.err;
  EXPECT_NE(inspected.out.find("LoRA adapters"), std::string::npos) << inspected.out;
  EXPECT_NE(inspected.err.find("has no adapters of its own yet"), std::string::npos);
}

// The weights of the base are trained on, and the adapters no longer fit.
TEST_F(FinetuneCommandTest, AdaptersKnowTheirBase) {
  const fs::path base = directory_ / "base";
  fs::copy(model_, base);
  const std::string options = "--epochs 1 --trainable lora --lora-rank 2";
  const auto adapt = [&](const fs::path& model) {
    return with_words({"finetune", model.string(), "--task", "classify", "--train", texts_.string(),
                       "-o", path_.string()},
                      options);
  };
  ASSERT_EQ(run(adapt(base)).exit_code, 0);
  const std::vector<std::string> ask = {"classify", path_.string(), "abc"};
  EXPECT_EQ(run(ask).exit_code, 0);
  fs::rename(base, directory_ / "moved");
  EXPECT_EQ(run(with_words(ask, "--base " + (directory_ / "moved").string())).exit_code, 0);

  make_byte_model(base, 8);
  const ProcessResult asked = run(ask);
  EXPECT_EQ(asked.exit_code, 3);
  EXPECT_NE(asked.err.find("the adapters are for the weights of"), std::string::npos) << asked.err;
  const ProcessResult resumed = run(resume(path_, "--epochs 2"));
  EXPECT_EQ(resumed.exit_code, 3);
  EXPECT_NE(resumed.err.find("not those that the run began with"), std::string::npos)
      << resumed.err;
}

TEST_F(FinetuneCommandTest, BadRowsAreNamedByFileAndLine) {
  const auto with_data = [&](const std::string& task, const fs::path& data,
                             const std::string& more = "--split 0.6,0.2,0.2") {
    return with_words({"finetune", model_.string(), "--task", task, "--train", data.string(), "-o",
                       path_.string()},
                      more);
  };
  const std::string good = "label,text\nlow,abc\nhigh,xyz\nlow,bca\nhigh,zzy\nlow,cc\nhigh,xx\n";
  expect_refused(with_data("classify", write("missing.csv", good + "low\n")), 3,
                 "missing.csv: line 8");
  expect_refused(with_data("classify", write("empty.csv", good + "low,  \n")), 3,
                 "empty.csv: line 8");
  expect_refused(
      with_data("classify", write("long.csv", good + "low," + std::string(257, 'a') + "\n")), 3,
      "long.csv: line 8");
  const fs::path test = write("test.csv", "label,text\nlow,a\nmiddle,b\n");
  expect_refused(with_data("classify", texts_, "--test " + test.string()), 3, "test.csv: line 3");
  expect_refused(with_data("instruct", write("broken.jsonl",
                                             "{\"instruction\": \"a\", \"output\": \"b\"}\n"
                                             "{\"instruction\": \"a\", \"out")),
                 3, "broken.jsonl: line 2");

  const fs::path bad = write("bad.csv", good + "low\nhigh,  \n");
  const ProcessResult counted =
      run(with_data("classify", bad, "--skip-bad-rows --dry-run --json --split 0.6,0.2,0.2"));
  ASSERT_EQ(counted.exit_code, 0) << counted.err;
  EXPECT_EQ(last_line(counted)["bad_rows"], 2);
  EXPECT_EQ(last_line(counted)["rows"]["train"], 3);
}

TEST_F(FinetuneCommandTest, RefusesOptionsThatMakeNoSense) {
  expect_refused(classify(path_, "--trainable most"), 2, "none of head, last-block, all, lora");
  expect_refused(classify(path_, "--pool max"), 2, "no pooling");
  expect_refused(classify(path_, "--mask-prompt"), 2, "--mask-prompt");
  expect_refused(classify(path_, "--lora-rank 4"), 2, "--trainable lora");
  expect_refused(classify(path_, "--trainable lora --lora-rank 0"), 2, "--lora-rank");
  expect_refused(classify(path_, "--trainable lora --lora-targets q,qkv"), 2, "--lora-targets");
  expect_refused(classify(path_, "--trainable lora --init random"), 2, "--init");
  expect_refused(classify(path_, "--trainable lora --lora-targets score"), 2, "--trainable head");
  expect_refused(classify(path_, "--split 0.7,0.7"), 2, "--split");
  expect_refused(classify(path_, "--split 60,10,20"), 2, "too few");
  expect_refused(classify(path_, "--class-weights 1,2,3"), 2, "--class-weights");
  expect_refused(classify(path_, "--class-weights high=x"), 2, "--class-weights");
  expect_refused(classify(path_, "--max-length 257"), 2, "--max-length");
  expect_refused(classify(path_, "--batch 0"), 2, "--batch");
  expect_refused(classify(path_, "--batch 8 --total-batch 12"), 2, "for example 16");
  expect_refused(classify(path_, "--lr -1"), 2, "--lr");
  expect_refused(classify(path_, "--epochs 0"), 2, "--epochs");
  expect_refused(classify(path_, "--text-column none"), 3, "no column \"none\"");
  expect_refused(instruct(path_, "--trainable head"), 2, "--trainable");
  expect_refused(instruct(path_, "--balance"), 2, "--balance");
  expect_refused(instruct(path_, "--template latin"), 2, "--template");
  expect_refused(instruct(path_, "--trainable lora --lora-targets score"), 2, "score");
  expect_refused(
      {"finetune", model_.string(), "--task", "dance", "--train", "x", "-o", path_.string()}, 2,
      "none of classify, instruct");
  expect_refused({"finetune", model_.string(), "--task", "classify", "-o", path_.string()}, 2,
                 "--train");
  expect_refused({"finetune", "--resume", "-o", path_.string()}, 3, "nothing to resume");
}

// Figures of what is trained, of GPT-2 124M with two labels; and by formula.
TEST_F(FinetuneCommandTest, CountsTrainableParameters) {
  ModelConfig config = model_preset("gpt2");
  const fs::path outline = make_model_outline(directory_ / "gpt2", config);
  const auto trained = [&](const std::string& more) {
    const ProcessResult result = run(
        with_words({"finetune", outline.string(), "--task", "classify", "--train", texts_.string(),
                    "-o", path_.string(), "--dry-run", "--json", "--batch", "1"},
                   more));
    EXPECT_EQ(result.exit_code, 0) << more << result.err;
    return result.exit_code == 0 ? last_line(result)["trainable_parameters"].get<int64_t>() : -1;
  };
  const int64_t C = config.channels, L = config.layers, head = 2 * C;
  EXPECT_EQ(trained("--trainable lora --lora-rank 16 --lora-targets all"), 2'666'528);
  EXPECT_EQ(trained("--trainable lora --lora-rank 8 --lora-targets qkv"),
            L * 8 * (C + 3 * C) + head);
  EXPECT_EQ(trained("--trainable lora --lora-rank 4 --lora-targets q,v"),
            L * 2 * 4 * (C + C) + head);
  EXPECT_EQ(trained("--trainable lora --lora-rank 4 --lora-targets up,down,projection"),
            L * 4 * (5 * C + 5 * C + 2 * C) + head);
  EXPECT_EQ(trained("--trainable head"), head);
  EXPECT_EQ(trained("--trainable last-block"), 12 * C * C + 13 * C + 2 * C + head);
  EXPECT_EQ(trained("--trainable all"), parameter_count(config) + head);
}

}  // namespace
}  // namespace llm
