// Shards and dataset folders for tests.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset_writer.h"
#include "data/prepare.h"
#include "data/shard.h"
#include "support/write_file.h"

namespace llm::test {

// Ids 0, 1, 2, ... modulo vocab_size.
inline std::vector<TokenId> counting_tokens(int64_t count, int64_t vocab_size) {
  std::vector<TokenId> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>(i % vocab_size));
  return tokens;
}

inline std::vector<uint32_t> write_shard(const fs::path& path, std::span<const TokenId> tokens,
                                         int64_t vocab_size) {
  ShardWriter writer(path, vocab_size);
  writer.append(tokens);
  return writer.finish();
}

// A dataset in memory, of shards in `directory`.
inline Dataset make_dataset(const fs::path& directory, const std::string& name,
                            std::span<const TokenId> train, int64_t vocab_size,
                            int64_t shard_tokens = kMaxShardTokens) {
  SplitWriter writer(directory, name, vocab_size, shard_tokens);
  writer.append(train);
  std::vector<Shard> shards;
  for (const ShardRecord& record : writer.finish()) shards.emplace_back(directory / record.name);
  Dataset dataset;
  dataset.name = name;
  dataset.vocab_size = vocab_size;
  dataset.train = TokenSequence(std::move(shards), vocab_size);
  return dataset;
}

inline std::vector<TokenId> all_tokens(const TokenSequence& sequence) {
  std::vector<TokenId> tokens(static_cast<size_t>(sequence.size()));
  sequence.read(0, tokens);
  return tokens;
}

}  // namespace llm::test
