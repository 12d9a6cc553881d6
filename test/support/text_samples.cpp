#include "support/text_samples.h"

#include <pthread.h>

#include "base/error.h"
#include "base/hash.h"
#include "text/bpe_trainer.h"
#include "text/unicode.h"

namespace llm::test {

const Json& tokenizer_golden() {
  static const Json golden =
      read_json_file(fs::path(LLM_SOURCE_DIR) / "test/golden/tokenizer.json");
  return golden;
}

std::string hash_ids(std::span<const TokenId> ids) {
  return sha256_of(std::as_bytes(ids)).substr(0, 16);
}

GoldenStrings::GoldenStrings() {
  for (const Json& range : tokenizer_golden().at("assigned_in_unicode_14")) {
    ranges_.emplace_back(range[0].get<uint32_t>(), range[1].get<uint32_t>());
  }
  spaces_ = tokenizer_golden().at("spaces").get<std::vector<uint32_t>>();
}

uint64_t GoldenStrings::below(uint64_t bound) {  // splitmix64
  state_ += 0x9E3779B97F4A7C15;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return (z ^ (z >> 31)) % bound;
}

std::string GoldenStrings::next() {
  std::string text;
  uint32_t code_point = 0;
  const uint64_t count = 1 + below(40);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t kind = below(8);
    if (kind < 2) {
      code_point = 0x21 + static_cast<uint32_t>(below(0x5E));
    } else if (kind == 2) {
      code_point = spaces_[below(spaces_.size())];
    } else if (kind != 3 || i == 0) {
      const auto [first, last] = ranges_[below(ranges_.size())];
      code_point = first + static_cast<uint32_t>(below(last - first + 1));
    }
    append_utf8(text, code_point);
  }
  return text;
}

std::string messy_text(std::mt19937_64& random, size_t size) {
  static const std::vector<std::string> kParts = {
      "the ", "word", " it's", "\n",   "\n\n  ",    "   ",  "\t",   "123",          " 4567",
      "!?",   "é",    "日本",  "🙂", "e\xCC\x81", "\xFF", "\xC3", "\xE6\x97",     "\xF0\x9F",
      "\xA0", "'ll",  "'S",    "—",    " \n ",      "a",    "\r\n", "<|endoftext|>"};
  std::string text;
  while (text.size() < size) {
    const std::string& part = kParts[random() % kParts.size()];
    const size_t repeat = random() % 16 == 0 ? 1 + random() % 200 : 1;
    for (size_t i = 0; i < repeat; ++i) text += part;
  }
  return text;
}

std::unique_ptr<Tokenizer> small_bpe_tokenizer(std::string_view pattern, int64_t vocab_size) {
  WordCounter counter{std::string(pattern), 1};
  counter.add(
      "the word it's the words they'll 123 4567 the 日本 日本語 aaaa aaaaaaaa \n\n  \n!?!?");
  counter.end_text();
  BpeTrainingOptions options;
  options.vocab_size = vocab_size;
  options.pattern = pattern;
  options.special_tokens = {"<|endoftext|>"};
  return std::make_unique<BpeTokenizer>(train_bpe(counter.take_words(), options), "small");
}

void run_on_small_stack(size_t stack_bytes, const std::function<void()>& body) {
  pthread_attr_t attributes;
  LLM_ASSERT(pthread_attr_init(&attributes) == 0);
  LLM_ASSERT(pthread_attr_setstacksize(&attributes, stack_bytes) == 0);
  pthread_t thread;
  const auto run = [](void* argument) -> void* {
    (*static_cast<const std::function<void()>*>(argument))();
    return nullptr;
  };
  void* argument = const_cast<std::function<void()>*>(&body);
  LLM_ASSERT(pthread_create(&thread, &attributes, run, argument) == 0);
  LLM_ASSERT(pthread_join(thread, nullptr) == 0);
  pthread_attr_destroy(&attributes);
}

}  // namespace llm::test
