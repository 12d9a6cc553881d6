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

// The symbols form a linked list; a heap orders the possible merges by (rank, position), and an
// entry is stale if the symbol at its position has another rank by now.
void Bpe::encode_long(std::string_view piece, BpeScratch& scratch,
                      std::vector<TokenId>& ids) const {
  if (piece.size() >= kEnd) {
    fail_input("text", fmt::format("a word of {} bytes", with_commas(piece.size())),
               "words must be shorter than 4 GiB");
  }
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  const auto count = static_cast<uint32_t>(piece.size());
  symbols.resize(count);
  heap.clear();
  const auto rank_of = [&](uint32_t i) {
    const uint32_t next = symbols[i].next;
    return next == kEnd ? MergeTable::kNone : merges_.find(symbols[i].id, symbols[next].id).rank;
  };
  for (uint32_t i = 0; i < count; ++i) {
    symbols[i] = {byte_ids_[static_cast<uint8_t>(piece[i])], 0, i == 0 ? kEnd : i - 1,
                  i + 1 == count ? kEnd : i + 1};
  }
  const auto key = [&](uint32_t i) { return static_cast<uint64_t>(symbols[i].rank) << 32 | i; };
  for (uint32_t i = 0; i < count; ++i) {
    symbols[i].rank = rank_of(i);
    if (symbols[i].rank != MergeTable::kNone) heap.push_back(key(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto update = [&](uint32_t i) {
    symbols[i].rank = rank_of(i);
    if (symbols[i].rank == MergeTable::kNone) return;
    heap.push_back(key(i));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint64_t best = heap.back();
    heap.pop_back();
    const auto i = static_cast<uint32_t>(best);
    if (symbols[i].rank != best >> 32) continue;
    const uint32_t right = symbols[i].next;
    symbols[i].id = merges_.find(symbols[i].id, symbols[right].id).result;
    symbols[i].next = symbols[right].next;
    symbols[right].rank = MergeTable::kNone;
    if (symbols[i].next != kEnd) symbols[symbols[i].next].previous = i;
    update(i);
    if (symbols[i].previous != kEnd) update(symbols[i].previous);
  }
  for (uint32_t i = 0; i != kEnd; i = symbols[i].next) ids.push_back(symbols[i].id);
  constexpr size_t kKeep = 1 << 20;  // one long word must not hold its memory for ever
  if (symbols.capacity() > kKeep) {
    symbols = {};
    heap = {};
  }
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
