// Learns a byte-level BPE from word counts (Sennrich et al., 2016): again and again the most
// frequent pair of neighbours becomes a token. Counts are kept up to date at the places where a
// pair was merged; nothing is counted twice.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "text/bpe_tokenizer.h"
#include "text/word_counts.h"

namespace llm {

struct BpeTrainingOptions {
  int64_t vocab_size = 0;  // counts everything: special tokens, 256 bytes, merges
  std::string pattern;     // the one that cut the words
  std::vector<std::string> special_tokens;
  int64_t min_frequency = 1;  // a pair that is rarer is not merged
};

// Ids are those of Hugging Face's BpeTrainer with the byte-level alphabet: first the special
// tokens, then the 256 bytes in the order of their characters, then the merges. Of pairs with the
// same count the one with the smaller ids wins (first by the left token), as there; so the result
// does not depend on the number of threads. A pair that would spell a special token is never
// merged.
//
// The vocabulary comes out smaller if the text has no more pairs. Throws Error{usage} for a
// vocab_size without room for bytes and special tokens, Error{input} for more than 4 GiB of
// distinct words. progress(merges so far, merges wanted) may be empty.
BpeSpec train_bpe(const WordTable& words, const BpeTrainingOptions& options,
                  const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace llm
