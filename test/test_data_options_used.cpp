// Options of `llm data` and `llm tokenizer` that decide what comes out: each changes it as --help
// says.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "support/finetune_process.h"
#include "support/small_dataset.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"
#include "support/write_file.h"

namespace llm::test {
namespace {

class DataOptionsUsed : public testing::Test {
 protected:
  ProcessResult run(const std::vector<std::string>& arguments) {
    ProcessOptions options;
    options.directory = folder_.path();
    return run_llm(arguments, options);
  }
  // Runs what has to succeed; its last line.
  Json figures(const std::vector<std::string>& arguments) {
    const ProcessResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.exit_code == 0 ? last_line(result) : Json();
  }

  TemporaryDirectory folder_;
};

// The text that data prepare makes of a file with a control character, a line end of DOS, a
// byte-order mark and a byte that is no UTF-8; and what it counts as removed.
class PreparedText : public DataOptionsUsed {
 protected:
  PreparedText() {
    write_file(folder_ / "raw.txt",
               "a\x01"
               "b\r\n\xEF\xBB\xBF"
               "c\xFF"
               "d");
  }

  std::string prepared(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"data",  "prepare",        "raw.txt", "--tokenizer",
                                          "bytes", "--val-fraction", "0",       "-o",
                                          "d",     "--force",        "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    removed_ = figures(arguments)["removed"];
    const Json seen = figures({"data", "inspect", "d", "--samples", "1", "--json"});
    std::string text;
    for (const Json& id : seen["samples"][0]["ids"]) text += static_cast<char>(id.get<int>());
    return text;
  }

  Json removed_;
};

TEST_F(PreparedText, InvalidUtf8IsReplacedDroppedOrKept) {
  EXPECT_EQ(prepared({}), "ab\nc\uFFFDd");
  EXPECT_EQ(prepared({"--invalid-utf8", "replace"}), "ab\nc\uFFFDd");
  EXPECT_EQ(prepared({"--invalid-utf8", "drop"}), "ab\ncd");
  EXPECT_EQ(removed_["invalid_utf8_bytes"], 1);
  EXPECT_EQ(prepared({"--invalid-utf8", "keep"}),
            "ab\nc\xFF"
            "d");
  const ProcessResult other = run(
      {"data", "prepare", "raw.txt", "--tokenizer", "bytes", "-o", "e", "--invalid-utf8", "guess"});
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.err.find("--invalid-utf8"), std::string::npos) << other.err;
  EXPECT_FALSE(fs::exists(folder_ / "e"));
}

TEST_F(PreparedText, ControlCharactersStayIfAskedFor) {
  prepared({});
  EXPECT_EQ(removed_["control_characters"], 1);
  EXPECT_EQ(removed_["format_characters"], 1);
  EXPECT_EQ(removed_["line_ends_replaced"], 1);
  EXPECT_EQ(prepared({"--keep-control", "--invalid-utf8", "keep"}),
            read_text_file(folder_ / "raw.txt"));
  EXPECT_EQ(removed_["control_characters"], 0);
  EXPECT_EQ(removed_["format_characters"], 0);
  EXPECT_EQ(removed_["line_ends_replaced"], 0);
}

TEST_F(DataOptionsUsed, InspectReadsUncheckedWhatIsDamaged) {
  write_file(folder_ / "a.txt", "some text to prepare, and to damage");
  figures({"data", "prepare", "a.txt", "--tokenizer", "chars", "-o", "d", "--json"});
  const Json whole = figures({"data", "inspect", "d", "--json"});
  EXPECT_EQ(whole["verified"], true);
  EXPECT_TRUE(whole.contains("distinct_tokens"));

  const fs::path shard = folder_ / "d" / "train_000000.bin";
  std::string bytes = read_text_file(shard);
  bytes[bytes.size() - 2] ^= 1;  // the last of the ids, of 16 bits: another one of the vocabulary
  write_file(shard, bytes);
  const ProcessResult refused = run({"data", "inspect", "d"});
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_NE(refused.err.find("checksum"), std::string::npos) << refused.err;
  const ProcessResult unchecked = run({"data", "inspect", "d", "--no-verify", "--json"});
  ASSERT_EQ(unchecked.exit_code, 0) << unchecked.err;
  EXPECT_NE(unchecked.out.find("no (--no-verify)"), std::string::npos) << unchecked.out;
  const Json seen = last_line(unchecked);
  EXPECT_EQ(seen["verified"], false);
  EXPECT_FALSE(seen.contains("distinct_tokens"));
  EXPECT_EQ(seen["train_tokens"], whole["train_tokens"]);
}

class TokenizerOptionsUsed : public DataOptionsUsed {
 protected:
  Json train(const std::string& text, const std::vector<std::string>& more) {
    write_file(folder_ / "text.txt", text);
    std::vector<std::string> arguments = {"tokenizer", "train",   "text.txt", "-o",
                                          "t",         "--force", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return figures(arguments);
  }
};

// Three times "ab" within the text, of these two behind a space; "cd" behind a space once.
TEST_F(TokenizerOptionsUsed, RarePairsAreNotMerged) {
  const auto merges = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"--vocab-size", "400"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    train("ab ab ab cd", arguments);
    std::vector<std::string> lines = lines_of(read_text_file(folder_ / "t" / "merges.txt"));
    std::erase_if(lines, [](const std::string& line) { return line.starts_with("#version"); });
    return lines;
  };
  EXPECT_EQ(merges({"--min-frequency", "4"}), std::vector<std::string>());
  EXPECT_EQ(merges({"--min-frequency", "3"}), std::vector<std::string>({"a b"}));
  EXPECT_EQ(merges({"--min-frequency", "2"}), std::vector<std::string>({"a b", "\u0120 ab"}));
  EXPECT_EQ(merges({"--min-frequency", "1"}).size(), 4u);
  EXPECT_EQ(merges({}), merges({"--min-frequency", "1"}));
  const ProcessResult refused = run(
      {"tokenizer", "train", "text.txt", "--vocab-size", "400", "-o", "u", "--min-frequency", "0"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("--min-frequency"), std::string::npos) << refused.err;
}

// Enough text for every thread to get some.
TEST_F(TokenizerOptionsUsed, AnyNumberOfThreadsLearnsTheSame) {
  const std::string text = small_text(300'000) + " the end";
  const auto learned = [&](const char* threads) {
    const Json json = train(text, {"--vocab-size", "320", "--threads", threads});
    return read_text_file(folder_ / "t" / "merges.txt") + json["hash"].get<std::string>();
  };
  const auto encoded = [&](const char* threads) {
    return run({"tokenizer", "encode", "--file", "text.txt", "--tokenizer", "t", "--threads",
                threads})
        .out;
  };
  const std::string alone = learned("1");
  const std::string ids = encoded("1");
  EXPECT_GT(ids.size(), text.size() / 4);
  for (const char* threads : {"2", "3", "4", "0"}) {
    EXPECT_EQ(learned(threads), alone) << threads;
    EXPECT_EQ(encoded(threads), ids) << threads;
  }
}

// The files of gpt2 are those in the folder that is named, whatever vocabulary it is.
TEST_F(TokenizerOptionsUsed, Gpt2IsReadFromTheFolderThatIsNamed) {
  train("the words of the text, the other words", {"--vocab-size", "265"});
  fs::create_directory(folder_ / "gpt2-files");
  for (const char* name : {"vocab.json", "merges.txt"}) {
    fs::copy_file(folder_ / "t" / name, folder_ / "gpt2-files" / name);
  }
  const std::string text = "the other words<|endoftext|> and more";
  const ProcessResult named = run({"tokenizer", "encode", text, "--allow-special", "--tokenizer",
                                   "gpt2", "--tokenizer-dir", "gpt2-files"});
  ASSERT_EQ(named.exit_code, 0) << named.err;
  EXPECT_EQ(named.out,
            run({"tokenizer", "encode", text, "--allow-special", "--tokenizer", "t"}).out);
  std::vector<std::string> decode = with_words(
      {"tokenizer", "decode", "--tokenizer", "gpt2", "--tokenizer-dir", "gpt2-files"}, named.out);
  while (!decode.back().empty() && decode.back().back() == '\n') decode.back().pop_back();
  EXPECT_EQ(run(decode).out, text);

  const ProcessResult prepared =
      run({"data", "prepare", "text.txt", "--tokenizer", "gpt2", "--tokenizer-dir", "gpt2-files",
           "--val-fraction", "0", "-o", "d", "--json"});
  ASSERT_EQ(prepared.exit_code, 0) << prepared.err;
  EXPECT_EQ(last_line(prepared)["vocab_size"], 265);
  const ProcessResult missing =
      run({"tokenizer", "encode", "a", "--tokenizer", "gpt2", "--tokenizer-dir", "nowhere"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_NE(missing.err.find("nowhere: there is no such folder"), std::string::npos) << missing.err;
}

}  // namespace
}  // namespace llm::test
