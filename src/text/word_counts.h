// How often each distinct piece comes in a text of any length: the first half of training a BPE.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/pre_tokenizer.h"

namespace llm {

// Word -> count. Counts may be negative in between.
class WordTable {
 public:
  struct Word {
    uint64_t hash;
    size_t offset;    // of its bytes
    uint32_t length;  // 0: an empty slot
    int64_t count;
  };

  WordTable() : slots_(1 << 12) {}
  void add(std::string_view word, int64_t count);
  void add_all(const WordTable& other);
  // Calls visit(word, count) for each word with a positive count.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const Word& word : slots_) {
      if (word.length != 0 && word.count > 0) visit(bytes_of(word), word.count);
    }
  }

 private:
  std::string_view bytes_of(const Word& word) const { return {&bytes_[word.offset], word.length}; }
  void grow();

  std::vector<Word> slots_;  // open addressing, at most half full
  std::vector<char> bytes_;
  size_t used_ = 0;
};

// Cuts texts into words, in parallel and in constant memory beside the table of distinct words.
class WordCounter {
 public:
  WordCounter(std::string pattern, int threads);

  // The next part of the current text.
  void add(std::string_view part);
  // The current text ends here: no word goes on in the next.
  void end_text();

  // All words so far. No text may be unfinished.
  WordTable take_words();
  int64_t bytes() const { return bytes_; }

 private:
  class Sink;
  PreTokenizer pre_tokenizer_;
  int threads_;
  std::string pending_;
  size_t window_;
  std::vector<WordTable> tables_;  // one per chunk
  int64_t bytes_ = 0;
};

}  // namespace llm
