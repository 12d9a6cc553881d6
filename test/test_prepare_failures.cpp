// What preparing a dataset refuses, and what is in the folder after it failed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "data/survey.h"
#include "support/dataset_files.h"
#include "support/expect_error.h"
#include "support/prepare_test.h"

namespace llm::test {
namespace {

TEST_F(PrepareTest, RefusesAFolderThatHoldsSomethingUnlessForced) {
  options_.inputs = {add("a.txt", "some text")};
  prepare();
  expect_error(ErrorKind::usage, "not empty", [&] { prepare_dataset(options_); });
  add("out/notes.txt", "mine");
  options_.force = true;
  options_.inputs = {add("b.txt", "other text")};
  prepare();
  EXPECT_EQ(train_ + val_, "other text");
  EXPECT_EQ(read_text_file(options_.output / "notes.txt"), "mine");
  options_.output = folder_ / "a.txt";
  expect_error(ErrorKind::usage, "is a file", [&] { prepare_dataset(options_); });
}

TEST_F(PrepareTest, BadInputLeavesTheOldDatasetAlone) {
  options_.inputs = {add("a.txt", "some text")};
  prepare();
  const std::string hash = output_hash();
  options_.force = true;
  const auto refuse = [&](const std::vector<std::string>& inputs, const std::string& part) {
    options_.inputs = inputs;
    expect_error(ErrorKind::input, part, [&] { prepare_dataset(options_); });
    EXPECT_EQ(output_hash(), hash);
  };
  refuse({add("broken.jsonl", "{\"text\":\"a\"}\n{\n")}, "line 2");
  refuse({add("key.jsonl", "{\"txt\":\"a\"}\n")}, "no key \"text\"");
  refuse({add("empty.txt", "")}, "there is no text");
  refuse({add("empty.jsonl", "\n\n")}, "there is no text");
  refuse({add("blank.txt", "\u200B\x01")}, "there is no text");
  refuse({"/no/such/file"}, "no such file");
  refuse({add("single.txt", "x")}, "1 character cannot be divided");
  options_.split = SplitUnit::documents;
  refuse({add("a.txt", "some text")}, "1 document cannot be divided");
  options_.filters.min_chars = 100;
  refuse({add("a.txt", "some text")}, "the filters removed all 1 documents");
  options_.filters = {};
  options_.filters.invalid_utf8 = InvalidUtf8::refuse;
  refuse({add("latin1.txt", "caf\xE9")}, "latin1.txt: offset 3");
  options_.output = folder_ / "new";
  options_.inputs = {add("empty.txt", "")};
  expect_error(ErrorKind::input, "there is no text", [&] { prepare_dataset(options_); });
  EXPECT_FALSE(fs::exists(options_.output));
}

TEST_F(PrepareTest, RefusesBadArguments) {
  options_.inputs = {add("a.txt", "some text")};
  const auto refuse = [&](ErrorKind kind, const std::string& part) {
    expect_error(kind, part, [&] { prepare_dataset(options_); });
    EXPECT_FALSE(fs::exists(options_.output));
  };
  options_.val_fraction = 1;
  refuse(ErrorKind::usage, "--val-fraction");
  options_.val_fraction = -0.1;
  refuse(ErrorKind::usage, "--val-fraction");
  options_.val_fraction = 0.1;
  options_.shard_tokens = 0;
  refuse(ErrorKind::usage, "--shard-tokens");
  options_.shard_tokens = int64_t{1} << 31;
  refuse(ErrorKind::usage, "--shard-tokens");
  options_.shard_tokens = 100;
  options_.tokenizer = "no-such-tokenizer";
  refuse(ErrorKind::usage, "--tokenizer");
  options_.tokenizer = "bytes";
  options_.inputs = {"-", "-"};
  refuse(ErrorKind::usage, "only once");
}

TEST_F(PrepareTest, EveryFailedWriteLeavesNoHalfDataset) {
  options_.inputs = {add("a.txt", "some text to be written")};
  options_.shard_tokens = 8;
  int64_t operations = 0;
  set_file_hook([&](int64_t number, FileOperation, const fs::path&) { operations = number; });
  prepare();
  ASSERT_GT(operations, 10);
  set_file_hook({});
  fs::remove_all(options_.output);
  for (int64_t k = 1; k <= operations; ++k) {
    set_file_hook([&](int64_t number, FileOperation, const fs::path& path) {
      if (number == k) fail_disk(path.string(), "write", ENOSPC);
    });
    expect_error(ErrorKind::disk, "No space left", [&] { prepare_dataset(options_); });
    set_file_hook({});
    // Either nothing is there, or dataset.json came last and all is.
    if (fs::exists(options_.output / "dataset.json")) {
      open_dataset(options_.output, 0);
    } else {
      EXPECT_FALSE(fs::exists(options_.output))
          << k << ": " << fmt::format("{}", fmt::join(files_in(options_.output), " "));
    }
    options_.force = fs::exists(options_.output);
  }
  prepare();
  EXPECT_EQ(train_ + val_, "some text to be written");
}

TEST_F(PrepareTest, GoesOnAfterAnInterruptedRun) {
  options_.inputs = {add("a.txt", "some text")};
  add("out/.lock", "");
  add("out/train_000000.bin", "half");
  add("out/train_000017.bin", "a shard");
  add("out/.prepare-train-0", "copied input");
  prepare();
  EXPECT_EQ(train_ + val_, "some text");
  EXPECT_FALSE(fs::exists(options_.output / "train_000017.bin"));
  // Without the lock it may be somebody's data.
  options_.output = folder_ / "foreign";
  add("foreign/train_000000.bin", "not ours");
  expect_error(ErrorKind::usage, "not empty", [&] { prepare_dataset(options_); });
}

TEST_F(PrepareTest, RefusesInputThatChangesMeanwhile) {
  const std::string path = add("a.jsonl", "{\"text\":\"first\"}\n{\"text\":\"second\"}\n");
  const std::vector<CorpusFile> files{{path, path, true}};
  FilterOptions options;
  TextCleaner cleaner(options);
  DocumentFilter filter(options);
  FilterReport report;
  const CorpusSurvey survey =
      survey_corpus(files, "text", cleaner, filter, nullptr, report, [](int64_t) {});
  EXPECT_EQ(survey.documents, 2);
  EXPECT_EQ(survey.characters, 11);
  const auto read_again = [&] {
    SurveyedReader reader(files, "text", options, survey);
    std::string all;
    std::string_view text;
    bool last = false;
    while (reader.next(text, last)) all += text;
    return all;
  };
  EXPECT_EQ(read_again(), "firstsecond");
  for (const char* other :
       {"{\"text\":\"first\"}\n{\"text\":\"Second\"}\n", "{\"text\":\"first\"}\n",
        "{\"text\":\"first\"}\n{\"text\":\"second\"}\n{\"text\":\"third\"}\n"}) {
    write_file(path, other);
    expect_error(ErrorKind::input, "was changed while it was being read", read_again);
  }
}

}  // namespace
}  // namespace llm::test
