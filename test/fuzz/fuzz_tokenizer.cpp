// A tokenizer file from outside is refused or works: tokenizer.json, or vocab.json and merges.txt
// with a zero byte between. What loads must encode any bytes and give them back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "text/tokenizer_json.h"

namespace {

void check_round_trip(const llm::Tokenizer& tokenizer, std::string_view text) {
  if (text.size() > 512) text = text.substr(0, 512);
  try {
    for (const bool allow_special : {false, true}) {
      const std::string back = tokenizer.decode(tokenizer.encode(text, allow_special));
      // Some files ask for a space in front.
      if (back != text && back.find(text) == std::string::npos) std::abort();
    }
  } catch (const llm::Error&) {
    // A pattern that needs too long, or a character that `chars` does not know.
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  try {
    const auto tokenizer =
        zero == std::string_view::npos
            ? llm::tokenizer_from_json(input, "tokenizer.json")
            : llm::tokenizer_from_vocab_and_merges(input.substr(0, zero), "vocab.json",
                                                   input.substr(zero + 1), "merges.txt");
    check_round_trip(*tokenizer, input);
    check_round_trip(*tokenizer, "It's 1234  a \xFF <|endoftext|>\n\n x");
  } catch (const llm::Error&) {
  }
  return 0;
}
