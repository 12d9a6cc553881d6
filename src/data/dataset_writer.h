// Writes the files of a dataset folder: the shards of each split, then dataset.json.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/shard.h"

namespace llm {

// What dataset.json says about one shard.
struct ShardRecord {
  std::string name;  // within the folder
  int64_t tokens = 0;
  std::vector<uint32_t> crcs;
};

// Cuts a sequence of tokens into shards DIRECTORY/PREFIX_000000.bin, ...
class SplitWriter {
 public:
  // shard_tokens: tokens per shard, at most kMaxShardTokens.
  SplitWriter(fs::path directory, std::string prefix, int64_t vocab_size, int64_t shard_tokens);
  void append(std::span<const TokenId> tokens);
  // Writes and syncs what is open. A split without tokens has no shards.
  std::vector<ShardRecord> finish();
  int64_t tokens() const { return tokens_; }

 private:
  void finish_shard();

  fs::path directory_;
  std::string prefix_;
  int64_t vocab_size_, shard_tokens_;
  int64_t tokens_ = 0;
  std::string name_;
  std::unique_ptr<ShardWriter> shard_;
  std::vector<ShardRecord> records_;
};

// One split in dataset.json. `documents`, `characters` and `bytes` are those of the cleaned text
// behind the tokens, without end-of-text.
struct SplitRecord {
  int64_t tokens = 0, documents = 0, characters = 0, bytes = 0;
  std::vector<ShardRecord> files;
};

inline constexpr std::string_view kDatasetFile = "dataset.json";
inline constexpr int64_t kDatasetVersion = 1;

// The parts of dataset.json that open_dataset() reads; more may be added.
Json describe_dataset(const Tokenizer& tokenizer, const SplitRecord& train, const SplitRecord& val);

}  // namespace llm
