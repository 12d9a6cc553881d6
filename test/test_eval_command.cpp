// llm eval as people and scripts call it.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "support/small_dataset.h"
#include "support/small_model.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

using test::ProcessOptions;
using test::ProcessResult;
using test::run_llm;

const char* const kQuestions =
    "{\"ctx\": \"the fox sees\", \"endings\": [\"the moon.\", \"xq\"], \"label\": 0}\n"
    "{\"ctx\": \"a bird hears\", \"endings\": [\"zzz\", \"a stone.\", \"qqqqqqqq\"], \"label\": "
    "1}\n"
    "{\"ctx\": \"my dog\", \"endings\": [\"likes two keys.\", \"vx\"], \"label\": \"1\"}\n";

class EvalCommand : public testing::Test {
 protected:
  EvalCommand() {
    ModelConfig config = test::golden_config();  // context 32
    config.vocab_size = 257;
    const auto backend = make_cpu_backend();
    Gpt model(*backend, config, {});
    test::fill_golden_weights(model);
    write_model_folder(model_, model, make_byte_tokenizer().get());
    write("text.txt", test::small_text(500));
    write("tasks.jsonl", kQuestions);
  }
  std::string path(const std::string& name) { return directory_ / name; }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name, std::ios::binary) << text;
  }
  ProcessResult eval(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"eval", model_.string()});
    return run_llm(arguments);
  }
  Json figures(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    const ProcessResult result = eval(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? parse_json(result.out, "stdout") : Json();
  }
  std::string prepare(const std::string& tokenizer) {
    const ProcessResult made = run_llm({"data", "prepare", path("text.txt"), "--tokenizer",
                                        tokenizer, "-o", path("data"), "--val-fraction", "0.4"});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return path("data");
  }

  test::TemporaryDirectory directory_;
  fs::path model_ = directory_ / "model";
};

TEST_F(EvalCommand, ATextFile) {
  const Json json = figures({"--data", path("text.txt")});
  const auto size = static_cast<int64_t>(fs::file_size(path("text.txt")));
  EXPECT_EQ(json["tokens"], size - 1);
  EXPECT_EQ(json["bytes"], size - 1);
  const double loss = json["loss"];
  EXPECT_GT(loss, 1);
  EXPECT_NEAR(json["perplexity"].get<double>(), std::exp(loss), 1e-6 * std::exp(loss));
  EXPECT_NEAR(json["bits_per_byte"].get<double>(), loss / std::log(2.0), 1e-9);
  EXPECT_FALSE(json.contains("accuracy"));

  const ProcessResult text = eval({"--data", path("text.txt")});
  EXPECT_NE(text.out.find("perplexity"), std::string::npos);
  EXPECT_EQ(text.out.find('{'), std::string::npos);
}

TEST_F(EvalCommand, MoreContextBeforeEachTokenAndAnyBatchGiveTheSameKindOfNumber) {
  const Json apart = figures({"--data", path("text.txt")});
  const Json overlapping = figures({"--data", path("text.txt"), "--stride", "3"});
  EXPECT_EQ(overlapping["tokens"], apart["tokens"]);
  EXPECT_NE(overlapping["loss"], apart["loss"]);
  const Json one = figures({"--data", path("text.txt"), "--stride", "3", "--batch", "1"});
  EXPECT_NEAR(one["loss"].get<double>(), overlapping["loss"].get<double>(), 1e-5);
  const Json shorter = figures({"--data", path("text.txt"), "--context", "16"});
  EXPECT_EQ(shorter["context"], 16);
  EXPECT_EQ(shorter["stride"], 16);
  const Json rounded = figures({"--data", path("text.txt"), "--dtype", "bf16"});
  EXPECT_NE(rounded["loss"], apart["loss"]);
  EXPECT_NEAR(rounded["loss"].get<double>(), apart["loss"].get<double>(), 0.05);
}

TEST_F(EvalCommand, DatasetsShardsAndJsonLines) {
  const std::string data = prepare("bytes");
  const Json val = figures({"--data", data}), train = figures({"--data", data, "--split", "train"});
  const auto size = static_cast<int64_t>(fs::file_size(path("text.txt")));
  EXPECT_EQ(val["tokens"].get<int64_t>() + train["tokens"].get<int64_t>(), size - 2);
  std::string shard;
  for (const auto& entry : fs::directory_iterator(data)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("val") && name.ends_with(".bin")) shard = entry.path();
  }
  EXPECT_EQ(figures({"--data", shard})["loss"], val["loss"]);

  write("documents.jsonl", "{\"body\": \"ab\"}\n{\"body\": \"cde\"}\n");
  const Json documents = figures({"--data", path("documents.jsonl"), "--text-key", "body"});
  EXPECT_EQ(documents["tokens"], 5);  // a b <|endoftext|> c d e, without the first
  EXPECT_EQ(documents["bytes"], 4);
}

TEST_F(EvalCommand, TheLossOfARunIsTheOneThatTrainingPrinted) {
  const fs::path data = test::make_small_dataset(directory_.path());
  const ProcessResult trained =
      run_llm({"pretrain", "--data",  data.string(), "-o",         path("run"), "--layers",
               "1",        "--heads", "2",           "--channels", "16",        "--context",
               "24",       "--batch", "4",           "--steps",    "8",         "--lr",
               "1e-2",     "--json",  "--dtype",     "f32"});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const size_t begin = trained.out.rfind('\n', trained.out.size() - 2) + 1;
  const Json json = parse_json(trained.out.substr(begin), "stdout");
  const ProcessResult result = run_llm({"eval", path("run"), "--data", data.string(), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NEAR(parse_json(result.out, "stdout")["loss"].get<double>(),
              json["val_loss"].get<double>(), 1e-5);
}

TEST_F(EvalCommand, MultipleChoice) {
  const Json json = figures({"--tasks", path("tasks.jsonl")});
  EXPECT_EQ(json["items"], 3);
  EXPECT_EQ(json["shots"], 0);
  EXPECT_FALSE(json.contains("loss"));
  for (const char* key : {"accuracy", "accuracy_normalized"}) {
    const double thirds = json[key].get<double>() * 3;
    EXPECT_NEAR(thirds, std::round(thirds), 1e-9);
  }
  // The label decides: what was right is wrong with every other label.
  write("wrong.jsonl",
        "{\"ctx\": \"the fox sees\", \"endings\": [\"the moon.\", \"xq\"], \"label\": 0}\n"
        "{\"ctx\": \"the fox sees\", \"endings\": [\"the moon.\", \"xq\"], \"label\": 1}\n");
  EXPECT_EQ(figures({"--tasks", path("wrong.jsonl")})["accuracy"], 0.5);

  const Json both = figures({"--tasks", path("tasks.jsonl"), "--data", path("text.txt")});
  EXPECT_EQ(both["accuracy"], json["accuracy"]);
  EXPECT_TRUE(both.contains("perplexity"));
}

TEST_F(EvalCommand, FewShots) {
  const Json two = figures({"--tasks", path("tasks.jsonl"), "--shots", "2"});
  EXPECT_EQ(two["shots"], 2);
  EXPECT_GT(two["truncated"].get<int64_t>(), 0);  // the context is of 32 tokens
  EXPECT_NE(eval({"--tasks", path("tasks.jsonl"), "--shots", "2"}).err.find("lost their beginning"),
            std::string::npos);
  write("others.jsonl", "{\"ctx\": \"she\", \"endings\": [\"x\", \"y\"], \"label\": 1}\n");
  EXPECT_EQ(figures({"--tasks", path("tasks.jsonl"), "--shots", "1", "--shots-file",
                     path("others.jsonl")})["shots"],
            1);
}

TEST_F(EvalCommand, WrongCommandLinesAndFilesHaveTheirExitCodes) {
  struct Case {
    int exit_code;
    std::vector<std::string> arguments;
    const char* message;
  };
  const std::string text = path("text.txt"), tasks = path("tasks.jsonl"), empty = path("empty.txt");
  write("empty.txt", "");
  write("broken.jsonl", std::string(kQuestions) + "{\"ctx\": 3}\n");
  const std::string data = prepare("chars");
  const std::vector<Case> cases = {
      {2, {}, "--data or --tasks"},
      {2, {"--data", text, "--shots", "1"}, "--shots"},
      {2, {"--data", text, "--stride", "0"}, "--stride"},
      {2, {"--data", text, "--stride", "33"}, "--stride"},
      {2, {"--data", text, "--context", "33"}, "--context"},
      {2, {"--data", text, "--context", "0"}, "--context"},
      {2, {"--data", text, "--batch", "0"}, "--batch"},
      {2, {"--data", text, "--dtype", "f8"}, "--dtype"},
      {2, {"--data", text, "--dtype", "tf32", "--device", "cpu"}, "--dtype"},
      {2, {"--data", text, "--split", "test"}, "--split"},
      {2, {"--data", text, "--split", "train"}, "--split: is of a dataset folder"},
      {2, {"--tasks", tasks, "--split", "val"}, "--split: is of a dataset folder"},
      {2, {"--tasks", tasks, "--stride", "2"}, "--stride: is between windows of --data"},
      {2, {"--tasks", tasks, "--shots", "3"}, "--shots"},
      {2, {"--tasks", tasks, "--shots", "4"}, "--shots"},
      {2, {"--tasks", tasks, "--shots-file", tasks}, "--shots"},
      {3, {"--data", path("absent")}, "absent"},
      {3, {"--data", empty}, "empty.txt"},
      {3, {"--data", directory_.path().string()}, "dataset.json"},
      {3, {"--data", data}, "tokenizer"},
      {3, {"--tasks", path("absent.jsonl")}, "absent.jsonl"},
      {3, {"--tasks", path("broken.jsonl")}, "broken.jsonl: line 4"},
      {3, {"--tasks", text}, "text.txt: line 1"},
      {3, {"--tasks", empty}, "no items"},
      {6, {"--data", text, "--device", "cuda:0"}, "--device cpu"},
  };
  for (const Case& wrong : cases) {
    const ProcessResult result = eval(wrong.arguments);
    EXPECT_EQ(result.exit_code, wrong.exit_code) << wrong.message << ": " << result.err;
    EXPECT_NE(result.err.find(wrong.message), std::string::npos) << result.err;
    EXPECT_EQ(result.out, "") << wrong.message;
  }
}

}  // namespace
}  // namespace llm
