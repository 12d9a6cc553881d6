#include <gtest/gtest.h>

#include "base/error.h"
#include "support/temporary_directory.h"
#include "text/tokenizer.h"

namespace llm {
namespace {

TEST(ByteTokenizer, IdsAreBytes) {
  const auto tokenizer = make_byte_tokenizer();
  EXPECT_EQ(tokenizer->kind(), "bytes");
  EXPECT_EQ(tokenizer->vocab_size(), 257);
  EXPECT_EQ(tokenizer->end_of_text(), 256);
  EXPECT_EQ(tokenizer->encode("a\xFF\n"), std::vector<TokenId>({97, 255, 10}));
  EXPECT_EQ(tokenizer->encode("a<|endoftext|>b", true), std::vector<TokenId>({97, 256, 98}));
  EXPECT_EQ(tokenizer->encode("<|endoftext|>").size(), 13u);
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(all)), all);
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{256}), "<|endoftext|>");
  EXPECT_THROW(tokenizer->token_bytes(257), Error);
  EXPECT_THROW(tokenizer->token_bytes(-1), Error);
}

TEST(ByteTokenizer, TextInParts) {
  const auto tokenizer = make_byte_tokenizer();
  std::vector<TokenId> ids;
  EXPECT_EQ(tokenizer->encode_prefix("ab<|end", ids, 1), 7u);
  ids.clear();
  // With special tokens, twelve bytes may still begin one.
  EXPECT_EQ(tokenizer->encode_prefix("abcd<|endoftext", ids, 1, /*allow_special=*/true), 3u);
}

TEST(ByteTokenizer, SavesAndLoads) {
  const test::TemporaryDirectory directory;
  const auto tokenizer = make_byte_tokenizer();
  tokenizer->save(directory.path());
  const auto loaded = load_tokenizer(directory.path());
  EXPECT_EQ(loaded->kind(), "bytes");
  EXPECT_EQ(loaded->hash(), tokenizer->hash());
}

}  // namespace
}  // namespace llm
