// llm data: the command line.
#include <gtest/gtest.h>

#include "base/json.h"
#include "support/dataset_files.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

Json last_figures(const std::string& out) {
  const size_t end = out.find_last_not_of('\n');
  const size_t begin = out.rfind('\n', end);
  return parse_json(out.substr(begin == std::string::npos ? 0 : begin + 1), "stdout");
}

class DataCommandTest : public testing::Test {
 protected:
  std::string path(const std::string& name) { return folder_ / name; }
  ProcessResult run(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), "data");
    ProcessOptions options;
    options.input = input;
    options.directory = folder_.path();
    return run_llm(arguments, options);
  }
  void expect_exit(int code, const std::string& part, const std::vector<std::string>& arguments) {
    const ProcessResult result = run(arguments);
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    EXPECT_TRUE(result.out.empty()) << result.out;
  }
  TemporaryDirectory folder_;
};

TEST_F(DataCommandTest, PreparesAndInspects) {
  write_file(folder_ / "a.txt", "some text to prepare\r\n");
  const ProcessResult made = run(
      {"prepare", "a.txt", "--tokenizer", "chars", "--val-fraction", "0.5", "-o", "d", "--json"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const Json figures = last_figures(made.out);
  EXPECT_EQ(figures["train_tokens"], 10);
  EXPECT_EQ(figures["val_tokens"], 11);
  EXPECT_EQ(figures["removed"]["line_ends_replaced"], 1);
  EXPECT_NE(made.out.find("line ends           1 made line feeds"), std::string::npos) << made.out;

  const ProcessResult seen = run({"inspect", "d", "--json"});
  ASSERT_EQ(seen.exit_code, 0) << seen.err;
  EXPECT_EQ(last_figures(seen.out)["tokenizer_hash"], figures["tokenizer_hash"]);
  EXPECT_EQ(last_figures(seen.out)["train_tokens"], 10);
  EXPECT_NE(seen.out.find("some text "), std::string::npos);
}

TEST_F(DataCommandTest, ReadsStandardInput) {
  const ProcessResult made =
      run({"prepare", "-", "--format", "jsonl", "--text-key", "t", "--tokenizer", "bytes",
           "--val-fraction", "0", "-o", "d", "--json"},
          "{\"t\": \"one\"}\n{\"t\": \"two\"}\n");
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(last_figures(made.out)["train_tokens"], 7);
  EXPECT_EQ(last_figures(made.out)["train_documents"], 2);
}

TEST_F(DataCommandTest, RefusesBadInputWithTheRightCode) {
  write_file(folder_ / "a.txt", "text");
  write_file(folder_ / "b.jsonl", "{\"text\": \"a\"}\n{\"text\": 1}\n");
  const std::vector<std::string> good{"prepare", "a.txt", "--tokenizer", "bytes", "-o", "d"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = good;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  expect_exit(2, "--tokenizer", {"prepare", "a.txt", "-o", "d"});
  expect_exit(2, "--out", {"prepare", "a.txt", "--tokenizer", "bytes"});
  expect_exit(2, "--val-fraction", with({"--val-fraction", "1.5"}));
  expect_exit(2, "--val-fraction", with({"--val-fraction", "nan"}));
  expect_exit(2, "--shard-tokens", with({"--shard-tokens", "0"}));
  expect_exit(2, "--min-chars", with({"--min-chars", "-1"}));
  expect_exit(2, "--split", with({"--split", "words"}));
  expect_exit(2, "no Unicode script", with({"--language-filter", "klingon:0.5"}));
  expect_exit(2, "excludes", with({"--val-fraction", "0.2", "--val-file", "a.txt"}));
  expect_exit(2, "", with({"--no-such-option"}));
  expect_exit(2, "nobody", {"prepare", "a.txt", "--tokenizer", "nobody", "-o", "d"});
  expect_exit(3, "none.txt", {"prepare", "none.txt", "--tokenizer", "bytes", "-o", "d"});
  expect_exit(3, "b.jsonl: line 2: \"text\": expected a string",
              {"prepare", "b.jsonl", "--tokenizer", "bytes", "-o", "d"});
  EXPECT_FALSE(fs::exists(folder_ / "d"));
  expect_exit(3, "no such dataset", {"inspect", "d"});
  expect_exit(3, "has no dataset.json", {"inspect", "."});
  expect_exit(3, "a.txt", {"inspect", "a.txt"});
  expect_exit(2, "--samples", {"inspect", "d", "--samples", "-1"});
  ASSERT_EQ(run(good).exit_code, 0);
  expect_exit(2, "not empty", good);
  expect_exit(4, "/dev/full", {"prepare", "a.txt", "--tokenizer", "bytes", "-o", "/dev/full/d"});
}

TEST_F(DataCommandTest, WritesTheSyntheticCorpus) {
  const ProcessResult made = run({"synth", "-o", "s", "--stories", "20", "--messages", "40",
                                  "--instructions", "30", "--seed", "7", "--json"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const Json figures = last_figures(made.out);
  EXPECT_EQ(figures["stories"], 20);
  EXPECT_EQ(figures["messages"], 40);
  EXPECT_EQ(figures["instructions"], 30);
  const ProcessResult prepared =
      run({"prepare", "s/stories.jsonl", "--tokenizer", "bytes", "--dedup", "-o", "d", "--json"});
  ASSERT_EQ(prepared.exit_code, 0) << prepared.err;
  EXPECT_EQ(last_figures(prepared.out)["removed"]["duplicates"]["documents"], 0);
  expect_exit(2, "--stories", {"synth", "-o", "s", "--stories", "-5"});
  const std::vector<std::string> again = {
      "synth", "-o", "s", "--stories", "1", "--messages", "1", "--instructions", "1"};
  expect_exit(2, "stories.jsonl: is there already", again);
  std::vector<std::string> forced = again;
  forced.push_back("--force");
  EXPECT_EQ(run(forced).exit_code, 0);
}

TEST_F(DataCommandTest, HelpHasAnExample) {
  for (const char* command : {"prepare", "inspect", "synth"}) {
    const ProcessResult help = run({command, "--help"});
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_NE(help.out.find("Example: llm data " + std::string(command)), std::string::npos);
  }
}

}  // namespace
}  // namespace llm::test
