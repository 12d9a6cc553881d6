// Texts and golden hashes for the tests of tokenizers.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace llm::test {

// test/golden/tokenizer.json.
const Json& tokenizer_golden();
// The hash of ids that it has.
std::string hash_ids(std::span<const TokenId> ids);

// The random strings of scripts/golden_tokenizer.py: characters assigned in Unicode 14.
class GoldenStrings {
 public:
  GoldenStrings();
  std::string next();

 private:
  uint64_t below(uint64_t bound);

  uint64_t state_ = 42;
  std::vector<std::pair<uint32_t, uint32_t>> ranges_;
  std::vector<uint32_t> spaces_;
};

// Texts that mix words, spaces, digits, scripts, repetitions and invalid bytes.
std::string messy_text(std::mt19937_64& random, size_t size);

// A vocabulary with some merges, trained on a few lines.
std::unique_ptr<Tokenizer> small_bpe_tokenizer(std::string_view pattern, int64_t vocab_size = 400);

// Runs `body` on a thread with so much stack and waits for it.
void run_on_small_stack(size_t stack_bytes, const std::function<void()>& body);

}  // namespace llm::test
