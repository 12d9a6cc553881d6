// Byte-pair encoding of one piece of text: the merge with the lowest rank first, the leftmost of
// equals first, until no pair of neighbours has a merge (Sennrich et al., 2016).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/piece_hash.h"
#include "text/tokenizer.h"

namespace llm {

struct BpeMerge {
  TokenId left, right, result;
};

// (left, right) -> (rank, result), in an open-addressed table.
class MergeTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Entry {
    uint64_t pair = kEmpty;
    uint32_t rank = kNone;
    TokenId result = 0;
  };

  // The rank is the position in `merges`; no pair may come twice.
  explicit MergeTable(std::span<const BpeMerge> merges);

  // The entry of a pair; rank kNone where it has no merge.
  const Entry& find(TokenId left, TokenId right) const {
    const uint64_t pair = pack(left, right);
    for (uint64_t slot = hash(pair);; slot = (slot + 1) & mask_) {
      const Entry& entry = entries_[slot];
      if (entry.pair == pair || entry.pair == kEmpty) return entry;
    }
  }

 private:
  static constexpr uint64_t kEmpty = UINT64_MAX;  // ids are not negative
  static uint64_t pack(TokenId left, TokenId right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  uint64_t hash(uint64_t pair) const { return (pair * 0x9E3779B97F4A7C15) >> shift_; }

  std::vector<Entry> entries_;
  uint64_t mask_ = 0;
  int shift_ = 0;
};

// The possible merges of a long piece by (rank, position): a list of positions per rank and a heap
// of the ranks, because a long piece has few different ranks and many positions of each.
class MergeQueue {
 public:
  void clear();
  void push(uint32_t rank, uint32_t position);
  // The least (rank, position). False if there is none.
  bool pop(uint32_t& rank, uint32_t& position);

 private:
  struct Bucket {
    std::vector<uint32_t> positions;
    size_t next = 0;  // the first position that was not popped
    bool sorted = true, queued = false;
  };
  std::unordered_map<uint32_t, uint32_t> bucket_of_rank_;
  std::vector<Bucket> buckets_;  // the first bucket_of_rank_.size() are in use
  std::vector<uint64_t> heap_;   // rank << 32 | bucket
};

// Working memory of one thread.
struct BpeScratch {
  struct Symbol {
    TokenId id;
    uint32_t rank;  // of the merge with the next symbol
    uint32_t previous, next;
  };
  std::vector<Symbol> symbols;
  MergeQueue queue;
};

class Bpe {
 public:
  // byte_ids: the token of each single byte.
  Bpe(const std::array<TokenId, 256>& byte_ids, std::span<const BpeMerge> merges);

  // Appends the ids of `piece`, in n log n of its length or less. Throws Error{input} for 4 GiB and
  // more.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& ids) const;

 private:
  void encode_short(std::string_view piece, std::vector<TokenId>& ids) const;
  void encode_long(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& ids) const;

  std::array<TokenId, 256> byte_ids_;
  MergeTable merges_;
};

// Remembers the ids of frequent pieces: a direct-mapped table of fixed size, one per thread.
class PieceCache {
 public:
  PieceCache() : slots_(kSlots) {}

  // Appends the ids of `piece` to `ids` if it is known.
  bool find(std::string_view piece, std::vector<TokenId>& ids) const {
    if (piece.size() > kMaxBytes) return false;
    const Slot& slot = slots_[slot_of(piece)];
    if (slot.length != piece.size() || std::memcmp(slot.bytes, piece.data(), piece.size()) != 0) {
      return false;
    }
    ids.insert(ids.end(), slot.ids, slot.ids + slot.count);
    return true;
  }
  void insert(std::string_view piece, std::span<const TokenId> ids);

 private:
  static constexpr size_t kSlots = 1 << 14, kMaxBytes = 30, kMaxIds = 8;
  struct Slot {
    uint8_t length = 0, count = 0;
    char bytes[kMaxBytes];
    TokenId ids[kMaxIds];
  };
  static_assert(sizeof(Slot) == 64);

  static size_t slot_of(std::string_view piece) { return hash_piece(piece) % kSlots; }

  std::vector<Slot> slots_;
};

}  // namespace llm
