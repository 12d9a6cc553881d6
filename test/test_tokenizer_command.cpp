#include <gtest/gtest.h>

#include "base/json.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

using test::ProcessResult;
using test::run_llm;

class TokenizerCommand : public testing::Test {
 protected:
  void SetUp() override {
    text_ = directory_ / "text.txt";
    write_file_atomically(text_, "the words of the text, the other words\nand the numbers 12 34\n");
  }
  ProcessResult train(std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"tokenizer", "train", text_.string(), "-o",
                                          (directory_ / "t").string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_llm(arguments);
  }
  ProcessResult use(std::vector<std::string> arguments, const std::string& input = {}) {
    arguments.insert(arguments.begin(), "tokenizer");
    arguments.push_back("--tokenizer");
    arguments.push_back((directory_ / "t").string());
    return run_llm(arguments, {.environment = {}, .input = input, .directory = {}});
  }

  test::TemporaryDirectory directory_;
  fs::path text_;
};

TEST_F(TokenizerCommand, TrainsEncodesDecodes) {
  const ProcessResult trained = train({"--vocab-size", "280", "--json"});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const Json figures = Json::parse(trained.out);
  EXPECT_EQ(figures.at("vocab_size"), 280);
  EXPECT_EQ(figures.at("merges"), 280 - 257);
  for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt"}) {
    EXPECT_TRUE(fs::exists(directory_ / "t" / name)) << name;
  }
  const std::string text("the words\xFF\n\x00more", 15);
  const ProcessResult encoded = use({"encode"}, text);
  ASSERT_EQ(encoded.exit_code, 0) << encoded.err;
  EXPECT_EQ(encoded.out.find('\n'), encoded.out.size() - 1);
  const ProcessResult decoded = use({"decode"}, encoded.out);
  EXPECT_EQ(decoded.exit_code, 0) << decoded.err;
  EXPECT_EQ(decoded.out, text);
}

// What is learned is the text, not how JSON writes it.
TEST_F(TokenizerCommand, TrainsOnJsonLinesAndFolders) {
  const fs::path folder = directory_ / "texts", jsonl = directory_ / "both.jsonl";
  fs::create_directory(folder);
  write_file_atomically(folder / "1.txt", "one \"word\"\nand one word");
  write_file_atomically(folder / "2.txt", "and another word");
  write_file_atomically(jsonl,
                        "{\"body\": \"one \\\"word\\\"\\nand one word\"}\n"
                        "{\"body\": \"and another word\"}\n");
  const auto hash = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"tokenizer", "train", "--vocab-size", "265", "--json", "--force",
                               "-o", (directory_ / "t").string()});
    const ProcessResult result = run_llm(more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(result.out).at("hash").get<std::string>();
  };
  EXPECT_EQ(hash({folder.string()}), hash({jsonl.string(), "--text-key", "body"}));
}

TEST_F(TokenizerCommand, SpecialTokensOnlyWhereAllowed) {
  ASSERT_EQ(train({"--vocab-size", "260", "--special", "<|a|>", "<|b|>"}).exit_code, 0);
  EXPECT_EQ(use({"encode", "<|endoftext|><|a|><|b|>", "--allow-special"}).out, "0 1 2\n");
  EXPECT_EQ(use({"encode", "<|a|>", "--count"}).out, "5\n");
  EXPECT_EQ(use({"decode", "0", "1"}).out, "<|endoftext|><|a|>");
  const Json record = Json::parse(use({"encode", "!", "--json"}).out);
  EXPECT_EQ(record.at("ids"), Json::array({3}));
  EXPECT_EQ(record.at("tokens"), 1);
}

TEST_F(TokenizerCommand, WrongCallsExitWithTheRightCode) {
  EXPECT_EQ(train({"--vocab-size", "256"}).exit_code, 2);
  EXPECT_EQ(train({"--vocab-size", "many"}).exit_code, 2);
  EXPECT_EQ(train({"--vocab-size", "300", "--pattern", "gpt5"}).exit_code, 2);
  EXPECT_EQ(train().exit_code, 2);
  EXPECT_FALSE(fs::exists(directory_ / "t"));
  text_ = directory_ / "missing.txt";
  EXPECT_EQ(train({"--vocab-size", "300"}).exit_code, 3);
  EXPECT_EQ(use({"encode", "a"}).exit_code, 2);  // there is no tokenizer yet
  ASSERT_TRUE(fs::create_directory(directory_ / "t"));
  EXPECT_EQ(use({"encode", "a"}).exit_code, 3);  // and now an empty folder
  write_file_atomically(directory_ / "t/tokenizer.json", "{");
  EXPECT_EQ(use({"encode", "a"}).exit_code, 3);
  text_ = directory_ / "text.txt";
  const ProcessResult refused = train({"--vocab-size", "260"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("tokenizer.json: is there already"), std::string::npos) << refused.err;
  EXPECT_EQ(read_text_file(directory_ / "t/tokenizer.json"), "{");
  ASSERT_EQ(train({"--vocab-size", "260", "--force"}).exit_code, 0);
  const ProcessResult both = use({"encode", "a", "--file", (directory_ / "text.txt").string()});
  EXPECT_EQ(both.exit_code, 2);
  EXPECT_NE(both.err.find("TEXT excludes --file"), std::string::npos) << both.err;
  EXPECT_EQ(use({"decode", "260"}).exit_code, 2);
  EXPECT_EQ(use({"decode", "-1"}).exit_code, 2);
  EXPECT_EQ(use({"decode", "1x"}).exit_code, 2);
  EXPECT_EQ(use({"decode"}, "1 2 99999999999").exit_code, 3);  // what is read is a file
}

}  // namespace
}  // namespace llm
