#include <gtest/gtest.h>

#include "data/json_records.h"
#include "support/byte_source.h"
#include "support/expect_error.h"
#include "support/hostile_files.h"

namespace llm::test {
namespace {

using Rows = std::vector<std::string>;

Rows rows_of(const std::string& text, size_t step) {
  JsonRecordReader reader(source_of(text, step), "f.json");
  Rows rows;
  JsonRecord record;
  while (reader.next(record)) {
    rows.push_back(record.problem.empty()
                       ? fmt::format("{} {}", record.line, to_line(record.value))
                       : fmt::format("{} ! {}: {}", record.line, record.where, record.problem));
  }
  EXPECT_FALSE(reader.next(record));
  return rows;
}

// The same however the bytes arrive.
Rows rows_of(const std::string& text) {
  const Rows rows = rows_of(text, 1 << 20);
  for (const size_t step : {1, 2, 3, 7}) EXPECT_EQ(rows_of(text, step), rows) << text;
  return rows;
}

TEST(JsonRecords, Lists) {
  EXPECT_EQ(rows_of("[{\"a\": 1}, {\"b\": [2, {}]}]"), (Rows{"1 {\"a\":1}", "1 {\"b\":[2,{}]}"}));
  EXPECT_EQ(rows_of("\xEF\xBB\xBF\n [\n  {\n \"a\": \"],}\\\"\\\\\"\n},\n\n\n2 ,\"x\"\n]\n \n"),
            (Rows{"3 {\"a\":\"],}\\\"\\\\\"}", "8 2", "8 \"x\""}));
  EXPECT_EQ(rows_of("[]"), Rows{});
  EXPECT_EQ(rows_of("[ \n ] \n"), Rows{});
  EXPECT_EQ(rows_of("[[1],[]]"), (Rows{"1 [1]", "1 []"}));
}

TEST(JsonRecords, Lines) {
  EXPECT_EQ(rows_of("{\"a\": 1}\n\n {\"b\": 2}\r\n{\"c\": \"[\"}"),
            (Rows{"1 {\"a\":1}", "3 {\"b\":2}", "4 {\"c\":\"[\"}"}));
  EXPECT_EQ(rows_of("\xEF\xBB\xBF\n\n 5\n"), (Rows{"3 5"}));
  EXPECT_EQ(rows_of(""), Rows{});
  EXPECT_EQ(rows_of(" \n\n"), Rows{});
}

TEST(JsonRecords, BrokenLinesAreNamedAndReadingGoesOn) {
  const Rows rows = rows_of("{\"a\": 1}\n{\"b\": \n{\"c\": 3}\n  x\n{\"d\": 4} 5");
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[0], "1 {\"a\":1}");
  EXPECT_TRUE(rows[1].starts_with("2 ! f.json: line 2, column 6: not valid JSON")) << rows[1];
  EXPECT_EQ(rows[2], "3 {\"c\":3}");
  EXPECT_TRUE(rows[3].starts_with("4 ! f.json: line 4, column 3: not valid JSON")) << rows[3];
  EXPECT_TRUE(rows[4].starts_with("5 ! f.json: line 5, column 10: not valid JSON")) << rows[4];
  // Also in the line whose beginning was looked at.
  EXPECT_TRUE(rows_of("\n   x\n")[0].starts_with("2 ! f.json: line 2, column 4: not valid"));
}

TEST(JsonRecords, BrokenListsAreRefusedWithLineAndColumn) {
  const auto refuse = [](const std::string& text, const std::string& part) {
    for (const size_t step : {1, 1 << 20}) {
      expect_error(ErrorKind::input, part, [&] { rows_of(text, step); });
    }
  };
  std::string list = "[\n";
  for (int i = 2; i < 7312; ++i) list += "{\"a\": 1},\n";
  refuse(list + "  {\"a\": 1, \"b\" 2},\n{\"a\": 1}\n]",
         "f.json: line 7,312, column 17: not valid JSON");
  refuse("[{\"a\": 1}, {\"a\": x}]", "f.json: line 1, column 18: not valid JSON");
  refuse("[{\"a\":\n 1}, {\"a\": 1,\n\n \"a\": 2}]", "f.json: line 4, column 4: not valid JSON");
  refuse("[", "f.json: line 1, column 2: not valid JSON: the list ends without a ]");
  refuse("[1,\n", "f.json: line 2, column 1: not valid JSON: the list ends without a ]");
  refuse("[1\n", "f.json: line 2, column 1: not valid JSON");
  refuse("[{\"a\": 1}, {\"b\": 2}", "the list ends without a ]");
  refuse("[{\"a\": 1}, {\"b\": 2", "f.json: line 1, column 18: not valid JSON");
  refuse("[,1]", "f.json: line 1, column 2: not valid JSON: an element of the list is missing");
  refuse("[1,]", "f.json: line 1, column 4: not valid JSON: an element of the list is missing");
  refuse("[1 2]", "f.json: line 1, column 4: not valid JSON");
  refuse("[1}", "not valid JSON");
  refuse("[1]\n x", "f.json: line 2, column 2: not valid JSON: there is more behind the end");
  refuse("[\"\xFF\"]", "f.json: line 1, column 3: not valid JSON");
}

TEST(JsonRecords, HostileFiles) {
  const std::string deep(1 << 20, '['), open_text = "[\"" + std::string(1 << 20, 'x');
  expect_refused({{"deep", "[" + deep, "nested deeper"},
                  {"open text", open_text, "not valid JSON"},
                  {"huge number", "[1e999]", "out of range"},
                  {"key twice", "[{\"a\":1,\"a\":1}]", "twice"},
                  {"zip", "PK\x03\x04", "is a zip file"},
                  {"UTF-16", "\xFF\xFE[", "UTF-16"}},
                 "f.json", [](const std::string& bytes) { rows_of(bytes, 1 << 16); });
}

}  // namespace
}  // namespace llm::test
