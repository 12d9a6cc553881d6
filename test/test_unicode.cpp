#include <gtest/gtest.h>

#include <cstdint>

#include "text/unicode.h"

namespace llm {
namespace {

TEST(Unicode, EveryCodePointGoesThereAndBack) {
  for (char32_t code_point = 0; code_point <= 0x10FFFF; ++code_point) {
    if (code_point >= 0xD800 && code_point <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, code_point);
    const DecodedCharacter character = decode_utf8(text, 0);
    ASSERT_TRUE(character.valid) << uint32_t{code_point};
    ASSERT_EQ(character.code_point, code_point);
    ASSERT_EQ(character.length, static_cast<int>(text.size()));
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_FALSE(decode_utf8(std::string_view(text).substr(0, cut), 0).valid)
          << uint32_t{code_point};
      ASSERT_EQ(unfinished_utf8_suffix("a" + text.substr(0, cut)), cut) << uint32_t{code_point};
    }
    ASSERT_EQ(unfinished_utf8_suffix(text), 0u);
  }
}

// The table of well-formed byte sequences of the Unicode Standard (table 3-7), counted: of all
// three- and four-byte strings with a given lead, as many are characters as there are code points.
TEST(Unicode, NothingElseIsACharacter) {
  int64_t characters = 0;
  std::string text(3, 0);
  for (int lead = 0xC0; lead < 0xF0; ++lead) {
    text[0] = static_cast<char>(lead);
    for (int i = 0; i < 0x10000; ++i) {
      text[1] = static_cast<char>(i >> 8);
      text[2] = static_cast<char>(i);
      const DecodedCharacter character = decode_utf8(text, 0);
      if (character.valid && character.length == 3) ++characters;
      ASSERT_EQ(character.length, character.valid ? character.length : 1);
    }
  }
  EXPECT_EQ(characters, 0x10000 - 0x800 - 0x800);
  characters = 0;
  text.resize(4);
  for (int lead = 0xF0; lead < 0x100; ++lead) {
    text[0] = static_cast<char>(lead);
    for (int second = 0; second < 0x100; ++second) {
      text[1] = static_cast<char>(second);
      text[2] = text[3] = static_cast<char>(0x80);
      characters += decode_utf8(text, 0).valid;
    }
  }
  EXPECT_EQ(characters, 0x100000 >> 12);
}

TEST(Unicode, FindsRuns) {
  const std::string ascii(100, 'x');
  EXPECT_EQ(valid_utf8_prefix(ascii), 100u);
  for (size_t at = 0; at < 100; ++at) {
    std::string text = ascii;
    text[at] = '\xFF';
    EXPECT_EQ(valid_utf8_prefix(text), at);
    text[at] = '\xE6';  // begins a character that does not go on
    EXPECT_EQ(valid_utf8_prefix(text), at);
    EXPECT_EQ(valid_utf8_prefix(std::string(at, 'x') + "日本"), at + 6);
    EXPECT_EQ(valid_utf8_prefix(std::string(at, 'x') + "日本\x80y"), at + 6);
  }
  EXPECT_EQ(invalid_utf8_prefix("\xFF\xFE\x80"), 3u);
  EXPECT_EQ(invalid_utf8_prefix("\xFF\xE6\xE6\x97\xA5"), 2u);
  EXPECT_EQ(invalid_utf8_prefix("a"), 0u);
  EXPECT_EQ(invalid_utf8_prefix(""), 0u);
  EXPECT_EQ(valid_utf8_prefix(""), 0u);
}

TEST(Unicode, UnfinishedSuffix) {
  EXPECT_EQ(unfinished_utf8_suffix(""), 0u);
  EXPECT_EQ(unfinished_utf8_suffix("abc"), 0u);
  EXPECT_EQ(unfinished_utf8_suffix("a\x80\x80\x80\x80"), 0u);
  EXPECT_EQ(unfinished_utf8_suffix("a\xFF"), 0u);
  EXPECT_EQ(unfinished_utf8_suffix("a\xE0\x80"), 0u);  // overlong: no character whatever follows
  EXPECT_EQ(unfinished_utf8_suffix("a\xED\xA0"), 0u);  // a surrogate
  EXPECT_EQ(unfinished_utf8_suffix("a\xF0\x9F\x99"), 3u);
}

}  // namespace
}  // namespace llm
