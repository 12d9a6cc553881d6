#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"
#include "data/table_reader.h"
#include "support/byte_source.h"
#include "support/expect_error.h"
#include "support/sample_data.h"

namespace llm::test {
namespace {

using Fields = std::vector<std::string>;
using Table = std::vector<Fields>;

// Rows as "LINE|field|field", bad ones as "LINE!problem".
Fields shown_rows(TableReader reader) {
  Fields rows;
  TableRow row;
  while (reader.next(row)) {
    std::string text = std::to_string(row.line) + (row.problem.empty() ? "" : "!" + row.problem);
    for (const std::string& field : row.fields) text += "|" + field;
    rows.push_back(text);
  }
  EXPECT_FALSE(reader.next(row));
  return rows;
}

// The same however the bytes arrive.
Fields table_rows(const std::string& text, Quoting quoting = Quoting::by_format,
                  std::optional<char> delimiter = std::nullopt) {
  const Fields rows = shown_rows({source_of(text, 1 << 20), "f.csv", quoting, delimiter});
  for (const size_t step : {1, 2, 3, 7}) {
    EXPECT_EQ(shown_rows({source_of(text, step), "f.csv", quoting, delimiter}), rows) << text;
  }
  return rows;
}

TEST(TableReader, CommasAndQuotes) {
  EXPECT_EQ(table_rows("a,b\nc,d\n"), (Fields{"1|a|b", "2|c|d"}));
  EXPECT_EQ(table_rows("a,b\nc,d"), (Fields{"1|a|b", "2|c|d"}));
  EXPECT_EQ(table_rows("a,b\r\nc,d\r\n"), (Fields{"1|a|b", "2|c|d"}));
  EXPECT_EQ(table_rows("a,b\r\nc,d\r"), (Fields{"1|a|b", "2|c|d"}));
  EXPECT_EQ(table_rows("\xEF\xBB\xBF\"a\",b\n"), (Fields{"1|a|b"}));
  EXPECT_EQ(table_rows(",\n,,\n"), (Fields{"1||", "2|||"}));
  EXPECT_EQ(table_rows("\"a,\"\"b\"\"\",\"\"\"\"\n"), (Fields{"1|a,\"b\"|\""}));
  EXPECT_EQ(table_rows("\"a\nb\r\nc\",d\n\n\r\ne,f\n"), (Fields{"1|a\nb\r\nc|d", "6|e|f"}));
  EXPECT_EQ(table_rows("\"\"\n\n\"\""), (Fields{"1|", "3|"}));
  EXPECT_EQ(table_rows(" a , b \n"), (Fields{"1| a | b "}));
  EXPECT_EQ(table_rows("\"a\"\r,\"b\r\"\r\n"), (Fields{"1|a\r|b\r"}));
  // As pandas reads them.
  EXPECT_EQ(table_rows("\"a\" b,c \"d\"\n\"a\"b\"\",c\n"), (Fields{"1|a b|c \"d\"", "2|ab\"\"|c"}));
  EXPECT_EQ(table_rows(""), Fields{});
  EXPECT_EQ(table_rows("\n\r\n\n"), Fields{});
  EXPECT_EQ(table_rows("one\ntwo\n"), (Fields{"1|one", "2|two"}));
}

TEST(TableReader, TheFormatIsToldFromTheRows) {
  EXPECT_EQ(table_rows("ham\tHi, you\nspam\t\"Win, now\n"),
            (Fields{"1|ham|Hi, you", "2|spam|\"Win, now"}));
  EXPECT_EQ(table_rows("label,text\nham,a\tb\nham,c\td\n"),
            (Fields{"1|label|text", "2|ham|a\tb", "3|ham|c\td"}));
  EXPECT_EQ(table_rows("ham,a\tb\nham,c\nham,d\n"), (Fields{"1|ham|a\tb", "2|ham|c", "3|ham|d"}));
  EXPECT_EQ(table_rows("ham\t\"a\nspam\tb\"\n", Quoting::csv), (Fields{"1|ham|a\nspam\tb"}));
  EXPECT_EQ(table_rows("ham,\"a\nspam,b\"\n", Quoting::none), (Fields{"1|ham|\"a", "2|spam|b\""}));
  EXPECT_EQ(table_rows("a;b\tc\n", Quoting::by_format, ';'), (Fields{"1|a|b\tc"}));
  const TableReader tabs(source_of("a\tb\n"), "f");
  EXPECT_EQ(tabs.format().delimiter, '\t');
  EXPECT_FALSE(tabs.format().quotes);
  const TableReader commas(source_of("a,b\n"), "f");
  EXPECT_EQ(commas.format().delimiter, ',');
  EXPECT_TRUE(commas.format().quotes);
  EXPECT_EQ(quoting_named("csv"), Quoting::csv);
  EXPECT_EQ(quoting_named("none"), Quoting::none);
  expect_error(ErrorKind::usage, "--quoting: \"all\" is none of csv, none",
               [] { quoting_named("all"); });
}

TEST(TableReader, BadRowsHaveTheirLinesAndReadingGoesOn) {
  EXPECT_EQ(table_rows("a,b\nc,\"d\ne,f\n"),
            (Fields{"1|a|b", "2!the quote that opens here is never closed", "3|e|f"}));
  EXPECT_EQ(table_rows("\"a\nb\",\"c\nd,e"),
            (Fields{"2!the quote that opens here is never closed", "3|d|e"}));
  EXPECT_EQ(table_rows("a,\""), (Fields{"1!the quote that opens here is never closed"}));
  EXPECT_EQ(table_rows("a,b\nc,\xE9t\xE9\nd,e\n"),
            (Fields{"1|a|b", "2!byte 0xE9 is no UTF-8 text", "3|d|e"}));
  EXPECT_EQ(table_rows("a,\"b\n\xFF\nc\"\nd,e\n"),
            (Fields{"2!byte 0xFF is no UTF-8 text", "4|d|e"}));
  EXPECT_EQ(table_rows("a,\xE4\xB8"), (Fields{"1!byte 0xE4 is no UTF-8 text"}));
  for (const char* bad : {"\xFF\xFEh\0i", "PK\x03\x04rest"}) {
    expect_error(ErrorKind::input, "f.csv: is ", [&] { TableReader(source_of(bad), "f.csv"); });
  }
  expect_error(ErrorKind::input, "f.csv: its lines end with carriage returns only",
               [] { TableReader(source_of("a,b\rc,d\re,f"), "f.csv"); });
}

TEST(TableReader, LongRows) {
  const std::string longest(kMaxRowBytes - 3, 'x'), hint = "a row of more than 16,777,216 bytes";
  const auto rows = [](const std::string& text) {
    return shown_rows({source_of(text, 1 << 16), "f"});
  };
  EXPECT_EQ(rows("a," + longest + "\nb,c\n"), (Fields{"1|a|" + longest, "2|b|c"}));
  EXPECT_EQ(rows("a," + longest + "x\nb,c\n"), (Fields{"1!" + hint, "2|b|c"}));
  EXPECT_EQ(rows("b,c\na," + longest + longest + longest + "\nb,c"),
            (Fields{"1|b|c", "2!" + hint, "3|b|c"}));
  EXPECT_EQ(rows("a,\"b\n" + longest + "\nc,d\n").front(),
            "1!the quote that opens here is not closed within 16,777,216 bytes");
  EXPECT_EQ(rows("a,\"b\n" + longest + "\nc,d\n").back(), "3|c|d");
}

TEST(TableReader, FirstRowsAreTheBeginning) {
  std::string text = "label,text\n\n";
  for (int i = 0; i < 20'000; ++i) text += fmt::format("ham,\"message\n{}\"\n", i);
  TableReader reader(source_of(text, 4096), "f");
  const auto& first = reader.first_rows();
  EXPECT_GT(first.size(), 1000u);
  EXPECT_LT(first.size(), 10'000u);
  TableRow row;
  for (const TableRow& expected : first) {
    ASSERT_TRUE(reader.next(row));
    ASSERT_EQ(row.fields, expected.fields);
    ASSERT_EQ(row.line, expected.line);
  }
  size_t rest = 0;
  while (reader.next(row)) ++rest;
  EXPECT_EQ(first.size() + rest, 20'001u);
  EXPECT_EQ(row.line, 2 * 20'000 + 1);
}

TEST(TableReader, WhatIsWrittenReadsBack) {
  const std::vector<std::string> pieces = {"",   "a", ",",    "\"",     "\n", "\r", "\r\n",
                                           "\t", " ", "\"\"", "\u00E9", "#",  "\\"};
  RandomSequence random(42, stream_id("table"));
  for (int round = 0; round < 300; ++round) {
    Table table(1 + random.below(5), Fields(1 + random.below(3)));
    std::string text;
    for (Fields& fields : table) {
      for (std::string& field : fields) {
        for (uint64_t i = random.below(6); i > 0; --i) field += pieces[random.below(pieces.size())];
      }
      append_csv_row(text, {fields.begin(), fields.end()});
    }
    TableReader reader(source_of(text), "f", Quoting::csv, ',');
    Table read;
    TableRow row;
    while (reader.next(row)) {
      ASSERT_EQ(row.problem, "") << text;
      read.push_back(row.fields);
    }
    ASSERT_EQ(read, table) << text;
  }
}

TEST(TableReader, TheMessagesOfTheReference) {
  const auto path = sample_data("SMSSpamCollection");
  if (!path) GTEST_SKIP() << "no sample data";
  for (const auto& [quoting, ham] : {std::pair{Quoting::by_format, 4827}, {Quoting::csv, 4825}}) {
    TableReader reader(open_bytes(*path), path->string(), quoting);
    std::map<std::string, int> counts;
    TableRow row;
    while (reader.next(row)) {
      ASSERT_EQ(row.problem, "");
      ASSERT_EQ(row.fields.size(), 2u) << row.line;
      ++counts[row.fields[0]];
    }
    EXPECT_EQ(counts, (std::map<std::string, int>{{"ham", ham}, {"spam", 747}}));
    EXPECT_LE(row.line, 5574);
  }
}

}  // namespace
}  // namespace llm::test
