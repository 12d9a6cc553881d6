#include "model/kv_cache.h"

#include "base/error.h"

namespace llm {
namespace {
constexpr int64_t kBlockSize = 64;  // tokens

int64_t blocks_of(int64_t context) { return (context + kBlockSize - 1) / kBlockSize; }
}  // namespace

int64_t KvCache::sequence_bytes(const ModelConfig& config, int64_t context, DType dtype) {
  return 2 * config.layers * blocks_of(context) * kBlockSize * config.kv_heads *
         config.head_size() * dtype_bytes(dtype);
}

KvCache::KvCache(Backend& backend, const ModelConfig& config, int64_t sequences, int64_t context,
                 DType dtype)
    : backend_(backend),
      sequences_(sequences),
      context_(context),
      kv_heads_(config.kv_heads),
      head_size_(config.head_size()),
      host_lengths_(static_cast<size_t>(sequences), 0) {
  const int64_t per_sequence = blocks_of(context);
  blocks_ = sequences * per_sequence;
  memory_ = backend.allocate(sequences * sequence_bytes(config, context, dtype), "key-value cache");
  cache_ = Tensor(memory_->data(), dtype,
                  {2 * config.layers, blocks_, kBlockSize, kv_heads_ * head_size_});
  table_memory_ = backend.allocate((blocks_ + sequences) * 4, "key-value cache");
  block_table_ = Tensor(table_memory_->data(), DType::i32, {sequences, per_sequence});
  lengths_ =
      Tensor(static_cast<int32_t*>(table_memory_->data()) + blocks_, DType::i32, {sequences});

  // Each sequence owns its blocks from the start, one behind the other.
  std::vector<int32_t> table(static_cast<size_t>(blocks_));
  for (int64_t i = 0; i < blocks_; ++i) table[static_cast<size_t>(i)] = static_cast<int32_t>(i);
  backend.copy_to_device(block_table_, table.data());
  backend.copy_to_device(lengths_, host_lengths_.data());
}

Tensor KvCache::keys(int64_t layer) const {
  return cache_.slice(0, 2 * layer, 1).view({blocks_, kBlockSize, kv_heads_, head_size_});
}

Tensor KvCache::values(int64_t layer) const {
  return cache_.slice(0, 2 * layer + 1, 1).view({blocks_, kBlockSize, kv_heads_, head_size_});
}

void KvCache::set_lengths(const std::vector<int32_t>& lengths) {
  LLM_ASSERT(static_cast<int64_t>(lengths.size()) == sequences_);
  for (int32_t length : lengths) LLM_ASSERT(length >= 0 && length <= context_, "{}", length);
  host_lengths_ = lengths;
  backend_.copy_to_device(lengths_, host_lengths_.data());
}

void KvCache::copy_sequence(int64_t to, const KvCache& other, int64_t from, int64_t tokens) {
  LLM_ASSERT(tokens <= context_ && tokens <= other.context_, "{}", tokens);
  LLM_ASSERT(to >= 0 && to < sequences_ && from >= 0 && from < other.sequences_);
  // A sequence's blocks lie one behind the other.
  const int64_t blocks = blocks_of(tokens);
  if (blocks == 0) return;
  const int64_t to_block = to * (blocks_ / sequences_);
  const int64_t from_block = from * (other.blocks_ / other.sequences_);
  for (int64_t layer = 0; 2 * layer < cache_.dim(0); ++layer) {
    backend_.convert(keys(layer).slice(0, to_block, blocks),
                     other.keys(layer).slice(0, from_block, blocks));
    backend_.convert(values(layer).slice(0, to_block, blocks),
                     other.values(layer).slice(0, from_block, blocks));
  }
}

}  // namespace llm
