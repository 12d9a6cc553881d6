// Token shards (*.bin) and dataset folders: train_*.bin, val_*.bin and dataset.json.
//
// A shard is a header of 256 little-endian int32 (magic 20240520, version, token count, zeros),
// then the tokens: uint16 under version 1, uint32 under version 2 (vocabularies over 65,536).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace llm {

inline constexpr int32_t kShardMagic = 20240520;
inline constexpr int64_t kShardHeaderBytes = 256 * 4;
inline constexpr int64_t kCrcBlockBytes = int64_t{1} << 20;  // one CRC-32C per MiB of the file
inline constexpr int64_t kMaxShardTokens = INT32_MAX;        // the header counts in an int32

// Writes one shard; finish() patches the count into the header and returns the CRC of each MiB.
class ShardWriter {
 public:
  ShardWriter(const fs::path& path, int64_t vocab_size);
  void append(std::span<const TokenId> tokens);
  std::vector<uint32_t> finish();
  int64_t tokens() const { return tokens_; }

 private:
  void put(Bytes bytes);
  void end_block();

  FileWriter file_;
  bool wide_;
  int64_t vocab_size_;
  int64_t tokens_ = 0;
  std::string first_block_;  // the first MiB
  std::vector<uint32_t> crcs_;
  uint32_t block_crc_ = 0;
  int64_t block_bytes_ = 0;
};

// A mapped shard. The constructor checks magic, version and that header and file size agree.
class Shard {
 public:
  explicit Shard(const fs::path& path);

  int64_t tokens() const { return tokens_; }
  bool wide() const { return wide_; }
  const fs::path& path() const { return file_.path(); }
  // Copies tokens [begin, begin + into.size()); throws Error{input} with file and offset for an id
  // outside [0, vocab_size).
  void read(int64_t begin, std::span<TokenId> into, int64_t vocab_size) const;
  // Compares with the CRCs of dataset.json; throws Error{input} naming the MiB that differs.
  void verify(std::span<const uint32_t> crcs) const;

  // The same MiB by MiB, for work in parallel. check_block_ids() throws Error{input} like read().
  int64_t blocks() const;
  uint32_t block_crc(int64_t index) const;
  void verify_block(int64_t index, uint32_t crc) const;
  void check_block_ids(int64_t index, int64_t vocab_size) const;

 private:
  int64_t width() const { return wide_ ? 4 : 2; }
  Bytes block(int64_t index) const;
  static uint32_t largest_allowed(int64_t vocab_size);
  [[noreturn]] void fail_token(int64_t begin, int64_t end, int64_t vocab_size) const;

  MappedFile file_;
  int64_t tokens_ = 0;
  bool wide_ = false;
};

enum class Split { train, val };

// One split of a dataset: its shards seen as one sequence of tokens.
class TokenSequence {
 public:
  TokenSequence() = default;
  TokenSequence(std::vector<Shard> shards, int64_t vocab_size);
  int64_t size() const { return total_; }
  std::span<const Shard> shards() const { return shards_; }
  // A range may cross shards.
  void read(int64_t begin, std::span<TokenId> into) const;

 private:
  std::vector<Shard> shards_;
  std::vector<int64_t> starts_;
  int64_t total_ = 0, vocab_size_ = 0;
};

// An opened dataset folder, or a bare .bin (all of it train, with a warning: no checksums).
struct Dataset {
  std::string name;            // for messages: the path as given
  fs::path directory;          // empty for a bare .bin
  int64_t vocab_size = 0;      // 0 where unknown (bare .bin)
  std::string tokenizer_hash;  // empty where unknown
  std::string hash;            // SHA-256 over what identifies the tokens, kept in run.json
  int64_t val_bytes = 0;       // bytes of text behind the val split, 0 where unknown: bits per byte
  TokenSequence train, val;
  Json description;  // dataset.json
};

// Checks everything that can be checked before the first step: JSON, sizes, magics and, with
// verify, all CRCs and all ids (in parallel). expected_vocab_size > 0: ids beyond it are refused.
Dataset open_dataset(const fs::path& path, int64_t expected_vocab_size, bool verify = true);

// Throws Error{input} if the dataset was made with another tokenizer than the one with this hash,
// which belongs to `owner` (for the message: "the model run/"). An unknown hash on either side
// passes.
void require_same_tokenizer(const Dataset& dataset, const std::string& tokenizer_hash,
                            const std::string& owner);

// The tokenizer in the dataset's folder, null for a bare .bin. Throws Error{input} if it is not the
// one that dataset.json names.
std::unique_ptr<Tokenizer> load_dataset_tokenizer(const Dataset& dataset);

}  // namespace llm
