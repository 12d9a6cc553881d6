#include <gtest/gtest.h>

#include <map>

#include "support/text_samples.h"
#include "text/pattern.h"
#include "text/word_counts.h"

namespace llm {
namespace {

using Counts = std::map<std::string, int64_t>;

Counts as_map(const WordTable& table) {
  Counts counts;
  table.for_each([&](std::string_view word, int64_t count) {
    EXPECT_TRUE(counts.emplace(word, count).second);
  });
  return counts;
}

Counts plain_counts(std::string_view text) {
  const PreTokenizer pre_tokenizer{std::string(kGpt2Pattern)};
  Matcher matcher(pre_tokenizer);
  PieceCursor cursor(matcher, text, 0, false);
  Counts counts;
  std::string_view piece;
  while (cursor.next(piece)) ++counts[std::string(piece)];
  return counts;
}

TEST(WordTable, CountsAndGrows) {
  WordTable table;
  Counts expected;
  for (int i = 0; i < 50'000; ++i) {
    const std::string word = std::to_string(i % 20'011);
    table.add(word, i % 3 - 1);
    expected[word] += i % 3 - 1;
  }
  std::erase_if(expected, [](const auto& word) { return word.second <= 0; });
  EXPECT_EQ(as_map(table), expected);
  WordTable twice = table;
  twice.add_all(table);
  for (auto& [word, count] : expected) count *= 2;
  EXPECT_EQ(as_map(twice), expected);
}

TEST(WordCounter, CountsAcrossPartsAndThreads) {
  std::mt19937_64 random(8);
  for (const size_t size : {0, 100, 20'000, 9'000'000}) {
    const std::string text = test::messy_text(random, size);
    for (const int threads : {1, 2, 5}) {
      WordCounter counter{std::string(kGpt2Pattern), threads};
      for (size_t at = 0; at < text.size(); at += 1'000'003) {
        counter.add(std::string_view(text).substr(at, 1'000'003));
      }
      counter.end_text();
      EXPECT_EQ(counter.bytes(), static_cast<int64_t>(text.size()));
      EXPECT_EQ(as_map(counter.take_words()), plain_counts(text)) << size << " " << threads;
    }
  }
}

TEST(WordCounter, TextsDoNotJoin) {
  WordCounter counter{std::string(kGpt2Pattern), 1};
  counter.add("ab");
  counter.end_text();
  counter.add("ab");
  counter.end_text();
  EXPECT_EQ(as_map(counter.take_words()), Counts({{"ab", 2}}));
  EXPECT_EQ(as_map(counter.take_words()), Counts());
}

// A word of 12 MiB is longer than the window.
TEST(WordCounter, AVeryLongWord) {
  const std::string word(12 << 20, 'x');
  WordCounter counter{std::string(kGpt2Pattern), 1};
  const std::string text = "a " + word + " b";
  for (size_t at = 0; at < text.size(); at += 1 << 20) {
    counter.add(std::string_view(text).substr(at, 1 << 20));
  }
  counter.end_text();
  EXPECT_EQ(as_map(counter.take_words()), Counts({{"a", 1}, {" " + word, 1}, {" b", 1}}));
}

}  // namespace
}  // namespace llm
