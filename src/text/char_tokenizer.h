// One token per character of the text it was made from; an invalid byte is a character of its own.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace llm {

class CharTokenizer final : public Tokenizer {
 public:
  // characters: by id, each one code point or one invalid byte, none twice. Throws Error{input}.
  CharTokenizer(std::vector<std::string> characters, const std::string& where);

  using Tokenizer::encode;
  void encode(std::string_view text, std::vector<TokenId>& ids, bool allow_special) const override;
  size_t encode_prefix(std::string_view text, std::vector<TokenId>& ids, int threads,
                       bool allow_special) const override;
  std::string_view token_bytes(TokenId id) const override;
  int64_t vocab_size() const override { return static_cast<int64_t>(characters_.size()); }
  std::span<const SpecialToken> special_tokens() const override { return {}; }
  std::optional<TokenId> end_of_text() const override { return std::nullopt; }
  std::string kind() const override { return "chars"; }
  std::string hash() const override;
  void save(const fs::path& directory) const override;

 private:
  std::vector<std::string> characters_;
  // By code point below 0x3000, else in the map; by value for invalid bytes. -1: unknown.
  std::vector<TokenId> low_ids_;
  std::unordered_map<char32_t, TokenId> high_ids_;
  std::array<TokenId, 256> byte_ids_;
};

// The distinct characters of `text`, added to those that were there: the streaming pass for
// make_char_tokenizer. A text that arrives in parts must be cut between characters.
class CharacterSet {
 public:
  void add(std::string_view text);
  // In code point order; invalid bytes come last, by value.
  std::vector<std::string> characters() const;

 private:
  std::vector<bool> code_points_ = std::vector<bool>(0x110000);
  std::array<bool, 256> bytes_{};
};

// From a tokenizer.json with a WordLevel model of single characters, as save() writes it; an
// invalid byte is written "<0xE9>", a token that Hugging Face never gives, because its texts are
// UTF-8.
std::unique_ptr<Tokenizer> char_tokenizer_from_json(const JsonObject& root,
                                                    const JsonObject& model);

}  // namespace llm
