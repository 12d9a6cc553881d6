#include <gtest/gtest.h>

#include "base/error.h"
#include "support/sample_data.h"
#include "support/temporary_directory.h"
#include "text/char_tokenizer.h"
#include "text/unicode.h"

namespace llm {
namespace {

TEST(CharTokenizer, OneTokenPerCharacterInOrder) {
  const auto tokenizer = make_char_tokenizer("ba 日a🙂\xFF\n");
  EXPECT_EQ(tokenizer->kind(), "chars");
  EXPECT_EQ(tokenizer->vocab_size(), 7);
  EXPECT_EQ(tokenizer->encode("\n ab日🙂\xFF"), std::vector<TokenId>({0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{4, 6}), "日\xFF");
  EXPECT_EQ(tokenizer->end_of_text(), std::nullopt);
  EXPECT_THROW(tokenizer->token_bytes(7), Error);
  EXPECT_THROW(tokenizer->token_bytes(-1), Error);
}

TEST(CharTokenizer, NamesWhatItDoesNotKnow) {
  const auto tokenizer = make_char_tokenizer("ab");
  for (const auto& [text, name] : std::vector<std::pair<std::string, std::string>>{
           {"aé", "U+00E9"}, {"日", "U+65E5"}, {"\xFF", "0xFF"}}) {
    try {
      tokenizer->encode(text);
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  }
}

TEST(CharTokenizer, AllCodePointsAtOnce) {
  std::string all;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c < 0xD800 || c > 0xDFFF) append_utf8(all, c);
  }
  const auto tokenizer = make_char_tokenizer(all);
  EXPECT_EQ(tokenizer->vocab_size(), 0x110000 - 0x800);
  const std::vector<TokenId> ids = tokenizer->encode(all);
  for (size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(ids[i], static_cast<TokenId>(i));
  EXPECT_TRUE(tokenizer->decode(ids) == all);
}

TEST(CharTokenizer, FromCharacters) {
  const auto tokenizer = make_char_tokenizer(std::vector<std::string>{"b", "a", "日"});
  EXPECT_EQ(tokenizer->hash(), make_char_tokenizer("日ab")->hash());
  EXPECT_NE(tokenizer->hash(), make_char_tokenizer("日abc")->hash());
  EXPECT_THROW(make_char_tokenizer(""), Error);
}

TEST(CharTokenizer, SavesAndLoads) {
  const test::TemporaryDirectory directory;
  const auto tokenizer = make_char_tokenizer("\"\\\x01 ab日🙂\xFF\x80\n<");
  tokenizer->save(directory.path());
  const auto loaded = load_tokenizer(directory.path());
  EXPECT_EQ(loaded->hash(), tokenizer->hash());
  EXPECT_EQ(loaded->kind(), "chars");
}

TEST(CharTokenizer, TextInParts) {
  const auto tokenizer = make_char_tokenizer("a日\xE6");
  std::vector<TokenId> ids;
  const std::string text = "a日日\xE6 ";
  EXPECT_EQ(tokenizer->encode_prefix(text.substr(0, 3), ids, 1), 1u);
  EXPECT_EQ(tokenizer->encode_prefix(text.substr(1, 7), ids, 1), 6u);  // ends in a lead byte
  EXPECT_EQ(ids, std::vector<TokenId>({0, 1, 1}));
}

TEST(CharTokenizer, TinyShakespeareHas65Characters) {
  const auto path = test::sample_data("tinyshakespeare.txt");
  if (!path) GTEST_SKIP() << "tinyshakespeare.txt is not here";
  const std::string text = read_text_file(*path);
  const auto tokenizer = make_char_tokenizer(text);
  EXPECT_EQ(tokenizer->vocab_size(), 65);
  EXPECT_EQ(tokenizer->encode(text).size(), 1115394u);
}

}  // namespace
}  // namespace llm
