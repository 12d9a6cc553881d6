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

}  // namespace
}  // namespace llm
