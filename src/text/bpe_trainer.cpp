#include "text/bpe_trainer.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <queue>
#include <unordered_map>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace llm {
namespace {

constexpr TokenId kBetweenWords = -1, kMergedAway = -2;
constexpr uint32_t kNoPair = UINT32_MAX;

uint64_t pack(TokenId left, TokenId right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

struct Pair {
  uint64_t ids;
  int64_t count = 0;
  std::vector<uint32_t> positions;  // where it was once; some may be gone
  TokenId result = -1;              // once it is merged
  bool forbidden = false;
  bool touched = false;  // by the merge that is under way
};

// (left, right) -> index into `pairs`, in an open-addressed table.
class PairTable {
 public:
  Pair& at(uint32_t index) { return pairs_[index]; }
  uint32_t size() const { return static_cast<uint32_t>(pairs_.size()); }

  // The index of the pair, which is added if it is new.
  uint32_t find_or_add(uint64_t ids) {
    size_t slot = find_slot(ids);
    if (slots_[slot] != kNoPair) return slots_[slot];
    if (pairs_.size() * 2 >= slots_.size()) {
      slots_.assign(slots_.size() * 2, kNoPair);
      for (uint32_t i = 0; i < size(); ++i) slots_[find_slot(pairs_[i].ids)] = i;
      slot = find_slot(ids);
    }
    pairs_.push_back({.ids = ids, .positions = {}});
    return slots_[slot] = size() - 1;
  }

 private:
  size_t find_slot(uint64_t ids) const {
    const size_t mask = slots_.size() - 1;
    size_t slot = (ids * 0x9E3779B97F4A7C15) >> (64 - std::countr_zero(slots_.size()));
    while (slots_[slot] != kNoPair && pairs_[slots_[slot]].ids != ids) slot = (slot + 1) & mask;
    return slot;
  }

  std::vector<Pair> pairs_;
  std::vector<uint32_t> slots_ = std::vector<uint32_t>(1 << 16, kNoPair);
};

struct Candidate {
  int64_t count;
  uint64_t ids;
  uint32_t index;
  // The queue's top is the largest: most frequent first, then smaller ids.
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : ids > other.ids;
  }
};

class Trainer {
 public:
  Trainer(const WordTable& words, const BpeTrainingOptions& options) : options_(options) {
    add_base_tokens();
    lay_out(words);
    count_pairs();
  }

  BpeSpec run(const std::function<void(int64_t, int64_t)>& progress) {
    const int64_t wanted = options_.vocab_size - vocab_size();
    const int64_t base = vocab_size();
    while (vocab_size() < options_.vocab_size && !queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      Pair& pair = pairs_.at(top.index);
      if (pair.forbidden) continue;
      if (pair.count != top.count) {  // it has become rarer since
        push(top.index);
        continue;
      }
      if (pair.count < std::max<int64_t>(options_.min_frequency, 1)) break;
      if (!choose_result(pair)) continue;
      merge(top.index);
      if (progress) progress(vocab_size() - base, wanted);
    }
    spec_.pattern = options_.pattern;
    return std::move(spec_);
  }

 private:
  int64_t vocab_size() const { return static_cast<int64_t>(spec_.tokens.size()); }

  void add_base_tokens() {
    for (const std::string& text : options_.special_tokens) {
      if (text.empty() || valid_utf8_prefix(text) != text.size()) {
        fail_usage("--special", "a special token is empty or not UTF-8");
      }
      const auto id = static_cast<TokenId>(spec_.tokens.size());
      for (const AddedToken& other : spec_.added) {
        if (other.text == text) fail_usage("--special", fmt::format("'{}' comes twice", text));
      }
      // Files write tokens in byte characters: the special one must not read as one byte of those.
      const std::optional<std::string> bytes = from_byte_characters(text);
      if (bytes && bytes->size() == 1) {
        fail_usage("--special", fmt::format("'{}' is already the token of a byte", text));
      }
      if (bytes) special_bytes_.push_back(*bytes);
      spec_.added.push_back({text, id, /*special=*/true});
      spec_.tokens.push_back(text);
    }
    const int64_t smallest = vocab_size() + 256;
    if (options_.vocab_size < smallest) {
      fail_usage("--vocab-size", fmt::format("{} is too small", with_commas(options_.vocab_size)),
                 fmt::format("256 bytes and {} special tokens need {}", vocab_size(),
                             with_commas(smallest)));
    }
    if (options_.vocab_size > std::numeric_limits<TokenId>::max()) {
      fail_usage("--vocab-size", fmt::format("{} is too large", with_commas(options_.vocab_size)));
    }
    for (const uint8_t byte : bytes_in_alphabet_order()) {
      byte_ids_[byte] = static_cast<TokenId>(spec_.tokens.size());
      spec_.tokens.emplace_back(1, static_cast<char>(byte));
      ids_.emplace(spec_.tokens.back(), byte_ids_[byte]);
    }
  }

  // All words one after the other, each followed by a boundary; one boundary in front.
  void lay_out(const WordTable& words) {
    uint64_t size = 1;
    words.for_each([&](std::string_view word, int64_t) { size += word.size() + 1; });
    if (size > std::numeric_limits<uint32_t>::max()) {
      fail_input("text", fmt::format("{} bytes of distinct words", with_commas(size)),
                 "at most 4 GiB are supported: train on a part of the text");
    }
    symbols_.reserve(size);
    word_of_.reserve(size);
    spans_.assign(size, 1);
    const auto append = [&](TokenId id, size_t word) {
      symbols_.push_back(id);
      word_of_.push_back(static_cast<uint32_t>(word));
    };
    append(kBetweenWords, 0);
    words.for_each([&](std::string_view word, int64_t count) {
      for (const char byte : word) append(byte_ids_[static_cast<uint8_t>(byte)], counts_.size());
      append(kBetweenWords, counts_.size());
      counts_.push_back(count);
    });
  }

  void count_pairs() {
    for (uint32_t at = 0; at + 1 < symbols_.size(); ++at) {
      if (symbols_[at] < 0 || symbols_[at + 1] < 0) continue;
      Pair& pair = pairs_.at(pairs_.find_or_add(pack(symbols_[at], symbols_[at + 1])));
      pair.count += counts_[word_of_[at]];
      pair.positions.push_back(at);
    }
    for (uint32_t i = 0; i < pairs_.size(); ++i) push(i);
  }

  void push(uint32_t index) {
    const Pair& pair = pairs_.at(index);
    if (pair.count > 0) queue_.push({pair.count, pair.ids, index});
  }

  // Gives the pair its token: a new one, or the one that spells the same already. False if there
  // must not be one.
  bool choose_result(Pair& pair) {
    if (pair.result >= 0) return true;  // merged before; it came up again since
    const auto left = static_cast<TokenId>(pair.ids >> 32), right = static_cast<TokenId>(pair.ids);
    const std::string bytes = spec_.tokens[left] + spec_.tokens[right];
    const auto special = std::find(special_bytes_.begin(), special_bytes_.end(), bytes);
    if (special != special_bytes_.end()) {
      pair.forbidden = true;
      return false;
    }
    const auto [known, inserted] = ids_.emplace(bytes, static_cast<TokenId>(spec_.tokens.size()));
    if (inserted) spec_.tokens.push_back(bytes);
    pair.result = known->second;
    spec_.merges.push_back({left, right, pair.result});
    return true;
  }

  void change(TokenId left, TokenId right, int64_t count, uint32_t position) {
    if (left < 0 || right < 0) return;
    const uint32_t index = pairs_.find_or_add(pack(left, right));
    Pair& pair = pairs_.at(index);
    pair.count += count;
    if (count < 0) return;
    pair.positions.push_back(position);
    if (!pair.touched) touched_.push_back(index);
    pair.touched = true;
  }

  // A symbol covers as many positions as it has bytes; its first and its last position know how
  // many.
  void merge(uint32_t index) {
    const auto left = static_cast<TokenId>(pairs_.at(index).ids >> 32);
    const auto right = static_cast<TokenId>(pairs_.at(index).ids);
    const TokenId result = pairs_.at(index).result;
    std::vector<uint32_t> positions = std::move(pairs_.at(index).positions);
    if (!std::is_sorted(positions.begin(), positions.end())) {
      std::sort(positions.begin(), positions.end());
    }
    int64_t merged = 0;
    for (const uint32_t at : positions) {
      if (symbols_[at] != left) continue;
      const uint32_t second = at + spans_[at];
      if (symbols_[second] != right) continue;
      const int64_t count = counts_[word_of_[at]];
      const uint32_t before = at - spans_[at - 1], after = second + spans_[second];
      change(symbols_[before], left, -count, before);
      change(symbols_[before], result, count, before);
      change(right, symbols_[after], -count, at);
      change(result, symbols_[after], count, at);
      merged += count;
      symbols_[second] = kMergedAway;
      symbols_[at] = result;
      spans_[at] = spans_[after - 1] = after - at;
    }
    pairs_.at(index).count -= merged;
    for (const uint32_t changed : touched_) {
      pairs_.at(changed).touched = false;
      push(changed);
    }
    touched_.clear();
  }

  const BpeTrainingOptions& options_;
  BpeSpec spec_;
  std::array<TokenId, 256> byte_ids_;
  std::unordered_map<std::string, TokenId> ids_;  // by bytes
  std::vector<std::string> special_bytes_;

  std::vector<TokenId> symbols_;   // by position; kBetweenWords, kMergedAway
  std::vector<uint32_t> spans_;    // by position
  std::vector<uint32_t> word_of_;  // by position
  std::vector<int64_t> counts_;    // by word
  PairTable pairs_;
  std::priority_queue<Candidate> queue_;
  std::vector<uint32_t> touched_;
};

}  // namespace

BpeSpec train_bpe(const WordTable& words, const BpeTrainingOptions& options,
                  const std::function<void(int64_t, int64_t)>& progress) {
  return Trainer(words, options).run(progress);
}

}  // namespace llm
