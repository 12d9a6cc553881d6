// Keys and values of the tokens seen so far, per layer, in blocks that sequences own through a
// table.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "model/config.h"

namespace llm {

class KvCache {
 public:
  static constexpr int32_t kManyTokens = INT32_MAX;

  // Room for `sequences` sequences of `context` tokens each.
  KvCache(Backend& backend, const ModelConfig& config, int64_t sequences, int64_t context,
          DType dtype);
  // Of the keys and values of one sequence.
  static int64_t sequence_bytes(const ModelConfig& config, int64_t context, DType dtype);

  int64_t sequences() const { return sequences_; }
  int64_t context() const { return context_; }
  // Layer l: (blocks, block size, KV, D).
  Tensor keys(int64_t layer) const;
  Tensor values(int64_t layer) const;
  Tensor block_table() const { return block_table_; }
  Tensor lengths() const { return lengths_; }  // (sequences) i32, on the device

  // Sets how many tokens each sequence holds, the ones about to be appended included.
  void set_lengths(const std::vector<int32_t>& lengths);
  // From here on, until the next set_lengths, the device counts: the host's lengths are the most
  // there may be.
  void leave_lengths_to_device() { host_lengths_.assign(host_lengths_.size(), kManyTokens); }
  const std::vector<int32_t>& host_lengths() const { return host_lengths_; }

  // Copies the first `tokens` tokens of a sequence of another cache of the same model and type.
  // Lengths stay as they are.
  void copy_sequence(int64_t to, const KvCache& other, int64_t from, int64_t tokens);

 private:
  Backend& backend_;
  int64_t sequences_, context_, blocks_;
  std::unique_ptr<DeviceMemory> memory_, table_memory_;
  Tensor cache_;  // (2 * layers, blocks, block size, KV * D)
  Tensor block_table_, lengths_;
  int64_t kv_heads_, head_size_;
  std::vector<int32_t> host_lengths_;
};

}  // namespace llm
