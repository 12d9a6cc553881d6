// `bytes`: the token of a byte is its value, and <|endoftext|> is 256.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/hash.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace llm {
namespace {

constexpr TokenId kByteEndOfText = 256;

class ByteTokenizer final : public Tokenizer {
 public:
  ByteTokenizer() : specials_{{std::string(kEndOfText), kByteEndOfText}} {
    finder_.add(kEndOfText, kByteEndOfText);
    for (int byte = 0; byte < 256; ++byte) bytes_[byte] = static_cast<char>(byte);
  }

  void encode(std::string_view text, std::vector<TokenId>& ids, bool allow_special) const override {
    encode_all(text, /*open=*/false, allow_special, ids);
  }
  size_t encode_prefix(std::string_view text, std::vector<TokenId>& ids, int,
                       bool allow_special) const override {
    return encode_all(text, /*open=*/true, allow_special, ids);
  }
  std::string_view token_bytes(TokenId id) const override {
    if (id < 0 || id > kByteEndOfText) {
      fail_usage("token id", fmt::format("{} is not in the vocabulary of 257", id));
    }
    return id == kByteEndOfText ? kEndOfText : std::string_view(&bytes_[id], 1);
  }
  int64_t vocab_size() const override { return kByteEndOfText + 1; }
  std::span<const SpecialToken> special_tokens() const override { return specials_; }
  std::optional<TokenId> end_of_text() const override { return kByteEndOfText; }
  std::string kind() const override { return "bytes"; }
  std::string hash() const override { return sha256_of(as_bytes("bytes 1")); }
  void save(const fs::path& directory) const override {
    BpeSpec spec;
    for (const char& byte : bytes_) spec.tokens.emplace_back(1, byte);
    spec.tokens.emplace_back(kEndOfText);
    spec.added.push_back({std::string(kEndOfText), kByteEndOfText, /*special=*/true});
    make_directories(directory);
    write_file_atomically(directory / "tokenizer.json", bpe_to_json(spec));
  }

 private:
  size_t encode_all(std::string_view text, bool open, bool allow_special,
                    std::vector<TokenId>& ids) const {
    ids.reserve(ids.size() + text.size());
    const auto ordinary = [&](std::string_view part, bool) {
      for (const char byte : part) ids.push_back(static_cast<uint8_t>(byte));
      return part.size();
    };
    if (!allow_special) return ordinary(text, open);
    return finder_.split(text, open, ordinary, [&](TokenId id) { ids.push_back(id); });
  }

  std::array<char, 256> bytes_;
  std::vector<SpecialToken> specials_;
  SpecialTokenFinder finder_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_tokenizer() { return std::make_unique<ByteTokenizer>(); }

}  // namespace llm
