// Options of `llm classify` that say how a table is read, and of `llm chat` what is said first.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/json.h"
#include "support/finetune_process.h"
#include "support/small_model.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"
#include "support/write_file.h"

namespace llm::test {
namespace {

class ClassifyOptionsUsed : public testing::Test {
 protected:
  ClassifyOptionsUsed() {
    write_byte_model(model_, [](ModelConfig& config) {
      config.labels = {"ham", "spam"};
      config.pooling = Pooling::last_token;
    });
  }
  ProcessResult classify(const std::string& table, const std::vector<std::string>& more) {
    write_file(folder_ / "table", table);
    std::vector<std::string> arguments = {"classify", model_.string(), "--json", "--file",
                                          (folder_ / "table").string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_llm(arguments);
  }
  // Of each text: its line, and the right label if one is known.
  struct Row {
    int64_t line;
    std::string expected;
    bool operator==(const Row&) const = default;
  };
  std::vector<Row> rows(const std::string& table, const std::vector<std::string>& more = {}) {
    const ProcessResult result = classify(table, more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    if (result.exit_code != 0) return {};
    said_ = result.err;
    std::vector<Row> found;
    std::vector<std::string> lines = lines_of(result.out);
    summary_ = parse_json(lines.back(), "summary");
    lines.pop_back();
    probabilities_.clear();
    for (const std::string& line : lines) {
      const Json row = parse_json(line, "row");
      found.push_back({row["line"].get<int64_t>(), row.value("expected", "")});
      probabilities_.push_back(row["probabilities"]["ham"].get<double>());
    }
    return found;
  }
  double alone(const std::string& text) {
    const ProcessResult result = run_llm({"classify", model_.string(), text, "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(result.out, "one")["probabilities"]["ham"].get<double>();
  }
  void expect_exit(int code, const std::string& part, const std::string& table,
                   const std::vector<std::string>& more) {
    const ProcessResult result = classify(table, more);
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  }

  TemporaryDirectory folder_;
  fs::path model_ = folder_ / "model";
  Json summary_;
  std::string said_;
  std::vector<double> probabilities_;
};

TEST_F(ClassifyOptionsUsed, TheFirstRowIsAHeaderIfOneSaysSo) {
  // By its content this row is one of the table: a label of the model and a text.
  const std::string table = "ham,first\nspam,second\nham,third\n";
  const std::vector<std::string> columns = {"--label-column", "1", "--text-column", "2"};
  EXPECT_EQ(rows(table, columns), std::vector<Row>({{1, "ham"}, {2, "spam"}, {3, "ham"}}));
  std::vector<std::string> with_header = columns;
  with_header.push_back("--header");
  EXPECT_EQ(rows(table, with_header), std::vector<Row>({{2, "spam"}, {3, "ham"}}));
  EXPECT_NE(said_.find("texts in column \"first\", labels in \"ham\""), std::string::npos) << said_;
  EXPECT_EQ(summary_["texts"], 2);
  EXPECT_NEAR(probabilities_[0], alone("second"), 1e-6);
  expect_exit(3, "its columns are: ham, first", table, {"--header"});
}

TEST_F(ClassifyOptionsUsed, TheFirstRowIsATextIfOneSaysSo) {
  // By its content this row names the columns.
  EXPECT_EQ(rows("text\nyes\n"), std::vector<Row>({{2, ""}}));
  EXPECT_EQ(rows("text\nyes\n", {"--no-header"}), std::vector<Row>({{1, ""}, {2, ""}}));
  EXPECT_NEAR(probabilities_[0], alone("text"), 1e-6);
  const std::string table = "label,text\nham,a\n";
  EXPECT_EQ(rows(table), std::vector<Row>({{2, "ham"}}));
  expect_exit(3, "line 1: the label \"label\" is not known", table,
              {"--no-header", "--label-column", "1", "--text-column", "2"});
  expect_exit(2, "--no-header", table, {"--header", "--no-header"});
}

TEST_F(ClassifyOptionsUsed, RightLabelsAreOfTheColumnThatIsNamed) {
  const std::string table = "label,text,checked\nham,one,spam\nham,two,ham\nspam,three,ham\n";
  EXPECT_EQ(rows(table), std::vector<Row>({{2, "ham"}, {3, "ham"}, {4, "spam"}}));
  const std::vector<double> known = probabilities_;
  EXPECT_EQ(rows(table, {"--label-column", "checked"}),
            std::vector<Row>({{2, "spam"}, {3, "ham"}, {4, "ham"}}));
  EXPECT_EQ(probabilities_, known);  // the texts are the same ones
  EXPECT_TRUE(summary_.contains("accuracy"));
  EXPECT_EQ(rows(table, {"--label-column", "3"}),
            std::vector<Row>({{2, "spam"}, {3, "ham"}, {4, "ham"}}));
  EXPECT_EQ(rows(table, {"--label-column", "none"}), std::vector<Row>({{2, ""}, {3, ""}, {4, ""}}));
  EXPECT_EQ(probabilities_, known);
  EXPECT_FALSE(summary_.contains("accuracy"));
  expect_exit(3, "there is no column \"verdict\"", table, {"--label-column", "verdict"});
  expect_exit(3, "the label \"one\" is not known", table,
              {"--label-column", "text", "--text-column", "checked"});
}

TEST_F(ClassifyOptionsUsed, TextsAreOfTheColumnThatIsNamed) {
  const std::string table = "label,text,longer\nham,one,one and more\nham,two,two and more\n";
  EXPECT_EQ(rows(table, {"--text-column", "longer"}), std::vector<Row>({{2, "ham"}, {3, "ham"}}));
  EXPECT_NEAR(probabilities_[0], alone("one and more"), 1e-6);
  EXPECT_GT(std::abs(probabilities_[0] - alone("one")), 1e-4);
}

class ChatOptionsUsed : public testing::Test {
 protected:
  ChatOptionsUsed() {
    write_byte_model(model_, [](ModelConfig& config) { config.context = 256; });
  }
  // The answers to the lines of `input`.
  std::vector<Json> chat(const std::string& input, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"chat", model_.string(), "--json", "-n",
                                          "6",    "--seed",        "3"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    ProcessOptions options;
    options.input = input;
    const ProcessResult result = run_llm(arguments, options);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::vector<Json> answers;
    for (const std::string& line : lines_of(result.out)) {
      if (!line.starts_with("{\"message\"")) continue;
      answers.push_back(parse_json(line, "answer"));
    }
    return answers;
  }

  TemporaryDirectory folder_;
  fs::path model_ = folder_ / "model";
};

TEST_F(ChatOptionsUsed, ASystemMessageComesBeforeEverythingElse) {
  const std::vector<std::string> chatml = {"--template", "chatml"};
  std::vector<std::string> told = chatml;
  told.insert(told.end(), {"--system", "Be brief."});
  const std::string head = "<|im_start|>system\nBe brief.<|im_end|>\n";
  const std::vector<Json> plain = chat("Hi\nAnd you?\n", chatml),
                          with_system = chat("Hi\nAnd you?\n", told),
                          set = chat("/set system Be brief.\nHi\nAnd you?\n", chatml);
  ASSERT_EQ(plain.size(), 2u);
  ASSERT_EQ(with_system.size(), 2u);
  ASSERT_EQ(set.size(), 2u);
  const auto prompt = [](const Json& answer) { return answer["prompt_tokens"].get<size_t>(); };
  EXPECT_EQ(prompt(with_system[0]), prompt(plain[0]) + head.size());
  EXPECT_NE(with_system[0]["ids"], plain[0]["ids"]);
  // The second turn still has it, once; and the command within the conversation is the same.
  EXPECT_EQ(with_system[0]["ids"].size(), plain[0]["ids"].size());
  EXPECT_EQ(prompt(with_system[1]) - prompt(with_system[0]), prompt(plain[1]) - prompt(plain[0]));
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(with_system[i]["ids"], set[i]["ids"]) << i;
}

// In the other templates it takes the place of their first sentence, or stands alone.
TEST_F(ChatOptionsUsed, EveryTemplateHasAPlaceForIt) {
  for (const char* format : {"plain", "book", "alpaca", "chatml"}) {
    const std::vector<Json> brief = chat("Hi\n", {"--template", format, "--system", "Be brief."}),
                            longer =
                                chat("Hi\n", {"--template", format, "--system", "Be very brief."});
    ASSERT_EQ(brief.size(), 1u) << format;
    ASSERT_EQ(longer.size(), 1u) << format;
    EXPECT_EQ(longer[0]["prompt_tokens"].get<int64_t>(),
              brief[0]["prompt_tokens"].get<int64_t>() + 5)
        << format;
  }
}

}  // namespace
}  // namespace llm::test
