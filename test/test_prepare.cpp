// The whole way from text files to a dataset folder.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <random>
#include <thread>

#include "base/hash.h"
#include "base/json.h"
#include "support/dataset_files.h"
#include "support/prepare_test.h"
#include "support/sample_data.h"

namespace llm::test {
namespace {

TEST_F(PrepareTest, OneTextIsCutByCharacters) {
  options_.inputs = {add("a.txt", "caf\u00E9 \u4E2D\u6587 0123456789 end")};  // 22 characters
  options_.val_fraction = 0.25;
  const PrepareSummary summary = prepare();
  EXPECT_EQ(train_, "caf\u00E9 \u4E2D\u6587 01234567");
  EXPECT_EQ(val_, "89 end");
  EXPECT_EQ(summary.train.characters, 16);
  EXPECT_EQ(summary.val.characters, 6);
  EXPECT_EQ(summary.val.bytes, 6);
  EXPECT_EQ(summary.split_unit, "chars");
  EXPECT_EQ(files_in(options_.output),
            (std::vector<std::string>{"dataset.json", "tokenizer.json", "train_000000.bin",
                                      "val_000000.bin"}));
}

TEST_F(PrepareTest, EveryFractionOfCharacters) {
  const std::string text = "0123456789";
  const std::string jsonl =
      "{\"text\":\"012\"}\n{\"text\":\"3\"}\n{\"text\":\"456\"}\n{\"text\":\"789\"}\n";
  options_.split = SplitUnit::characters;
  options_.force = true;
  for (int val = 1; val <= 9; ++val) {
    options_.val_fraction = val / 10.0;
    const auto train_chars = static_cast<size_t>(10 - val);
    options_.inputs = {add("a.txt", text)};
    prepare();
    EXPECT_EQ(train_, text.substr(0, train_chars));
    EXPECT_EQ(val_, text.substr(train_chars));
    // Over documents: a cut on a border makes no empty document on either side.
    options_.inputs = {add("a.jsonl", jsonl)};
    const PrepareSummary summary = prepare();
    const std::string all = "012|3|456|789";
    size_t at = 0;
    for (size_t seen = 0; seen < train_chars; ++at) seen += all[at] != '|' ? 1 : 0;
    EXPECT_EQ(train_, all.substr(0, at));
    EXPECT_EQ(val_, all.substr(all[at] == '|' ? at + 1 : at));
    EXPECT_EQ(summary.train.documents, std::count(train_.begin(), train_.end(), '|') + 1);
    EXPECT_EQ(summary.val.documents, std::count(val_.begin(), val_.end(), '|') + 1);
    EXPECT_EQ(summary.train.characters + summary.val.characters, 10);
  }
}

TEST_F(PrepareTest, DocumentsAreCutByDocuments) {
  std::string jsonl, expected;
  for (int i = 0; i < 100; ++i) {
    jsonl += fmt::format("{{\"text\": \"d{}\"}}\n", i);
    expected += fmt::format("{}d{}", i % 90 == 0 ? "" : "|", i);
  }
  options_.inputs = {add("a.jsonl", jsonl)};
  const PrepareSummary summary = prepare();
  EXPECT_EQ(summary.split_unit, "documents");
  EXPECT_EQ(summary.train.documents, 90);
  EXPECT_EQ(summary.val.documents, 10);
  EXPECT_EQ(train_ + val_, expected);
  EXPECT_TRUE(val_.starts_with("d90|"));
  // Too few for a tenth of them to mean anything: by characters then, unless asked for.
  options_.output = folder_ / "few";
  options_.inputs = {add("few.jsonl", "{\"text\":\"12345\"}\n{\"text\":\"67890\"}\n")};
  EXPECT_EQ(prepare().split_unit, "chars");
  EXPECT_EQ(val_, "0");
  options_.split = SplitUnit::documents;
  options_.force = true;
  EXPECT_EQ(prepare().split_unit, "documents");
  EXPECT_EQ(train_, "12345");
  EXPECT_EQ(val_, "67890");
}

TEST_F(PrepareTest, ValidationFromFilesOfItsOwn) {
  options_.inputs = {add("a.txt", "train"), add("b.txt", "more")};
  options_.val_inputs = {add("v.jsonl", "{\"text\":\"val\"}\n{\"text\":\"more\"}\n")};
  options_.filters.deduplicate = true;  // what is in train is no validation
  const PrepareSummary summary = prepare();
  EXPECT_EQ(train_, "train|more");
  EXPECT_EQ(val_, "val");
  EXPECT_EQ(summary.split_unit, "files");
  EXPECT_EQ(summary.filters.duplicates.documents, 1);
  EXPECT_EQ(summary.files, 3);
}

TEST_F(PrepareTest, WithoutValidation) {
  options_.inputs = {add("a.txt", "text")};
  options_.val_fraction = 0;
  EXPECT_EQ(prepare().val.tokens, 0);
  EXPECT_EQ(train_, "text");
  EXPECT_EQ(val_, "");
}

TEST_F(PrepareTest, FiltersAndWhatTheyRemoved) {
  options_.inputs = {add("a.jsonl",
                         "{\"text\":\"first\\u200b document\"}\n{\"text\":\"\"}\n"
                         "{\"text\":\"x\"}\n{\"text\":\"first document\"}\n"
                         "{\"text\":\"\\u0420\\u0443\\u0441\\u0441\\u043a\\u0438\\u0439\"}\n"
                         "{\"text\":\"second\\u0007\\r\\ndocument\"}\n"),
                     add("b.txt", "bad \xFF byte")};
  options_.val_fraction = 0;
  options_.filters.min_chars = 2;
  options_.filters.deduplicate = true;
  options_.filters.language = parse_language_filter("latin");
  const PrepareSummary summary = prepare();
  EXPECT_EQ(train_, "first document|second\ndocument|bad \uFFFD byte");
  const FilterReport& report = summary.filters;
  EXPECT_EQ(report.invalid_bytes, 1);
  EXPECT_EQ(report.control_characters, 1);
  EXPECT_EQ(report.format_characters, 1);
  EXPECT_EQ(report.line_ends, 1);
  EXPECT_EQ(report.empty.documents, 1);
  EXPECT_EQ(report.short_documents.documents, 1);
  EXPECT_EQ(report.other_language.documents, 1);
  EXPECT_EQ(report.duplicates.documents, 1);
  const Json description = read_json_file(options_.output / "dataset.json");
  EXPECT_EQ(description["removed"], to_json(report));
  EXPECT_EQ(description["filters"]["language_scripts"][0], "latin");
  EXPECT_EQ(description["sources"]["files"][1]["sha256"], sha256_of(as_bytes("bad \xFF byte")));
  EXPECT_EQ(description["sources"]["files"][1]["bytes"], 10);
}

TEST_F(PrepareTest, CharsTokenizerIsCollectedFromWhatStays) {
  options_.tokenizer = "chars";
  options_.inputs = {add("a.txt", "hello world")};
  options_.val_inputs = {add("v.txt", "hex")};
  EXPECT_EQ(prepare().vocab_size, 9);
  EXPECT_EQ(train_, "hello world");
  EXPECT_EQ(val_, "hex");
  options_.output = folder_ / "bytes";
  options_.val_inputs.clear();
  options_.val_fraction = 0.5;
  options_.inputs = {add("a.jsonl", "{\"text\":\"ab\"}\n{\"text\":\"z\"}\n{\"text\":\"ba\"}\n")};
  options_.filters.min_chars = 2;
  EXPECT_EQ(prepare().vocab_size, 2);
  EXPECT_EQ(train_ + "," + val_, "ab,ba");
}

TEST_F(PrepareTest, ShardsAndThreadsDoNotChangeTheTokens) {
  std::mt19937 random(5);
  std::string jsonl;
  for (int i = 0; i < 3000; ++i) {
    jsonl += fmt::format("{{\"text\": \"document {} {}\"}}\n", i, std::string(random() % 50, 'y'));
  }
  options_.inputs = {add("a.jsonl", jsonl)};
  prepare();
  const std::string train = train_, val = val_, hash = output_hash();
  options_.force = true;
  options_.threads = 1;
  prepare();
  EXPECT_EQ(output_hash(), hash);
  options_.shard_tokens = 10'000;
  const PrepareSummary summary = prepare();
  EXPECT_EQ(train_, train);
  EXPECT_EQ(val_, val);
  EXPECT_EQ(static_cast<int64_t>(summary.train.files.size()),
            (summary.train.tokens + 9'999) / 10'000);
  options_.shard_tokens = 1 << 20;
  prepare();
  EXPECT_EQ(files_in(options_.output).size(), 4u);  // the many shards are gone again
}

TEST_F(PrepareTest, ReadsPipes) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] {
    FileWriter file(pipe);
    file.write("from a pipe");
    file.close();
  });
  options_.inputs = {pipe.string()};
  options_.val_fraction = 0;
  prepare();
  writer.join();
  EXPECT_EQ(train_, "from a pipe");
  EXPECT_EQ(files_in(options_.output).size(), 3u);
  const Json description = read_json_file(options_.output / "dataset.json");
  EXPECT_EQ(description["sources"]["files"][0]["path"], pipe.string());
}

TEST_F(PrepareTest, OutputInsideTheInputFolderIsNotRead) {
  add("corpus/a.txt", "text of the corpus");
  options_.inputs = {(folder_ / "corpus").string()};
  options_.output = folder_ / "corpus" / "out";
  options_.val_fraction = 0;
  prepare();
  add("corpus/out/extra.txt", "not this");
  options_.force = true;
  prepare();
  EXPECT_EQ(train_, "text of the corpus");
}

TEST_F(PrepareTest, TinyShakespeareAsCharacters) {
  const auto path = sample_data("tinyshakespeare.txt");
  if (!path) GTEST_SKIP() << "no sample data";
  options_.inputs = {path->string()};
  options_.tokenizer = "chars";
  const PrepareSummary summary = prepare();
  EXPECT_EQ(summary.vocab_size, 65);
  EXPECT_EQ(summary.train.tokens, 1'003'854);
  EXPECT_EQ(summary.val.tokens, 111'540);
  EXPECT_EQ(train_ + val_, read_text_file(*path));
}

TEST_F(PrepareTest, TheVerdictWithGpt2) {
  const auto path = sample_data("the-verdict.txt"), gpt2 = sample_data("gpt2");
  if (!path || !gpt2) GTEST_SKIP() << "no sample data";
  options_.inputs = {path->string()};
  options_.tokenizer = "gpt2";
  options_.tokenizer_dir = *gpt2;
  options_.val_fraction = 0;
  const PrepareSummary summary = prepare();
  EXPECT_EQ(summary.train.tokens, 5'145);
  EXPECT_EQ(summary.train.characters, 20'479);
  EXPECT_EQ(train_, read_text_file(*path));
}

}  // namespace
}  // namespace llm::test
