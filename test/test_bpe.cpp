#include <gtest/gtest.h>

#include <map>
#include <random>

#include "text/bpe.h"

namespace llm {
namespace {

// The definition: look for the merge with the lowest rank, leftmost first, apply it, start again.
std::vector<TokenId> plain_bpe(std::string_view piece, const std::array<TokenId, 256>& byte_ids,
                               const std::vector<BpeMerge>& merges) {
  std::map<std::pair<TokenId, TokenId>, size_t> ranks;
  for (size_t i = 0; i < merges.size(); ++i) ranks[{merges[i].left, merges[i].right}] = i;
  std::vector<TokenId> ids;
  for (const char byte : piece) ids.push_back(byte_ids[static_cast<uint8_t>(byte)]);
  while (true) {
    size_t best = merges.size(), at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = ranks.find({ids[i], ids[i + 1]});
      if (found != ranks.end() && found->second < best) {
        best = found->second;
        at = i;
      }
    }
    if (best == merges.size()) return ids;
    ids[at] = merges[best].result;
    ids.erase(ids.begin() + at + 1);
  }
}

// Merges over the letters a to d in an order that no training would give, with tokens that several
// merges spell: ranks of new pairs may be lower than that of the merge that made them.
std::vector<BpeMerge> random_merges(std::mt19937_64& random, int count) {
  std::vector<std::string> tokens = {"a", "b", "c", "d"};
  std::map<std::string, TokenId> ids = {{"a", 0}, {"b", 1}, {"c", 2}, {"d", 3}};
  std::map<std::pair<TokenId, TokenId>, bool> seen;
  std::vector<BpeMerge> merges;
  while (static_cast<int>(merges.size()) < count) {
    const auto left = static_cast<TokenId>(random() % tokens.size());
    const auto right = static_cast<TokenId>(random() % tokens.size());
    if (seen[{left, right}]) continue;
    seen[{left, right}] = true;
    const std::string text = tokens[left] + tokens[right];
    const auto [known, inserted] = ids.emplace(text, static_cast<TokenId>(tokens.size()));
    if (inserted) tokens.push_back(text);
    merges.push_back({left, right, known->second});
  }
  std::shuffle(merges.begin(), merges.end(), random);
  return merges;
}

TEST(Bpe, EqualsTheDefinition) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 60; ++round) {
    std::array<TokenId, 256> byte_ids;
    for (int i = 0; i < 256; ++i) byte_ids[i] = 1000 + i;
    for (int i = 0; i < 4; ++i) byte_ids['a' + i] = i;
    const std::vector<BpeMerge> merges = random_merges(random, 1 + round);
    const Bpe bpe(byte_ids, merges);
    BpeScratch scratch;
    for (const size_t length : {1, 2, 3, 10, 40, 95, 96, 97, 98, 300}) {
      std::string piece;
      for (size_t i = 0; i < length; ++i) {
        piece.push_back(static_cast<char>('a' + random() % (random() % 2 ? 4 : 2)));
      }
      std::vector<TokenId> ids;
      bpe.encode(piece, scratch, ids);
      ASSERT_EQ(ids, plain_bpe(piece, byte_ids, merges)) << piece;
    }
  }
}

TEST(MergeTable, FindsWhatIsThere) {
  std::vector<BpeMerge> merges;
  for (TokenId i = 0; i < 1000; ++i) merges.push_back({i * 7, i * 13 % 512, i});
  const MergeTable table(merges);
  for (TokenId i = 0; i < 1000; ++i) {
    EXPECT_EQ(table.find(i * 7, i * 13 % 512).rank, static_cast<uint32_t>(i));
    EXPECT_EQ(table.find(i * 7 + 1, i * 13 % 512).rank, MergeTable::kNone);
  }
  EXPECT_EQ(MergeTable({}).find(0, 0).rank, MergeTable::kNone);
}

TEST(PieceCache, RemembersAndForgets) {
  PieceCache cache;
  std::vector<TokenId> ids;
  EXPECT_FALSE(cache.find("word", ids));
  cache.insert("word", std::vector<TokenId>{1, 2});
  EXPECT_TRUE(cache.find("word", ids));
  EXPECT_EQ(ids, std::vector<TokenId>({1, 2}));
  EXPECT_FALSE(cache.find("wor", ids));
  EXPECT_FALSE(cache.find(std::string_view("word\0", 5), ids));
  const std::string longest(31, 'x');
  cache.insert(longest, std::vector<TokenId>{1});
  EXPECT_FALSE(cache.find(longest, ids));
  cache.insert("many", std::vector<TokenId>(9, 1));
  EXPECT_FALSE(cache.find("many", ids));
  // Far more pieces than slots: each answer is still right.
  for (TokenId i = 0; i < 100'000; ++i) {
    const std::string piece = std::to_string(i);
    cache.insert(piece, std::vector<TokenId>{i});
    if (i % 3 == 0) cache.insert(std::to_string(i / 2), std::vector<TokenId>{i / 2});
  }
  int known = 0;
  for (TokenId i = 0; i < 100'000; ++i) {
    ids.clear();
    if (!cache.find(std::to_string(i), ids)) continue;
    ++known;
    ASSERT_EQ(ids, std::vector<TokenId>({i}));
  }
  EXPECT_GT(known, 1000);
}

}  // namespace
}  // namespace llm
