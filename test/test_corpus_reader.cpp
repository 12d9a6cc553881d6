#include <gtest/gtest.h>

#include "base/hash.h"
#include "base/rng.h"
#include "data/corpus_reader.h"
#include "support/byte_source.h"
#include "support/dataset_files.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

std::vector<std::string> documents_of(DocumentReader& reader) {
  std::vector<std::string> documents;
  std::string document;
  DocumentPart part;
  while (reader.next(part)) {
    document += part.text;
    if (part.last) documents.push_back(std::move(document)), document.clear();
  }
  EXPECT_TRUE(document.empty());
  return documents;
}

std::vector<std::string> jsonl(const std::string& text, const std::string& key = "text",
                               size_t step = 7) {
  return documents_of(*read_jsonl_documents(source_of(text, step), "f.jsonl", key));
}

void refuse_jsonl(const std::string& text, const std::string& part) {
  for (const size_t step : {size_t{1}, size_t{1} << 20}) {
    expect_error(ErrorKind::input, part, [&] { jsonl(text, "text", step); });
  }
}

TEST(ReadJsonl, OneDocumentPerLine) {
  const std::vector<std::string> expected{"a", "line\nfeed \u4E2D", "", "last"};
  const std::string text =
      "{\"text\": \"a\"}\n\n  \t\r\n{\"id\": [1, {}], \"text\":\"line\\nfeed \\u4e2d\"}\r\n"
      "{\"text\": \"\"}\n{\"text\": \"last\"}";
  for (const size_t step : {1, 3, 1000}) {
    EXPECT_EQ(jsonl(text, "text", step), expected);
    EXPECT_EQ(jsonl(text + "\n", "text", step), expected);
    EXPECT_EQ(jsonl("\xEF\xBB\xBF" + text, "text", step), expected);
  }
  EXPECT_EQ(jsonl("{\"body\": \"b\", \"text\": 5}\n", "body"), std::vector<std::string>{"b"});
  EXPECT_TRUE(jsonl("").empty());
  EXPECT_TRUE(jsonl("\n\n \n").empty());
}

TEST(ReadJsonl, ManyLinesAndLongLines) {
  std::string text, longest(3 << 20, 'x');
  for (int i = 0; i < 20'000; ++i) text += fmt::format("{{\"text\": \"document {}\"}}\n", i);
  text += "{\"text\": \"" + longest + "\"}\n{\"text\": \"end\"}";
  const std::vector<std::string> documents = jsonl(text, "text", 4096);
  ASSERT_EQ(documents.size(), 20'002u);
  EXPECT_EQ(documents[12'345], "document 12345");
  EXPECT_EQ(documents[20'000], longest);
  EXPECT_EQ(documents[20'001], "end");
}

TEST(ReadJsonl, RefusesBrokenLinesWithTheirNumber) {
  const std::string good = "{\"text\": \"a\"}\n";
  refuse_jsonl(good + good + "{\"text\": \"b\"\n", "f.jsonl: line 3, column 12: not valid JSON");
  refuse_jsonl(good + "\n" + "not json\n", "f.jsonl: line 3, column");
  refuse_jsonl(good + "{\"text\": \"b\"} {\"text\": \"c\"}\n", "f.jsonl: line 2, column");
  refuse_jsonl("{\"text\": \"\xFF\"}\n", "f.jsonl: line 1");
  refuse_jsonl("{\"text\": \"cut \xE4\xB8\"}\n", "f.jsonl: line 1");
  refuse_jsonl("{\"text\": \"\\ud800\"}\n", "f.jsonl: line 1");
  refuse_jsonl("{\"text\": \"a\", \"text\": \"b\"}\n", "f.jsonl: line 1");
  refuse_jsonl(good + "[\"text\"]\n", "f.jsonl: line 2: expected a JSON object, found array");
  refuse_jsonl(good + "\"text\"\n", "f.jsonl: line 2: expected a JSON object, found string");
  refuse_jsonl(good + "{\"text\": null}\n", "f.jsonl: line 2: \"text\": expected a string");
  refuse_jsonl(good + "{\"text\": [\"a\"]}\n", "f.jsonl: line 2: \"text\": expected a string");
  refuse_jsonl(good + "{\"body\": \"a\", \"n\": 1}\n", "f.jsonl: line 2: there is no key \"text\"");
  refuse_jsonl(good + "{\"body\": \"a\", \"n\": 1}\n", "keys with strings here: body");
  refuse_jsonl("{\"text\": " + std::string(100'000, '[') + "\n", "f.jsonl: line 1");
}

TEST(ReadText, PartsEndBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "a\u00E9\u4E2D\U0001F600\xFF";
  for (const size_t part_bytes : {4, 5, 6, 7, 100}) {
    for (const size_t step : {1, 3, 1000}) {
      const auto reader = read_text_documents(source_of(text, step), "f.txt", part_bytes);
      std::string together;
      DocumentPart part;
      int last = 0;
      while (reader->next(part)) {
        ASSERT_EQ(part.offset, static_cast<int64_t>(together.size()));
        ASSERT_LE(part.text.size(), part_bytes);
        ASSERT_EQ(last, 0);
        // A part that began amid a character would begin with a continuation byte.
        if (!part.text.empty()) {
          ASSERT_NE(static_cast<unsigned char>(part.text[0]) & 0xC0, 0x80);
        }
        together += part.text;
        last += part.last ? 1 : 0;
      }
      ASSERT_EQ(last, 1);
      ASSERT_EQ(together, text);
    }
  }
  // A cut character at the end is there as well.
  EXPECT_EQ(documents_of(*read_text_documents(source_of("abc\xE4\xB8"), "f", 4)),
            std::vector<std::string>{"abc\xE4\xB8"});
  EXPECT_EQ(documents_of(*read_text_documents(source_of(""), "f")), std::vector<std::string>{""});
}

TEST(ReadText, RefusesOtherFormats) {
  using namespace std::string_literals;
  for (const auto& [bytes, part] :
       std::vector<std::pair<std::string, std::string>>{{"\xFF\xFEh\0i\0"s, "UTF-16"},
                                                        {"\xFE\xFF\0h\0i"s, "UTF-16"},
                                                        {"\x1F\x8B\x08\0abc"s, "gzip"},
                                                        {"PK\x03\x04rest"s, "zip"},
                                                        {"PAR1...."s, "Parquet"},
                                                        {"%PDF-1.7"s, "PDF"},
                                                        {"\x28\xB5\x2F\xFD...."s, "Zstandard"},
                                                        {"\x7F\x45LF\2\1\1\0"s, "program"},
                                                        {"\x89PNG\r\n"s, "image"},
                                                        {std::string(100, '\0'), "binary"}}) {
    const std::string file = bytes;
    expect_error(ErrorKind::input, part,
                 [&] { documents_of(*read_text_documents(source_of(file), "f.txt")); });
    expect_error(ErrorKind::input, part, [&] { jsonl(file, "text", 1000); });
  }
}

TEST(ReadText, BinaryFilesAreKnownByTheirControlCharacters) {
  const Random random(3, 0);
  std::string noise(10'000, '\0');
  for (size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>(random.bits32(i));
  const std::string text(10'000, 'a');
  const auto read = [](const std::string& bytes) {
    return documents_of(*read_text_documents(source_of(bytes), "f.txt")).size();
  };
  expect_error(ErrorKind::input, "is a binary file, not text", [&] { read(noise); });
  expect_error(ErrorKind::input, "is a binary file, not text", [&] { read(text + noise + noise); });
  // Text with a few of them, or with those that old files and terminals use, stays text.
  EXPECT_GT(read(text + std::string(31, '\0')), 0u);
  EXPECT_GT(read(text + std::string(399, '\1')), 0u);
  EXPECT_GT(read(std::string(10'000, '\t') + std::string(100, '\f') + std::string(100, '\x1b')),
            0u);
  EXPECT_GT(read(std::string(10'000, '\xE4')), 0u);  // Latin-1: invalid bytes have their own option
}

class CorpusFilesTest : public testing::Test {
 protected:
  void add(const std::string& name, const std::string& text) {
    fs::create_directories((folder_ / name).parent_path());
    write_file(folder_ / name, text);
  }
  std::vector<std::string> names(const std::vector<std::string>& inputs,
                                 CorpusFormat format = CorpusFormat::by_name,
                                 const fs::path& exclude = {}) {
    std::vector<std::string> names;
    for (const CorpusFile& file : list_corpus_files(inputs, format, exclude).files) {
      names.push_back(fs::path(file.name).lexically_relative(folder_.path()).string() +
                      (file.jsonl ? "*" : ""));
    }
    return names;
  }
  TemporaryDirectory folder_;
};

TEST_F(CorpusFilesTest, ListsFoldersInOrder) {
  for (const char* name : {"b.txt", "a.JSONL", "sub/deep/c.md", "sub/a.txt", "z.ndjson", "x.bin",
                           ".hidden.txt", ".git/config.txt", "out/merges.txt", "notes.csv"}) {
    add(name, "x");
  }
  const std::string root = folder_.path().string();
  EXPECT_EQ(
      names({root}, CorpusFormat::by_name, folder_ / "out"),
      (std::vector<std::string>{"a.JSONL*", "b.txt", "sub/a.txt", "sub/deep/c.md", "z.ndjson*"}));
  EXPECT_EQ(list_corpus_files({root}, CorpusFormat::by_name, folder_ / "out").skipped, 2);
  EXPECT_EQ(names({root + "/sub", root + "/b.txt", root + "/notes.csv"}),
            (std::vector<std::string>{"sub/a.txt", "sub/deep/c.md", "b.txt", "notes.csv"}));
  EXPECT_EQ(names({root + "/b.txt"}, CorpusFormat::jsonl), std::vector<std::string>{"b.txt*"});
  EXPECT_EQ(names({root}, CorpusFormat::jsonl),
            (std::vector<std::string>{"a.JSONL*", "z.ndjson*"}));
}

TEST_F(CorpusFilesTest, RefusesWhatIsNotThere) {
  add("only.bin", "x");
  add("all.json", "[]");
  const std::string root = folder_.path().string();
  expect_error(ErrorKind::input, "no such file",
               [&] { list_corpus_files({root + "/none.txt"}, CorpusFormat::by_name); });
  expect_error(ErrorKind::input, "JSONL",
               [&] { list_corpus_files({root + "/all.json"}, CorpusFormat::by_name); });
  fs::remove(folder_ / "all.json");
  expect_error(ErrorKind::input, "no text found (1 other files)",
               [&] { list_corpus_files({root}, CorpusFormat::by_name); });
}

TEST_F(CorpusFilesTest, ReadsFilesOneAfterTheOther) {
  add("a.txt", "first");
  add("b.jsonl", "{\"text\": \"second\"}\n{\"text\": \"third\"}\n");
  add("c.txt", "");
  CorpusReader reader(list_corpus_files({folder_.path().string()}, CorpusFormat::by_name).files,
                      "text", true);
  std::vector<std::string> documents, files;
  DocumentPart part;
  while (reader.next(part)) {
    ASSERT_TRUE(part.last);
    documents.push_back(part.text);
    files.push_back(fs::path(reader.file_name()).filename().string());
  }
  EXPECT_EQ(documents, (std::vector<std::string>{"first", "second", "third", ""}));
  EXPECT_EQ(files, (std::vector<std::string>{"a.txt", "b.jsonl", "b.jsonl", "c.txt"}));
  ASSERT_EQ(reader.figures().size(), 3u);
  EXPECT_EQ(reader.figures()[0].sha256, sha256_of(as_bytes("first")));
  EXPECT_EQ(reader.figures()[0].crc, crc32c(as_bytes("first")));
  EXPECT_EQ(reader.figures()[1].documents, 2);
  EXPECT_EQ(reader.figures()[2].bytes, 0);
  EXPECT_EQ(reader.bytes_read(), 5 + 19 + 18);
}

}  // namespace
}  // namespace llm::test
