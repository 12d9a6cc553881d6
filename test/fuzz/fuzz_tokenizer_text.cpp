// Any bytes encode, with one thread, with several and in parts to the same ids, and decode to
// themselves.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe_trainer.h"
#include "text/pattern.h"

namespace {

std::unique_ptr<llm::Tokenizer> make_tokenizer(std::string_view pattern) {
  llm::WordCounter counter{std::string(pattern), 1};
  counter.add(
      "the word it's the words they'll 123 4567 the 日本 日本語 aaaa aaaaaaaa \n\n  \n!?!?");
  counter.end_text();
  llm::BpeTrainingOptions options;
  options.vocab_size = 400;
  options.pattern = pattern;
  options.special_tokens = {"<|endoftext|>", "<|a|>"};
  return std::make_unique<llm::BpeTokenizer>(train_bpe(counter.take_words(), options), "fuzz");
}

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto kTokenizers = [] {
    std::vector<std::unique_ptr<llm::Tokenizer>> tokenizers;
    for (const std::string_view pattern :
         {llm::kGpt2Pattern, llm::kLlama3Pattern, std::string_view("x*|(?<=a)b")}) {
      tokenizers.push_back(make_tokenizer(pattern));
    }
    tokenizers.push_back(llm::make_byte_tokenizer());
    return tokenizers;
  }();
  if (size < 2) return 0;
  const size_t part_size = std::max<size_t>(1 + data[0], size / 8);
  const bool allow_special = (data[1] & 1) != 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  for (const auto& tokenizer : kTokenizers) {
    const std::vector<llm::TokenId> ids = tokenizer->encode(text, allow_special);
    require(tokenizer->decode(ids) == text);
    std::vector<llm::TokenId> in_parts;
    std::string pending;
    for (size_t at = 0; at < text.size(); at += part_size) {
      pending += text.substr(at, part_size);
      pending.erase(0, tokenizer->encode_prefix(pending, in_parts, 2, allow_special));
    }
    tokenizer->encode_parallel(pending, in_parts, 2, allow_special);
    require(in_parts == ids);
  }
  if (!text.empty() && (data[1] & 2) != 0) {
    const auto characters = llm::make_char_tokenizer(text);
    require(characters->decode(characters->encode(text)) == text);
  }
  return 0;
}
