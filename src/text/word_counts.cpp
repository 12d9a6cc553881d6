#include "text/word_counts.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "text/piece_hash.h"
#include "text/unicode.h"

namespace llm {
namespace {

constexpr size_t kWindowPerThread = 4 << 20;

}  // namespace

void WordTable::add(std::string_view word, int64_t count) {
  if (word.size() >= std::numeric_limits<uint32_t>::max()) {
    fail_input("text", fmt::format("a word of {} bytes", with_commas(word.size())),
               "words must be shorter than 4 GiB");
  }
  const uint64_t hash = hash_piece(word);
  const size_t mask = slots_.size() - 1;
  size_t slot = hash & mask;
  for (; slots_[slot].length != 0; slot = (slot + 1) & mask) {
    Word& known = slots_[slot];
    if (known.hash == hash && bytes_of(known) == word) {
      known.count += count;
      return;
    }
  }
  slots_[slot] = {hash, bytes_.size(), static_cast<uint32_t>(word.size()), count};
  bytes_.insert(bytes_.end(), word.begin(), word.end());
  if (++used_ * 2 > slots_.size()) grow();
}

void WordTable::grow() {
  std::vector<Word> old = std::exchange(slots_, std::vector<Word>(slots_.size() * 2));
  const size_t mask = slots_.size() - 1;
  for (const Word& word : old) {
    if (word.length == 0) continue;
    size_t slot = word.hash & mask;
    while (slots_[slot].length != 0) slot = (slot + 1) & mask;
    slots_[slot] = word;
  }
}

void WordTable::add_all(const WordTable& other) {
  for (const Word& word : other.slots_) {
    if (word.length != 0) add(other.bytes_of(word), word.count);
  }
}

class WordCounter::Sink final : public PieceSink {
 public:
  explicit Sink(std::vector<WordTable>& tables) : tables_(tables) {}
  void begin(int count) override {
    if (static_cast<int>(tables_.size()) <= count) tables_.resize(count + 1);
  }
  void add(int chunk, std::string_view piece) override { tables_[chunk].add(piece, 1); }
  void drop_first(int chunk, std::string_view piece) override { tables_[chunk].add(piece, -1); }
  void add_before(int chunk, std::string_view piece) override { tables_[chunk].add(piece, 1); }

 private:
  std::vector<WordTable>& tables_;
};

WordCounter::WordCounter(std::string pattern, int threads)
    : pre_tokenizer_(std::move(pattern)),
      threads_(std::max(threads, 1)),
      window_(kWindowPerThread * threads_) {}

void WordCounter::add(std::string_view part) {
  bytes_ += static_cast<int64_t>(part.size());
  pending_ += part;
  if (pending_.size() < window_) return;
  std::string_view text = pending_;
  text.remove_suffix(unfinished_utf8_suffix(text));
  Sink sink(tables_);
  const size_t covered = find_pieces(pre_tokenizer_, text, /*open=*/true, threads_, sink);
  // A word longer than the window: come again when there is twice as much.
  window_ = covered < window_ / 2 ? pending_.size() * 2 : kWindowPerThread * threads_;
  pending_.erase(0, covered);
}

void WordCounter::end_text() {
  Sink sink(tables_);
  find_pieces(pre_tokenizer_, pending_, /*open=*/false, threads_, sink);
  pending_.clear();
}

WordTable WordCounter::take_words() {
  LLM_ASSERT(pending_.empty(), "end_text() has not been called");
  WordTable all;
  for (WordTable& table : tables_) {
    all.add_all(table);
    table = WordTable();
  }
  return all;
}

}  // namespace llm
