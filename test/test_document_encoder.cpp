#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "data/document_encoder.h"
#include "support/expect_error.h"
#include "support/text_samples.h"
#include "text/pattern.h"

namespace llm::test {
namespace {

// The plain way: each document in one go, end-of-text between.
std::vector<TokenId> encode_plainly(const Tokenizer& tokenizer,
                                    const std::vector<std::string>& documents) {
  std::vector<TokenId> ids;
  for (size_t i = 0; i < documents.size(); ++i) {
    if (i > 0 && tokenizer.end_of_text()) ids.push_back(*tokenizer.end_of_text());
    tokenizer.encode(documents[i], ids, false);
  }
  return ids;
}

std::vector<TokenId> encode_in_parts(const Tokenizer& tokenizer,
                                     const std::vector<std::string>& documents, size_t part_bytes,
                                     size_t batch_bytes, int threads) {
  std::vector<TokenId> ids;
  DocumentEncoder encoder(
      tokenizer, threads, false,
      [&](std::span<const TokenId> more) { ids.insert(ids.end(), more.begin(), more.end()); },
      batch_bytes);
  for (const std::string& document : documents) {
    size_t at = 0;
    while (at < document.size()) {
      size_t end = std::min(document.size(), at + part_bytes);
      while (end < document.size() && (static_cast<unsigned char>(document[end]) & 0xC0) == 0x80) {
        ++end;  // between characters
      }
      encoder.add(std::string_view(document).substr(at, end - at));
      at = end;
    }
    encoder.end_document();
  }
  encoder.finish();
  return ids;
}

TEST(DocumentEncoder, GivesTheIdsOfEncodingInOneGo) {
  std::mt19937_64 random(3);
  const auto bpe = small_bpe_tokenizer(kGpt2Pattern);
  const auto bytes = make_byte_tokenizer();
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> documents;
    std::string all;
    for (int i = 0; i < 12; ++i) {
      // Sizes from nothing to several batches.
      const size_t size = random() % (i % 4 == 0 ? 5000 : 100);
      all += documents.emplace_back(messy_text(random, size));
    }
    documents[static_cast<size_t>(round) % 12] = "";
    const auto chars = make_char_tokenizer(all);
    for (const Tokenizer* tokenizer : {bpe.get(), bytes.get(), chars.get()}) {
      const std::vector<TokenId> expected = encode_plainly(*tokenizer, documents);
      for (const size_t batch : {64, 1000, 1 << 20}) {
        for (const int threads : {1, 3}) {
          ASSERT_EQ(encode_in_parts(*tokenizer, documents, 100, batch, threads), expected)
              << tokenizer->kind() << " batch " << batch << " threads " << threads;
        }
      }
    }
  }
}

TEST(DocumentEncoder, NoEndOfTextAfterTheLast) {
  const auto bytes = make_byte_tokenizer();
  EXPECT_EQ(encode_in_parts(*bytes, {"a", "b"}, 10, 100, 1), (std::vector<TokenId>{97, 256, 98}));
  EXPECT_EQ(encode_in_parts(*bytes, {"a"}, 10, 100, 1), (std::vector<TokenId>{97}));
  EXPECT_TRUE(encode_in_parts(*bytes, {}, 10, 100, 1).empty());
}

TEST(DocumentEncoder, SpecialTokensInTheTextAreTextUnlessAllowed) {
  const auto bytes = make_byte_tokenizer();
  const std::string text = "a<|endoftext|>b";
  EXPECT_EQ(encode_in_parts(*bytes, {text}, 3, 100, 1).size(), text.size());
  std::vector<TokenId> ids;
  DocumentEncoder encoder(
      *bytes, 1, true,
      [&](std::span<const TokenId> more) { ids.insert(ids.end(), more.begin(), more.end()); }, 4);
  for (const char c : text) encoder.add({&c, 1});
  encoder.end_document();
  encoder.finish();
  EXPECT_EQ(ids, (std::vector<TokenId>{97, 256, 98}));
}

TEST(DocumentEncoder, LongPiecesTakeLinearTime) {
  // 8 MiB of one letter: GPT-2's pattern cuts it nowhere.
  const auto bpe = small_bpe_tokenizer(kGpt2Pattern);
  const std::vector<std::string> documents{std::string(8 << 20, 'q')};
  const std::vector<TokenId> ids = encode_in_parts(*bpe, documents, 1 << 16, 1 << 16, 2);
  EXPECT_EQ(bpe->decode(ids), documents[0]);
  EXPECT_EQ(ids, bpe->encode(documents[0]));
}

}  // namespace
}  // namespace llm::test
