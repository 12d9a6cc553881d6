// Options of `llm finetune` that decide what is learned from, what is learned and where answers go.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "support/finetune_process.h"
#include "support/pretrain_process.h"
#include "support/temporary_directory.h"
#include "support/write_file.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace llm::test {
namespace {

class FinetuneOptionsUsed : public testing::Test {
 protected:
  ProcessResult finetune(const std::string& task, const fs::path& train,
                         const std::vector<std::string>& more, const std::string& words = "") {
    std::vector<std::string> arguments = {"finetune", model_.string(), "--task", task,
                                          "--train",  train.string(),  "-o",     run_.string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_llm(with_words(arguments, words), pretrain_environment());
  }
  fs::path write(const std::string& name, const std::string& text) {
    write_file(folder_ / name, text);
    return folder_ / name;
  }
  std::vector<std::string> lines_in(const fs::path& path) { return lines_of(read_text_file(path)); }

  TemporaryDirectory folder_;
  fs::path model_ = make_byte_model(folder_ / "model"), run_ = folder_ / "run";
};

// The right labels of the validation file, and wrong ones in the test file.
TEST_F(FinetuneOptionsUsed, AClassifierIsMeasuredOnTheFilesThatAreNamed) {
  const fs::path train = make_labeled_texts(folder_ / "train.csv", 80);
  const std::string right = "label,text\nlow,abc ca\nhigh,xy zz\nlow,bb\nlow,cab a\nhigh,zyx\n";
  const std::string wrong = "label,text\nhigh,abc ca\nlow,xy zz\nhigh,bb\n";
  const fs::path validation = write("validation.csv", right), test = write("test.csv", wrong);
  const ProcessResult result =
      finetune("classify", train, {"--val", validation.string(), "--test", test.string()},
               "--epochs 12 --lr 1e-2 --json");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json figures = last_line(result);
  for (const char* part : {"train", "validation", "test"}) {
    ASSERT_TRUE(figures["parts"].contains(part)) << part;
  }
  EXPECT_EQ(figures["parts"]["train"]["texts"], 80);  // nothing is split off
  EXPECT_EQ(figures["parts"]["validation"]["texts"], 5);
  EXPECT_EQ(figures["parts"]["test"]["texts"], 3);
  EXPECT_EQ(figures["val_accuracy"], 1.0);
  EXPECT_EQ(figures["test_accuracy"], 0.0);
  EXPECT_LT(figures["val_loss"].get<double>(), figures["test_loss"].get<double>());
  EXPECT_EQ(figures["confusion"], Json({{0, 2}, {1, 0}}));  // of the test; high before low
  EXPECT_EQ(read_text_file(run_ / "data" / "validation.csv"), right);
  EXPECT_EQ(read_text_file(run_ / "data" / "test.csv"), wrong);
  // While training it is validation that is looked at.
  Json last;
  for (const Json& record : log_without_times(run_)) {
    if (record["type"] == "eval") last = record;
  }
  EXPECT_EQ(last["val_accuracy"], 1.0);
  EXPECT_NEAR(last["val_loss"].get<double>(), figures["val_loss"].get<double>(), 1e-6);
}

std::string instruction_lines(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += to_line(Json{{"instruction", "Say " + name}, {"output", name}}) + "\n";
  }
  return text;
}

TEST_F(FinetuneOptionsUsed, AnAssistantAnswersTheTestFileIntoTheFileThatIsNamed) {
  const fs::path train = make_instructions(folder_ / "train.json", 20);
  const fs::path validation = write("validation.jsonl", instruction_lines({"ab", "cd"}));
  const fs::path test = write("test.jsonl", instruction_lines({"one", "two", "three"}));
  const fs::path answers = folder_ / "answers.json";
  const auto learn = [&](const std::vector<std::string>& more) {
    fs::remove_all(run_);
    return finetune("instruct", train, more, "--steps 2 --answer-tokens 3 --sample-every 0 --json");
  };
  const ProcessResult result = learn(
      {"--val", validation.string(), "--test", test.string(), "--responses", answers.string()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json figures = last_line(result);
  EXPECT_EQ(figures.value("responses", ""), answers.string());
  EXPECT_FALSE(fs::exists(run_ / "responses.json"));
  const Json responses = read_json_file(answers);
  ASSERT_EQ(responses.size(), 3);
  EXPECT_EQ(responses[0]["instruction"], "Say one");
  EXPECT_EQ(responses[2]["output"], "three");
  EXPECT_TRUE(responses[2]["model_response"].is_string());
  EXPECT_EQ(lines_in(run_ / "data" / "train.jsonl").size(), 20u);

  // The two files in each other's place: the figures change places, too.
  const ProcessResult swapped = learn({"--val", test.string(), "--test", validation.string()});
  ASSERT_EQ(swapped.exit_code, 0) << swapped.err;
  const Json exchanged = last_line(swapped);
  EXPECT_NE(figures["val_loss"], figures["test_loss"]);
  EXPECT_EQ(exchanged["val_loss"], figures["test_loss"]);
  EXPECT_EQ(exchanged["test_loss"], figures["val_loss"]);
  EXPECT_EQ(exchanged["train_loss"], figures["train_loss"]);
  EXPECT_EQ(read_json_file(run_ / "responses.json").size(), 2u);  // where they go unless named

  // Without a test file there is nothing to answer.
  fs::remove(answers);
  const ProcessResult without =
      learn({"--val", validation.string(), "--responses", answers.string()});
  ASSERT_EQ(without.exit_code, 0) << without.err;
  EXPECT_EQ(last_line(without)["test_loss"], nullptr);
  EXPECT_EQ(last_line(without)["val_loss"], figures["val_loss"]);
  EXPECT_FALSE(fs::exists(answers));
}

TEST_F(FinetuneOptionsUsed, FilesAndASplitExcludeEachOther) {
  const fs::path train = make_labeled_texts(folder_ / "train.csv", 20);
  const ProcessResult both =
      finetune("classify", train, {"--test", train.string()}, "--split 0.8,0.1,0.1");
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_NE(both.err.find("--split"), std::string::npos) << both.err;
  EXPECT_FALSE(fs::exists(run_));
}

// Columns of the usual names, and others beside them.
TEST_F(FinetuneOptionsUsed, LabelsAndTextsAreOfTheColumnsThatAreNamed) {
  const fs::path table = write("table.csv",
                               "label,text,kind,body\n"
                               "0,t one,up,a one\n"
                               "1,t two,down,a two\n"
                               "0,t three,sideways,a three\n"
                               "1,t four,up,a four\n"
                               "0,t five,down,a five\n");
  const auto learned = [&](const std::vector<std::string>& more) {
    fs::remove_all(run_);
    const ProcessResult result =
        finetune("classify", table, more, "--steps 1 --split 3,1,1 --split-order file");
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return lines_in(run_ / "data" / "train.csv");
  };
  using Lines = std::vector<std::string>;
  EXPECT_EQ(learned({}), Lines({"label,text", "0,t one", "1,t two", "0,t three"}));
  EXPECT_EQ(learned({"--label-column", "kind"}),
            Lines({"label,text", "up,t one", "down,t two", "sideways,t three"}));
  EXPECT_EQ(learned({"--text-column", "body"}),
            Lines({"label,text", "0,a one", "1,a two", "0,a three"}));
  const Lines both = {"label,text", "up,a one", "down,a two", "sideways,a three"};
  EXPECT_EQ(learned({"--label-column", "kind", "--text-column", "body"}), both);
  EXPECT_EQ(read_model_config(run_).labels, Lines({"down", "sideways", "up"}));
  EXPECT_EQ(learned({"--label-column", "3", "--text-column", "4"}), both);

  fs::remove_all(run_);
  const ProcessResult none = finetune("classify", table, {"--label-column", "9"});
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_NE(none.err.find("there is no column \"9\""), std::string::npos) << none.err;
  const ProcessResult same =
      finetune("classify", table, {"--label-column", "text", "--text-column", "2"});
  EXPECT_EQ(same.exit_code, 3);
  EXPECT_NE(same.err.find("in one column"), std::string::npos) << same.err;
}

std::vector<float> values_of(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* tensor = file.find(name);
  EXPECT_NE(tensor, nullptr) << name;
  if (tensor == nullptr) return {};
  std::vector<float> values(static_cast<size_t>(tensor->elements()));
  file.read_f32(*tensor, values);
  return values;
}

// The merged weight is the weight of the base with alpha / rank times the product of the adapters.
TEST_F(FinetuneOptionsUsed, AdaptersCountAsAlphaSays) {
  constexpr int64_t kRank = 2, kChannels = 16, kHidden = 64;
  const fs::path train = make_labeled_texts(folder_ / "train.csv", 40);
  const auto expect_alpha = [&](const std::string& words, double alpha) {
    fs::remove_all(run_);
    const ProcessResult result = finetune(
        "classify", train, {},
        "--trainable lora --lora-rank 2 --lora-targets up --merge --steps 6 --lr 1e-2 " + words);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(read_json_file(run_ / "adapter_config.json")["lora_alpha"], alpha);
    const std::string layer = "transformer.h.0.mlp.c_fc.";
    const SafetensorsFile adapters(run_ / "adapter_model.safetensors");
    const std::vector<float> a = values_of(adapters, "base_model.model." + layer + "lora_A.weight"),
                             b = values_of(adapters, "base_model.model." + layer + "lora_B.weight"),
                             before = values_of(SafetensorsFile(model_ / "model.safetensors"),
                                                layer + "weight"),
                             merged =
                                 values_of(SafetensorsFile(run_ / "merged" / "model.safetensors"),
                                           layer + "weight");
    ASSERT_EQ(a.size(), size_t{kRank * kChannels});
    ASSERT_EQ(b.size(), size_t{kHidden * kRank});
    ASSERT_EQ(before.size(), size_t{kChannels * kHidden});
    ASSERT_EQ(merged.size(), before.size());
    double largest = 0, error = 0;
    for (size_t in = 0; in < kChannels; ++in) {
      for (size_t out = 0; out < kHidden; ++out) {
        double added = 0;
        for (size_t r = 0; r < kRank; ++r)
          added += double{b[out * kRank + r]} * a[r * kChannels + in];
        const size_t at = in * kHidden + out;  // GPT-2 keeps its weights input first
        largest = std::max(largest, std::abs(added));
        error = std::max(error, std::abs(merged[at] - before[at] - alpha / kRank * added));
      }
    }
    EXPECT_GT(largest, 1e-3) << words;
    EXPECT_LT(error, 1e-6) << words;
  };
  expect_alpha("--lora-alpha 6", 6);
  expect_alpha("--lora-alpha 0.5", 0.5);
  expect_alpha("", 2);  // the rank
}

// A larger alpha also makes the same steps go further: it is no mere figure in a file.
TEST_F(FinetuneOptionsUsed, AlphaChangesWhatIsLearned) {
  const fs::path train = make_labeled_texts(folder_ / "train.csv", 40);
  const auto loss = [&](const std::string& words) {
    fs::remove_all(run_);
    const ProcessResult result =
        finetune("classify", train, {},
                 "--trainable lora --lora-rank 2 --steps 4 --lr 1e-3 --json " + words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? last_line(result)["train_loss"].get<double>() : -1;
  };
  const double plain = loss("");
  EXPECT_EQ(loss("--lora-alpha 2"), plain);
  EXPECT_LT(loss("--lora-alpha 64"), plain - 1e-4);
  fs::remove_all(run_);
  for (const char* alpha : {"0", "-1", "nan"}) {
    const ProcessResult refused =
        finetune("classify", train, {}, std::string("--trainable lora --lora-alpha ") + alpha);
    EXPECT_EQ(refused.exit_code, 2) << alpha;
    EXPECT_NE(refused.err.find("--lora-alpha"), std::string::npos) << refused.err;
    EXPECT_FALSE(fs::exists(run_));
  }
}

}  // namespace
}  // namespace llm::test
