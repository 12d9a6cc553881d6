#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>

#include "base/error.h"

namespace llm {
namespace {

// Up to this many bytes a plain scan for the lowest rank beats the heap.
constexpr size_t kShortPiece = 96;
constexpr uint32_t kEnd = UINT32_MAX;

}  // namespace

MergeTable::MergeTable(std::span<const BpeMerge> merges) {
  const size_t size = std::bit_ceil(std::max<size_t>(16, merges.size() * 2));
  entries_.resize(size);
  mask_ = size - 1;
  shift_ = 64 - std::countr_zero(size);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const BpeMerge& merge = merges[rank];
    const uint64_t pair = pack(merge.left, merge.right);
    uint64_t slot = hash(pair);
    while (entries_[slot].pair != kEmpty) {
      LLM_ASSERT(entries_[slot].pair != pair, "merge {} comes twice", rank);
      slot = (slot + 1) & mask_;
    }
    entries_[slot] = {pair, static_cast<uint32_t>(rank), merge.result};
  }
}

Bpe::Bpe(const std::array<TokenId, 256>& byte_ids, std::span<const BpeMerge> merges)
    : byte_ids_(byte_ids), merges_(merges) {}

void Bpe::encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& ids) const {
  if (piece.size() <= kShortPiece) {
    encode_short(piece, ids);
  } else {
    encode_long(piece, scratch, ids);
  }
}

void Bpe::encode_short(std::string_view piece, std::vector<TokenId>& ids) const {
  TokenId symbols[kShortPiece];
  uint32_t ranks[kShortPiece];   // ranks[i]: of merging symbols i and i + 1
  TokenId results[kShortPiece];  // and what that gives
  size_t count = piece.size();
  const auto look_up = [&](size_t i) {
    const MergeTable::Entry& entry = merges_.find(symbols[i], symbols[i + 1]);
    ranks[i] = entry.rank;
    results[i] = entry.result;
  };
  for (size_t i = 0; i < count; ++i) symbols[i] = byte_ids_[static_cast<uint8_t>(piece[i])];
  for (size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    const size_t best = std::min_element(ranks, ranks + count - 1) - ranks;
    if (ranks[best] == MergeTable::kNone) break;
    symbols[best] = results[best];
    --count;
    std::memmove(symbols + best + 1, symbols + best + 2, (count - best - 1) * sizeof(symbols[0]));
    if (best + 1 < count) {
      std::memmove(ranks + best + 1, ranks + best + 2, (count - best - 2) * sizeof(ranks[0]));
      std::memmove(results + best + 1, results + best + 2, (count - best - 2) * sizeof(results[0]));
      look_up(best);
    }
    if (best > 0) look_up(best - 1);
  }
  ids.insert(ids.end(), symbols, symbols + count);
}

void MergeQueue::clear() {
  for (Bucket& bucket : buckets_) {
    bucket.positions.clear();
    bucket.next = 0;
    bucket.sorted = true;
    bucket.queued = false;
  }
  bucket_of_rank_.clear();
  heap_.clear();
}

void MergeQueue::push(uint32_t rank, uint32_t position) {
  const auto [found, inserted] =
      bucket_of_rank_.emplace(rank, static_cast<uint32_t>(bucket_of_rank_.size()));
  if (inserted && found->second == buckets_.size()) buckets_.emplace_back();
  Bucket& bucket = buckets_[found->second];
  if (!bucket.positions.empty() && bucket.positions.back() > position) bucket.sorted = false;
  bucket.positions.push_back(position);
  if (bucket.queued) return;
  bucket.queued = true;
  heap_.push_back(static_cast<uint64_t>(rank) << 32 | found->second);
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

bool MergeQueue::pop(uint32_t& rank, uint32_t& position) {
  while (!heap_.empty()) {
    Bucket& bucket = buckets_[static_cast<uint32_t>(heap_.front())];
    if (bucket.next < bucket.positions.size()) {
      if (!bucket.sorted) {
        std::sort(bucket.positions.begin() + static_cast<std::ptrdiff_t>(bucket.next),
                  bucket.positions.end());
        bucket.sorted = true;
      }
      rank = static_cast<uint32_t>(heap_.front() >> 32);
      position = bucket.positions[bucket.next++];
      return true;
    }
    bucket.positions.clear();
    bucket.next = 0;
    bucket.queued = false;
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    heap_.pop_back();
  }
  return false;
}

// The symbols form a linked list. What the queue gives is stale if the symbol at its position has
// another rank by now.
void Bpe::encode_long(std::string_view piece, BpeScratch& scratch,
                      std::vector<TokenId>& ids) const {
  if (piece.size() >= kEnd) {
    fail_input("text", fmt::format("a word of {} bytes", with_commas(piece.size())),
               "words must be shorter than 4 GiB");
  }
  auto& symbols = scratch.symbols;
  const auto count = static_cast<uint32_t>(piece.size());
  symbols.resize(count);
  for (uint32_t i = 0; i < count; ++i) {
    symbols[i] = {byte_ids_[static_cast<uint8_t>(piece[i])], MergeTable::kNone,
                  i == 0 ? kEnd : i - 1, i + 1 == count ? kEnd : i + 1};
  }
  const auto update = [&](uint32_t i) {
    const uint32_t next = symbols[i].next;
    const uint32_t rank =
        next == kEnd ? MergeTable::kNone : merges_.find(symbols[i].id, symbols[next].id).rank;
    symbols[i].rank = rank;
    if (rank != MergeTable::kNone) scratch.queue.push(rank, i);
  };
  scratch.queue.clear();
  for (uint32_t i = 0; i < count; ++i) update(i);
  uint32_t rank, i;
  while (scratch.queue.pop(rank, i)) {
    if (symbols[i].rank != rank) continue;
    const uint32_t right = symbols[i].next;
    symbols[i].id = merges_.find(symbols[i].id, symbols[right].id).result;
    symbols[i].next = symbols[right].next;
    symbols[right].rank = MergeTable::kNone;
    if (symbols[i].next != kEnd) symbols[symbols[i].next].previous = i;
    update(i);
    if (symbols[i].previous != kEnd) update(symbols[i].previous);
  }
  for (uint32_t at = 0; at != kEnd; at = symbols[at].next) ids.push_back(symbols[at].id);
  constexpr size_t kKeep = 1 << 20;  // one long word must not hold its memory for ever
  if (symbols.capacity() > kKeep) scratch = {};
}

void PieceCache::insert(std::string_view piece, std::span<const TokenId> ids) {
  if (piece.empty() || piece.size() > kMaxBytes || ids.size() > kMaxIds) return;
  Slot& slot = slots_[slot_of(piece)];
  slot.length = static_cast<uint8_t>(piece.size());
  slot.count = static_cast<uint8_t>(ids.size());
  std::memcpy(slot.bytes, piece.data(), piece.size());
  std::copy(ids.begin(), ids.end(), slot.ids);
}

}  // namespace llm
