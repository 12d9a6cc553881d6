#include <gtest/gtest.h>

#include "data/text_input.h"
#include "support/byte_source.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

using Lines = std::vector<std::pair<int64_t, std::string>>;

Lines lines_of(TextInput input) {
  Lines lines;
  while (const auto line = input.next_line()) lines.emplace_back(line->number, line->text);
  return lines;
}

TEST(TextInput, LinesHaveTheirNumbers) {
  const Lines expected = {{1, "one"}, {2, ""}, {3, "three\r"}, {4, "last"}};
  for (const size_t step : {1, 2, 3, 5, 1000}) {
    for (const std::string begin : {"", "\xEF\xBB\xBF"}) {
      const std::string text = begin + "one\n\nthree\r\nlast";
      EXPECT_EQ(lines_of({source_of(text, step), "f"}), expected);
      EXPECT_EQ(lines_of({source_of(text + "\n", step), "f"}), expected);
      EXPECT_EQ(lines_of({source_of(begin, step), "f"}), Lines{});
    }
    // Only the first one is a mark.
    EXPECT_EQ(lines_of({source_of("\xEF\xBB\xBF\xEF\xBB\xBF", step), "f"}),
              (Lines{{1, "\xEF\xBB\xBF"}}));
    EXPECT_EQ(lines_of({source_of("\xEF\xBB", step), "f"}), (Lines{{1, "\xEF\xBB"}}));
  }
}

TEST(TextInput, WhatIsUsedIsGoneAndCounted) {
  TextInput input(source_of("ab\ncd\n\nef", 2), "f");
  EXPECT_EQ(input.rest(), "");
  while (input.read_more()) {
  }
  EXPECT_EQ(input.rest(), "ab\ncd\n\nef");
  EXPECT_EQ(input.line(), 1);
  input.use(2);
  EXPECT_EQ(input.line(), 1);
  input.use(2);
  EXPECT_EQ(input.rest(), "d\n\nef");
  EXPECT_EQ(input.line(), 2);
  EXPECT_EQ(input.next_line()->text, "d");
  EXPECT_EQ(input.next_line()->number, 3);
  EXPECT_EQ(input.line(), 4);
  EXPECT_FALSE(input.read_more());
  EXPECT_EQ(input.next_line()->text, "ef");
  EXPECT_FALSE(input.next_line());
}

TEST(TextInput, LongTextsAndFiles) {
  const TemporaryDirectory folder;
  std::string text;
  Lines expected;
  for (int64_t i = 1; i <= 50'000; ++i) {
    const std::string line(static_cast<size_t>(i % 97), static_cast<char>('a' + i % 26));
    text += line + "\n";
    expected.emplace_back(i, line);
  }
  write_file_atomically(folder / "f.txt", text);
  EXPECT_EQ(lines_of({open_bytes(folder / "f.txt"), "f"}), expected);
  expect_error(ErrorKind::input, "none.txt", [&] { open_bytes(folder / "none.txt"); });
  EXPECT_EQ(input_name("a/b.txt"), "a/b.txt");
  EXPECT_EQ(input_name("-"), "standard input");
  EXPECT_EQ(text_place("f", 12'345), "f: line 12,345");
}

TEST(TextInput, RefusesWhatIsNoText) {
  for (const size_t step : {1, 1000}) {
    expect_error(ErrorKind::input, "f: is UTF-16 text", [&] {
      lines_of({source_of("\xFF\xFEh\ni", step), "f"});
    });
  }
}

}  // namespace
}  // namespace llm::test
