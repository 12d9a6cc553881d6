#include <gtest/gtest.h>

#include "base/error.h"
#include "support/text_samples.h"
#include "text/pattern.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace llm {
namespace {

using Pieces = std::vector<std::string>;

Pieces pieces_of(const PreTokenizer& pre_tokenizer, std::string_view text) {
  Matcher matcher(pre_tokenizer);
  PieceCursor cursor(matcher, text, 0, /*open=*/false);
  Pieces pieces;
  std::string_view piece;
  while (cursor.next(piece)) pieces.emplace_back(piece);
  EXPECT_EQ(cursor.position(), text.size());
  return pieces;
}

Pieces pieces_of(std::string_view pattern, std::string_view text) {
  return pieces_of(PreTokenizer(std::string(pattern)), text);
}

TEST(PreTokenizer, Gpt2) {
  EXPECT_EQ(pieces_of(kGpt2Pattern, "It's   a 42nd test!\n\n x "),
            Pieces({"It", "'s", "  ", " a", " 42", "nd", " test", "!", "\n\n", " x", " "}));
  EXPECT_EQ(pieces_of(kGpt2Pattern, ""), Pieces());
  EXPECT_EQ(pieces_of(kGpt2Pattern, "\n\na"), Pieces({"\n", "\n", "a"}));
}

TEST(PreTokenizer, Llama3) {
  EXPECT_EQ(pieces_of(kLlama3Pattern, "IT'S (ok) 12345 \n  x"),
            Pieces({"IT", "'S", " (", "ok", ")", " ", "123", "45", " \n", " ", " x"}));
}

TEST(PreTokenizer, InvalidBytesAreTheirOwnPieces) {
  EXPECT_EQ(pieces_of(kGpt2Pattern, "caf\xE9 au\xFF\xFEx\xE6\x97"),
            Pieces({"caf", "\xE9", " au", "\xFF\xFE", "x", "\xE6\x97"}));
}

TEST(PreTokenizer, TheMongolianVowelSeparatorIsNoSpace) {
  EXPECT_EQ(pieces_of(kGpt2Pattern, "a\u180Eb"), Pieces({"a", "\u180E", "b"}));
  EXPECT_EQ(pieces_of(kGpt2Pattern, "!\u180E!"), Pieces({"!\u180E!"}));
  EXPECT_EQ(pieces_of("\\S+", "a\u180Eb\u3000c"), Pieces({"a\u180Eb", "\u3000", "c"}));
  EXPECT_EQ(pieces_of("[\\S]+", "a\u180Eb\u3000c"), Pieces({"a\u180Eb", "\u3000", "c"}));
}

TEST(PreTokenizer, WhatDoesNotMatchIsAPieceToo) {
  EXPECT_EQ(pieces_of("b+", "aabbcbd"), Pieces({"aa", "bb", "c", "b", "d"}));
  EXPECT_EQ(pieces_of("x*", "abxxc"), Pieces({"a", "b", "xx", "c"}));  // as empty matches cut it
  EXPECT_EQ(pieces_of("", "a b\xFF"), Pieces({"a b", "\xFF"}));
  EXPECT_EQ(pieces_of("(?=b)", "abab"), Pieces({"a", "ba", "b"}));
}

TEST(PreTokenizer, LookbehindSeesThePast) {
  const PreTokenizer pre_tokenizer("(?<=a)b|c");
  EXPECT_FALSE(pre_tokenizer.forgets_the_past());
  EXPECT_EQ(pieces_of(pre_tokenizer, "abbc"), Pieces({"a", "b", "b", "c"}));
  EXPECT_FALSE(PreTokenizer("^a").forgets_the_past());
  EXPECT_FALSE(PreTokenizer("\\ba").forgets_the_past());
  EXPECT_TRUE(PreTokenizer(std::string(kGpt2Pattern)).forgets_the_past());
  EXPECT_TRUE(PreTokenizer(std::string(kLlama3Pattern)).forgets_the_past());
}

TEST(PreTokenizer, RefusesBadPatterns) {
  for (const char* pattern : {"(", "[a", "a{3,1}", "\\p{Nonsense}", "(?<x", "\\C", "*"}) {
    EXPECT_THROW(PreTokenizer{std::string(pattern)}, Error) << pattern;
  }
  EXPECT_THROW(PreTokenizer{std::string(1 << 17, 'a')}, Error);
}

TEST(PreTokenizer, AnExponentialPatternEnds) {
  const PreTokenizer pre_tokenizer("(a+a+)+[bc]");
  EXPECT_THROW(pieces_of(pre_tokenizer, std::string(60, 'a')), Error);
}

TEST(PreTokenizer, DeepRepetitionFallsBackToTheHeap) {
  // Groups keep a place to return to for each repetition, in the JIT's stack and then on the heap.
  EXPECT_EQ(pieces_of("(?:a|b)+", std::string(1 << 20, 'a')).size(), 1u);
}

class RecordingSink : public PieceSink {
 public:
  void begin(int count) override {
    chunks_.assign(count + 1, {});
    dropped_.assign(count + 1, 0);
    before_.assign(count + 1, {});
  }
  void add(int chunk, std::string_view piece) override { chunks_[chunk].emplace_back(piece); }
  void drop_first(int chunk, std::string_view piece) override {
    ASSERT_EQ(chunks_[chunk][dropped_[chunk]++], piece);
  }
  void add_before(int chunk, std::string_view piece) override {
    before_[chunk].emplace_back(piece);
  }
  Pieces all() const {
    Pieces result;
    for (size_t k = 0; k < chunks_.size(); ++k) {
      result.insert(result.end(), before_[k].begin(), before_[k].end());
      result.insert(result.end(), chunks_[k].begin() + dropped_[k], chunks_[k].end());
    }
    return result;
  }

 private:
  std::vector<Pieces> chunks_, before_;
  std::vector<size_t> dropped_;
};

const std::vector<std::string>& patterns() {
  static const std::vector<std::string> kPatterns = {std::string(kGpt2Pattern),
                                                     std::string(kLlama3Pattern),
                                                     "\\p{L}{3}|\\d{7}",
                                                     "b+",
                                                     "x*",
                                                     "",
                                                     "(?<=a)b|\\s+",
                                                     "[^ ]+ +(?!.*\\d{9})",
                                                     "(?s:.{5})"};
  return kPatterns;
}

// Small chunks, so that cuts fall at every kind of place.
TEST(FindPieces, EqualsTheSequentialWalk) {
  std::mt19937_64 random(1);
  for (const std::string& pattern : patterns()) {
    const PreTokenizer pre_tokenizer(pattern);
    for (int round = 0; round < 40; ++round) {
      const std::string text = test::messy_text(random, random() % 3000);
      const int threads = 1 + static_cast<int>(random() % 8);
      RecordingSink sink;
      EXPECT_EQ(find_pieces(pre_tokenizer, text, /*open=*/false, threads, sink, 16), text.size());
      ASSERT_EQ(sink.all(), pieces_of(pre_tokenizer, text)) << pattern << " " << threads;
    }
  }
}

// Whatever comes after an open text, its decided pieces stay as they are.
TEST(FindPieces, OpenTextsAreDecidedAsFarAsNothingCanChange) {
  std::mt19937_64 random(2);
  for (const std::string& pattern : patterns()) {
    const PreTokenizer pre_tokenizer(pattern);
    for (int round = 0; round < 40; ++round) {
      const std::string whole = test::messy_text(random, 1 + random() % 2000);
      std::string_view part = std::string_view(whole).substr(0, random() % whole.size());
      part.remove_suffix(unfinished_utf8_suffix(part));
      RecordingSink sink;
      const int threads = 1 + static_cast<int>(random() % 4);
      const size_t covered = find_pieces(pre_tokenizer, part, /*open=*/true, threads, sink, 16);
      const Pieces expected = pieces_of(pre_tokenizer, whole), got = sink.all();
      ASSERT_LE(got.size(), expected.size());
      size_t bytes = 0;
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i], expected[i]) << pattern;
        bytes += got[i].size();
      }
      ASSERT_EQ(bytes, covered);
    }
  }
}

}  // namespace
}  // namespace llm
