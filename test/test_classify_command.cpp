// llm classify as people and scripts call it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "support/small_model.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

using test::lines_of;
using test::ProcessOptions;
using test::ProcessResult;

class ClassifyCommand : public testing::Test {
 protected:
  ClassifyCommand() { write_model(Pooling::last_token); }
  void write_model(Pooling pooling) {
    test::write_byte_model(model_, [&](ModelConfig& config) {
      config.labels = {"ham", "spam"};
      config.pooling = pooling;
    });
  }
  ProcessResult classify(std::vector<std::string> arguments, const std::string& input = {}) {
    arguments.insert(arguments.begin(), {"classify", model_.string()});
    ProcessOptions options;
    options.input = input;
    return test::run_llm(arguments, options);
  }
  std::string file(const std::string& name, const std::string& content) {
    std::ofstream(directory_ / name, std::ios::binary) << content;
    return (directory_ / name).string();
  }
  Json one(const std::string& text) {
    const ProcessResult result = classify({text, "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(result.out, "stdout");
  }
  void expect_exit(int code, const std::string& part, const std::vector<std::string>& arguments,
                   const std::string& input = {}) {
    const ProcessResult result = classify(arguments, input);
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  }

  test::TemporaryDirectory directory_;
  fs::path model_ = directory_ / "model";
};

TEST_F(ClassifyCommand, OneText) {
  const Json json = one("Win a prize");
  const double ham = json["probabilities"]["ham"], spam = json["probabilities"]["spam"];
  EXPECT_NEAR(ham + spam, 1, 1e-9);
  EXPECT_EQ(json["label"], ham >= spam ? "ham" : "spam");
  EXPECT_EQ(json["probability"], std::max(ham, spam));
  const ProcessResult plain = classify({"Win a prize"});
  EXPECT_EQ(plain.out,
            fmt::format("{}\t{:.4f}\n", json["label"].get<std::string>(), std::max(ham, spam)));
  EXPECT_EQ(plain.err, "");
}

TEST_F(ClassifyCommand, LinesOfStandardInput) {
  const ProcessResult result = classify({"--json"}, "Win a prize\n\nHello, you\n");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(parse_json(lines[0], "line"), one("Win a prize"));
  EXPECT_EQ(parse_json(lines[1], "line"), one("Hello, you"));
  expect_exit(3, "standard input: line 2", {}, "good\nb\xff\n");
}

TEST_F(ClassifyCommand, AFileWithRightLabelsGivesAccuracyAndMatrix) {
  const std::vector<std::string> texts = {"Win", "Hello there, you", "x", "What is it?"};
  std::string table = "label,text\n";
  int64_t right = 0;
  for (const std::string& text : texts) {
    right += one(text)["label"] == "spam";
    table += "spam,\"" + text + "\"\n";
  }
  const std::string path = file("texts.csv", table);
  const ProcessResult result = classify({"--file", path, "--json", "--batch", "3"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 5u);
  for (size_t i = 0; i < texts.size(); ++i) {
    const Json row = parse_json(lines[i], "line"), alone = one(texts[i]);
    EXPECT_EQ(row["line"], i + 2);
    EXPECT_EQ(row["expected"], "spam");
    EXPECT_NEAR(row["probabilities"]["ham"].get<double>(),
                alone["probabilities"]["ham"].get<double>(), 1e-6);
  }
  const Json all = parse_json(lines.back(), "last line");
  EXPECT_EQ(all["texts"], 4);
  EXPECT_EQ(all["accuracy"], static_cast<double>(right) / 4);
  EXPECT_EQ(all["confusion"], Json({{0, 0}, {4 - right, right}}));
  EXPECT_NE(result.err.find("labels in \"label\"; 4 texts"), std::string::npos) << result.err;

  const ProcessResult quiet = classify({"--file", path, "--quiet"});
  EXPECT_TRUE(quiet.out.starts_with(
      fmt::format("accuracy {:.4f} (4 texts)\n", static_cast<double>(right) / 4)))
      << quiet.out;
  EXPECT_EQ(lines_of(classify({"--file", path}).out)[0].substr(0, 2), "2\t");
}

TEST_F(ClassifyCommand, AFileWithoutLabels) {
  const std::string path = file("texts.txt", "Well, you know\nWin\n");
  const ProcessResult result = classify({"--file", path});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto lines = lines_of(result.out);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_TRUE(lines[1].starts_with("2\t")) << lines[1];
  const auto counts = lines_of(classify({"--file", path, "--quiet"}).out);
  ASSERT_EQ(counts.size(), 2u);
  EXPECT_TRUE(counts[0].starts_with("ham\t"));
  EXPECT_EQ(classify({"--file", "-"}, "Well, you know\nWin\n").out, result.out);
}

TEST_F(ClassifyCommand, LongTextsAreCutAndItIsSaid) {
  const ProcessResult result = classify({std::string(40, 'x'), "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("40 tokens, of which the first 32 count"), std::string::npos);
  EXPECT_EQ(parse_json(result.out, "stdout"), one(std::string(32, 'x')));
  const ProcessResult file_result =
      classify({"--file", file("long.txt", "abcdef\nabc\n"), "--max-length", "3"});
  EXPECT_NE(file_result.err.find("1 text cut to the first 3 tokens; the longest had 6"),
            std::string::npos)
      << file_result.err;
  const auto lines = lines_of(file_result.out);
  EXPECT_EQ(lines[0].substr(2), lines[1].substr(2));
}

TEST_F(ClassifyCommand, WhatIsWrongIsNamed) {
  const std::string bad = file("bad.csv", "label,text\nham,a\neggs,b\n");
  expect_exit(3, "bad.csv: line 3: the label \"eggs\" is not known", {"--file", bad});
  EXPECT_NE(classify({"--file", bad, "--skip-bad-rows"})
                .err.find("1 bad row left out, the first: " + bad + ": line 3"),
            std::string::npos);
  expect_exit(2, "--batch", {"a", "--batch", "2"});
  expect_exit(2, "--text-column", {"--text-column", "2"}, "a\n");
  expect_exit(2, "--file", {"a", "--file", bad});
  expect_exit(2, "TEXT: is empty", {" "});
  expect_exit(2, "--max-length: 33 tokens", {"a", "--max-length", "33"});
  expect_exit(2, "--quoting", {"--file", bad, "--quoting", "single"});
  expect_exit(3, "nothing.csv", {"--file", (directory_ / "nothing.csv").string()});
  write_model(Pooling::last);
  expect_exit(2, "looks at the end of the row", {"a"});
  EXPECT_EQ(classify({"a", "--max-length", "8"}).exit_code, 0);
}

TEST_F(ClassifyCommand, ALanguageModelIsRefused) {
  ModelConfig config = test::golden_config();
  config.vocab_size = 257;
  const auto backend = make_cpu_backend();
  Gpt model(*backend, config, {});
  test::fill_golden_weights(model);
  write_model_folder(model_, model, make_byte_tokenizer().get());
  expect_exit(3, "a language model, not a classifier", {"a"});
  expect_exit(3, "llm finetune", {"a"});
}

}  // namespace
}  // namespace llm
