// The whole way from text files to a dataset folder.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "data/output_folder.h"
#include "data/prepare.h"
#include "data/survey.h"
#include "support/dataset_files.h"
#include "support/expect_error.h"
#include "support/sample_data.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

class PrepareTest : public testing::Test {
 protected:
  PrepareTest() {
    options_.output = folder_ / "out";
    options_.tokenizer = "bytes";
    options_.threads = 2;
    options_.show_progress = false;
  }
  std::string add(const std::string& name, const std::string& text) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    write_file(path, text);
    return path.string();
  }
  // The text behind a split, with | for end-of-text.
  std::string text_of(const TokenSequence& tokens) {
    const auto tokenizer = load_tokenizer(options_.output);
    std::string text;
    for (const TokenId id : all_tokens(tokens)) {
      text += tokenizer->end_of_text() == id ? "|" : std::string(tokenizer->token_bytes(id));
    }
    return text;
  }
  PrepareSummary prepare() {
    const PrepareSummary summary = prepare_dataset(options_);
    const Dataset dataset = open_dataset(options_.output, 0);
    train_ = text_of(dataset.train);
    val_ = text_of(dataset.val);
    EXPECT_EQ(dataset.val_bytes, summary.val.bytes);
    EXPECT_EQ(dataset.tokenizer_hash, load_dataset_tokenizer(dataset)->hash());
    return summary;
  }
  std::vector<std::string> files_in(const fs::path& path) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  // One hash over all files of the output.
  std::string output_hash() {
    std::string all;
    for (const std::string& name : files_in(options_.output)) {
      all += name + " " + sha256_of_file(options_.output / name) + "\n";
    }
    return all;
  }

  TemporaryDirectory folder_;
  PrepareOptions options_;
  std::string train_, val_;
};

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
