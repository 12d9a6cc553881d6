#include <gtest/gtest.h>

#include "infer/text_stream.h"
#include "text/unicode.h"

namespace llm {
namespace {

TEST(TextStream, HandsOnWholeCharactersOnly) {
  TextStream stream;
  EXPECT_EQ(stream.append("a\xf0\x9f"), "a");
  EXPECT_EQ(stream.append("\x98"), "");
  EXPECT_EQ(stream.append("\x80z"), "\xf0\x9f\x98\x80z");
  EXPECT_EQ(stream.append("\xc3"), "");
  EXPECT_EQ(stream.finish(), "\xc3");
}

TEST(TextStream, BytesThatAreNoCharacterGoThrough) {
  TextStream stream;
  EXPECT_EQ(stream.append("\x80\xff"), "\x80\xff");
  EXPECT_EQ(stream.append("\xc3"), "");
  EXPECT_EQ(stream.append("A"),
            "\xc3"
            "A");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, StopsBeforeAStopStringAcrossPieces) {
  TextStream stream({"END", ""});
  EXPECT_EQ(stream.append("abE"), "ab");
  EXPECT_EQ(stream.append("Nd"), "ENd");
  EXPECT_EQ(stream.append("xEN"), "x");
  EXPECT_EQ(stream.append("Dmore"), "");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.append("END more"), "");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, TheEarliestOfSeveralStopStringsCounts) {
  TextStream stream({"bc", "abcd", "c"});
  EXPECT_EQ(stream.append("xyabcd"), "xy");
  EXPECT_TRUE(stream.stopped());
}

TEST(TextStream, WhatOnlyLookedLikeAStopStringComesAtTheEnd) {
  TextStream stream({"\n\n"});
  EXPECT_EQ(stream.append("a\n"), "a");
  EXPECT_FALSE(stream.stopped());
  EXPECT_EQ(stream.finish(), "\n");
}

TEST(TextStream, PiecesOfAnySizeGiveTheSameText) {
  const std::string text = "caf\xc3\xa9 \xe2\x82\xac\xe2\x82 STO ST STOP never";
  for (size_t size = 1; size < text.size(); ++size) {
    TextStream stream({"STOP"});
    std::string result;
    for (size_t at = 0; at < text.size(); at += size)
      result += stream.append(text.substr(at, size));
    result += stream.finish();
    EXPECT_EQ(result, text.substr(0, text.find("STOP"))) << size;
  }
}

// Each pair as Python's bytes.decode("utf-8", "replace") has it.
TEST(ShownText, BytesThatAreNoUtf8BecomeReplacementCharacters) {
  const std::string r = "\xEF\xBF\xBD";
  const std::pair<std::string, std::string> cases[] = {
      {"plain \xC3\xA9\n", "plain \xC3\xA9\n"},
      {"a\xFFz", "a" + r + "z"},
      {"\x80\xBF", r + r},
      {"\xC3", r},
      {"\xC3(", r + "("},
      {"\xE2\x82z", r + "z"},
      {"\xE2\x82\xE2\x82\xAC", r + "\xE2\x82\xAC"},
      {"\xF0\x9F\x98z", r + "z"},
      {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
      {"\xC0\xAF", r + r},
      {"\xE0\x80\x80", r + r + r},
      {"\xED\xA0\x80", r + r + r},
      {"\xF4\x90\x80\x80", r + r + r + r},
      {"\xF0\x9F\xF0\x9F", r + r},
  };
  for (const auto& [bytes, shown] : cases) EXPECT_EQ(shown_text(bytes, false), shown) << shown;
}

TEST(ShownText, PiecesOfAStreamGiveWhatTheWholeGives) {
  const std::string bytes = "a\xF0\x9F\x98z\xE2\x82\xAC\xE2\x82\xFF\xC3\xA9\xF0\x9F";
  TextStream stream;
  std::string shown;
  for (const char byte : bytes) shown += shown_text(stream.append({&byte, 1}), false);
  shown += shown_text(stream.finish(), false);
  EXPECT_EQ(shown, shown_text(bytes, false));
  EXPECT_EQ(valid_utf8_prefix(shown), shown.size());
}

TEST(ShownText, ATerminalGetsNothingThatSteersIt) {
  const std::string text = "a\x1b[2Jb\r\n\tc\x7f\x07\xC2\x9B\xC2\xA0" + std::string(1, '\0');
  EXPECT_EQ(shown_text(text, true), "a[2Jb\n\tc\xC2\xA0");
  EXPECT_EQ(shown_text(text, false), text);
}

}  // namespace
}  // namespace llm
