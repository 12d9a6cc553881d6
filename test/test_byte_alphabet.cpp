#include <gtest/gtest.h>

#include <set>

#include "text/byte_alphabet.h"

namespace llm {
namespace {

TEST(ByteAlphabet, IsThatOfGpt2) {
  EXPECT_EQ(byte_to_character('A'), U'A');
  EXPECT_EQ(byte_to_character(' '), U'Ġ');
  EXPECT_EQ(byte_to_character('\n'), U'Ċ');
  EXPECT_EQ(byte_to_character(0), U'Ā');
  EXPECT_EQ(byte_to_character(0xAD), U'Ń');  // the last one without a printable character
  EXPECT_EQ(to_byte_characters(" é"), "ĠÃ©");
  // The first ids of GPT-2's vocabulary: '!' is 0, byte 0 is 188, space is 220.
  EXPECT_EQ(bytes_in_alphabet_order()[0], '!');
  EXPECT_EQ(bytes_in_alphabet_order()[188], 0);
  EXPECT_EQ(bytes_in_alphabet_order()[220], ' ');
}

TEST(ByteAlphabet, GoesThereAndBack) {
  std::set<char32_t> characters;
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    characters.insert(byte_to_character(static_cast<uint8_t>(byte)));
    all.push_back(static_cast<char>(byte));
  }
  EXPECT_EQ(characters.size(), 256u);
  EXPECT_EQ(from_byte_characters(to_byte_characters(all)), all);
}

TEST(ByteAlphabet, RefusesOtherCharacters) {
  EXPECT_EQ(from_byte_characters("a b"), std::nullopt);
  EXPECT_EQ(from_byte_characters("日"), std::nullopt);
  EXPECT_EQ(from_byte_characters("\xC2\xAD"), std::nullopt);
  EXPECT_EQ(from_byte_characters("\xFF"), std::nullopt);
  EXPECT_EQ(from_byte_characters("ń"), std::nullopt);  // one behind the last
  EXPECT_EQ(from_byte_characters(""), "");
}

}  // namespace
}  // namespace llm
