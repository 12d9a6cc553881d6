#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "support/sample_data.h"
#include "support/text_samples.h"
#include "text/bpe_trainer.h"
#include "text/byte_alphabet.h"
#include "text/pattern.h"

namespace llm {
namespace {

BpeSpec train(const std::string& text, int64_t vocab_size, std::string_view pattern,
              int threads = 1, std::vector<std::string> special = {"<|endoftext|>"}) {
  WordCounter counter{std::string(pattern), threads};
  counter.add(text);
  counter.end_text();
  BpeTrainingOptions options;
  options.vocab_size = vocab_size;
  options.pattern = pattern;
  options.special_tokens = std::move(special);
  return train_bpe(counter.take_words(), options);
}

// The definition: count all pairs of all words, take the most frequent, smallest ids first, merge
// it everywhere, start again.
std::vector<std::string> plain_training(const std::vector<std::string>& words, size_t merges) {
  std::vector<std::string> tokens;
  std::map<std::string, TokenId> ids;
  for (const uint8_t byte : bytes_in_alphabet_order()) {
    tokens.emplace_back(1, static_cast<char>(byte));
    ids[tokens.back()] = static_cast<TokenId>(tokens.size() - 1);
  }
  std::vector<std::vector<TokenId>> split;
  for (const std::string& word : words) {
    split.emplace_back();
    for (const char byte : word) split.back().push_back(ids[std::string(1, byte)]);
  }
  const size_t wanted = tokens.size() + merges;
  while (tokens.size() < wanted) {
    std::map<std::pair<TokenId, TokenId>, int64_t> counts;
    for (const auto& word : split) {
      for (size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
    }
    if (counts.empty()) break;
    auto best = counts.begin();
    for (auto pair = counts.begin(); pair != counts.end(); ++pair) {
      if (pair->second > best->second) best = pair;
    }
    const auto [left, right] = best->first;
    const std::string text = tokens[left] + tokens[right];
    const auto [known, inserted] = ids.emplace(text, static_cast<TokenId>(tokens.size()));
    if (inserted) tokens.push_back(text);
    for (auto& word : split) {
      for (size_t i = 0; i + 1 < word.size(); ++i) {
        if (word[i] != left || word[i + 1] != right) continue;
        word[i] = known->second;
        word.erase(word.begin() + i + 1);
      }
    }
  }
  return tokens;
}

TEST(BpeTrainer, EqualsTheDefinition) {
  std::mt19937_64 random(9);
  for (int round = 0; round < 40; ++round) {
    std::vector<std::string> words(1 + random() % 40);
    std::string text;
    for (std::string& word : words) {
      const size_t letters = 2 + random() % 3;
      word = std::string(1, ' ');
      for (size_t i = random() % 20; i-- > 0;) {
        word.push_back(static_cast<char>('a' + random() % letters));
      }
      if (word.size() == 1) word += "a";
      text += word;
    }
    const size_t merges = random() % 60;
    const BpeSpec spec = train(text, static_cast<int64_t>(256 + merges), kGpt2Pattern, 1, {});
    ASSERT_EQ(spec.tokens, plain_training(words, merges)) << text;
  }
}

// Vocabulary and encoding of Hugging Face's trainer, on the same text.
TEST(BpeTrainer, EqualsHuggingFace) {
  for (const Json& golden : test::tokenizer_golden().at("trained")) {
    const auto path = test::sample_data(golden.at("file").get<std::string>());
    if (!path) GTEST_SKIP() << golden.at("file") << " is not here";
    const std::string text = read_text_file(*path);
    BpeSpec spec = train(text, golden.at("vocab_size").get<int64_t>(),
                         named_pattern(golden.at("pattern").get<std::string>()), 2);
    std::string vocabulary = spec.tokens[0];
    for (size_t id = 1; id < spec.tokens.size(); ++id) {
      vocabulary += "\n" + to_byte_characters(spec.tokens[id]);
    }
    EXPECT_EQ(sha256_of(as_bytes(vocabulary)).substr(0, 16),
              golden.at("vocabulary").get<std::string>());
    EXPECT_EQ(spec.merges.size(), golden.at("merges").get<size_t>());
    const BpeTokenizer tokenizer(std::move(spec), "trained");
    const std::vector<TokenId> ids = tokenizer.encode(text);
    EXPECT_EQ(ids.size(), golden.at("tokens").get<size_t>());
    EXPECT_EQ(test::hash_ids(ids), golden.at("ids").get<std::string>());
  }
}

// Ties: of pairs with equal counts the one with the smaller ids.
TEST(BpeTrainer, SmallerIdsWinTies) {
  const BpeSpec spec = train("dc ba ab", 259, kGpt2Pattern, 1, {});
  EXPECT_EQ(spec.tokens[256], "ab");  // " ab", " ba" and "dc" have pairs that come once each
  EXPECT_EQ(spec.tokens[257], "ba");
  EXPECT_EQ(spec.tokens[258], "dc");
}

TEST(BpeTrainer, ThreadsDoNotMatter) {
  std::mt19937_64 random(10);
  const std::string text = test::messy_text(random, 3'000'000);
  const auto hash = [&](int threads) {
    return BpeTokenizer(train(text, 600, kGpt2Pattern, threads), "trained").hash();
  };
  EXPECT_EQ(hash(1), hash(4));
}

TEST(BpeTrainer, VocabularySizeCountsEverything) {
  const BpeSpec spec = train("the the the then", 260, kGpt2Pattern, 1, {"<|endoftext|>", "<s>"});
  EXPECT_EQ(spec.tokens.size(), 260u);
  EXPECT_EQ(spec.tokens[0], "<|endoftext|>");
  EXPECT_EQ(spec.tokens[1], "<s>");
  EXPECT_EQ(spec.tokens[2], "!");
  EXPECT_EQ(spec.merges.size(), 2u);
  EXPECT_EQ(train("the the", 257, kGpt2Pattern).merges.size(), 0u);
  // A text with nothing more to merge.
  EXPECT_EQ(train("ab", 1000, kGpt2Pattern).tokens.size(), 258u);
  EXPECT_EQ(train("", 1000, kGpt2Pattern).tokens.size(), 257u);
}

TEST(BpeTrainer, RarePairsStay) {
  WordTable words;
  words.add("ab", 3);
  words.add("cd", 2);
  BpeTrainingOptions options;
  options.vocab_size = 300;
  options.min_frequency = 3;
  EXPECT_EQ(train_bpe(words, options).tokens.size(), 257u);
}

TEST(BpeTrainer, SpecialTokensAreNeverMerged) {
  const BpeSpec spec = train("hello hello hello hell", 300, kGpt2Pattern, 1, {"hello"});
  for (size_t id = 1; id < spec.tokens.size(); ++id) EXPECT_NE(spec.tokens[id], "hello");
  const BpeTokenizer tokenizer(spec, "trained");
  EXPECT_GT(tokenizer.encode("hello").size(), 1u);
  EXPECT_EQ(tokenizer.encode("hello", true), std::vector<TokenId>({0}));
}

TEST(BpeTrainer, RefusesWrongOptions) {
  EXPECT_THROW(train("a", 256, kGpt2Pattern), Error);
  EXPECT_THROW(train("a", -1, kGpt2Pattern), Error);
  EXPECT_THROW(train("a", int64_t{1} << 40, kGpt2Pattern), Error);
  EXPECT_THROW(train("a", 300, kGpt2Pattern, 1, {"x", "x"}), Error);
  EXPECT_THROW(train("a", 300, kGpt2Pattern, 1, {""}), Error);
  EXPECT_THROW(train("a", 300, kGpt2Pattern, 1, {"\xFF"}), Error);
  EXPECT_THROW(train("a", 300, kGpt2Pattern, 1, {"a"}), Error);
}

// One word of 2 MiB: the places of a pair are worked on, not the word again for each merge.
TEST(BpeTrainer, OneLongWord) {
  std::mt19937_64 random(11);
  std::string text(2 << 20, 0);
  for (char& letter : text) letter = "acgt"[random() % 4];
  EXPECT_EQ(train(text, 600, kGpt2Pattern).tokens.size(), 600u);
}

}  // namespace
}  // namespace llm
