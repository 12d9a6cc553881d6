#include "text/char_tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "text/unicode.h"

namespace llm {
namespace {

constexpr char32_t kLowCodePoints = 0x3000;
constexpr std::string_view kAnyCharacter = R"([\s\S])";
constexpr std::string_view kUnknown = "<unk>";  // WordLevel must name one; it is in no vocabulary

std::string byte_token_text(uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

// How tokenizer.json writes a character: itself, or the number of an invalid byte.
std::string file_text(const std::string& character) {
  if (decode_utf8(character, 0).valid) return character;
  return byte_token_text(static_cast<uint8_t>(character[0]));
}

// The reverse of file_text; empty if `text` is neither.
std::string from_file_text(const std::string& text) {
  if (!text.empty() && decode_utf8(text, 0).length == static_cast<int>(text.size())) return text;
  for (int byte = 0x80; byte < 0x100; ++byte) {
    if (text == byte_token_text(static_cast<uint8_t>(byte))) {
      return std::string(1, static_cast<char>(byte));
    }
  }
  return {};
}

}  // namespace

CharTokenizer::CharTokenizer(std::vector<std::string> characters, const std::string& where)
    : characters_(std::move(characters)), low_ids_(kLowCodePoints, -1) {
  byte_ids_.fill(-1);
  if (characters_.empty()) {
    fail_input(where, "there are no characters", "a `chars` tokenizer needs some text");
  }
  for (size_t i = 0; i < characters_.size(); ++i) {
    const std::string& text = characters_[i];
    const auto id = static_cast<TokenId>(i);
    const DecodedCharacter character =
        text.empty() ? DecodedCharacter{0, 0, false} : decode_utf8(text, 0);
    if (text.empty() || character.length != static_cast<int>(text.size())) {
      fail_input(where,
                 fmt::format("token {} has {} bytes, which is not one character", i, text.size()));
    }
    TokenId& slot = !character.valid                        ? byte_ids_[character.code_point]
                    : character.code_point < kLowCodePoints ? low_ids_[character.code_point]
                                                            : high_ids_[character.code_point];
    const bool high = character.valid && character.code_point >= kLowCodePoints;
    if (high ? slot != 0 : slot != -1) fail_input(where, fmt::format("token {} comes twice", i));
    slot = high ? id + 1 : id;  // the map's default, 0, means absent
  }
}

void CharTokenizer::encode(std::string_view text, std::vector<TokenId>& ids, bool) const {
  ids.reserve(ids.size() + text.size());
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter character = decode_utf8(text, at);
    TokenId id = -1;
    if (!character.valid) {
      id = byte_ids_[character.code_point];
    } else if (character.code_point < kLowCodePoints) {
      id = low_ids_[character.code_point];
    } else if (const auto found = high_ids_.find(character.code_point); found != high_ids_.end()) {
      id = found->second - 1;
    }
    if (id < 0) {
      const std::string name =
          character.valid
              ? fmt::format("character U+{:04X} '{}'", static_cast<uint32_t>(character.code_point),
                            text.substr(at, character.length))
              : fmt::format("the invalid byte 0x{:02X}",
                            static_cast<uint32_t>(character.code_point));
      fail_input("text",
                 fmt::format("{} at byte {} is not in the vocabulary of {} characters", name,
                             with_commas(at), with_commas(vocab_size())),
                 "a `chars` tokenizer knows the characters of its training text only");
    }
    ids.push_back(id);
    at += character.length;
  }
}

size_t CharTokenizer::encode_prefix(std::string_view text, std::vector<TokenId>& ids, int,
                                    bool allow_special) const {
  text.remove_suffix(unfinished_utf8_suffix(text));
  encode(text, ids, allow_special);
  return text.size();
}

std::string_view CharTokenizer::token_bytes(TokenId id) const {
  if (id < 0 || id >= vocab_size()) {
    fail_usage("token id",
               fmt::format("{} is not in the vocabulary of {}", id, with_commas(vocab_size())));
  }
  return characters_[id];
}

std::string CharTokenizer::hash() const {
  Sha256 sha;
  sha.update("chars 1\n");
  for (const std::string& character : characters_) {
    sha.update(fmt::format("{} ", character.size()));
    sha.update(character);
  }
  return sha.hex_digest();
}

void CharTokenizer::save(const fs::path& directory) const {
  Json::object_t vocabulary;
  for (size_t id = 0; id < characters_.size(); ++id) {
    vocabulary.emplace_back(file_text(characters_[id]), id);
  }
  const Json document{
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", Json::array()},
      {"normalizer", nullptr},
      {"pre_tokenizer", Json{{"type", "Split"},
                             {"pattern", Json{{"Regex", kAnyCharacter}}},
                             {"behavior", "Isolated"},
                             {"invert", false}}},
      {"post_processor", nullptr},
      {"decoder", Json{{"type", "Fuse"}}},
      {"model",
       Json{{"type", "WordLevel"}, {"vocab", std::move(vocabulary)}, {"unk_token", kUnknown}}}};
  make_directories(directory);
  write_file_atomically(directory / "tokenizer.json", to_pretty_text(document));
}

void CharacterSet::add(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter character = decode_utf8(text, at);
    if (character.valid) {
      code_points_[character.code_point] = true;
    } else {
      bytes_[character.code_point] = true;
    }
    at += character.length;
  }
}

std::vector<std::string> CharacterSet::characters() const {
  std::vector<std::string> characters;
  for (char32_t code_point = 0; code_point < code_points_.size(); ++code_point) {
    if (code_points_[code_point]) append_utf8(characters.emplace_back(), code_point);
  }
  for (int byte = 0; byte < 256; ++byte) {
    if (bytes_[byte]) characters.emplace_back(1, static_cast<char>(byte));
  }
  return characters;
}

std::unique_ptr<Tokenizer> make_char_tokenizer(std::string_view text) {
  CharacterSet set;
  set.add(text);
  return std::make_unique<CharTokenizer>(set.characters(), "chars");
}

std::unique_ptr<Tokenizer> make_char_tokenizer(const std::vector<std::string>& characters) {
  CharacterSet set;
  for (const std::string& character : characters) set.add(character);
  return std::make_unique<CharTokenizer>(set.characters(), "chars");
}

std::unique_ptr<Tokenizer> char_tokenizer_from_json(const JsonObject& root,
                                                    const JsonObject& model) {
  const std::string hint = "a WordLevel model must have one token per character";
  const JsonObject split = root.object("pre_tokenizer");
  if (split.text("type") != "Split" || split.object("pattern").text("Regex", "") != kAnyCharacter ||
      split.text("behavior") != "Isolated") {
    fail_input(root.where(), "the pre-tokenizer does not split into characters", hint);
  }
  if (root.has("added_tokens") && !root.array("added_tokens").empty()) {
    root.fail("added_tokens", "is not supported with a WordLevel model");
  }
  const Json& vocabulary = model.value("vocab");
  if (!vocabulary.is_object()) model.fail("vocab", "is not an object");
  std::vector<std::string> characters(vocabulary.size());
  for (const auto& [text, id] : vocabulary.items()) {
    const std::string character = from_file_text(text);
    if (character.empty()) model.fail("vocab", "has a token that is not one character");
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= characters.size() ||
        !characters[id.get<uint64_t>()].empty()) {
      model.fail("vocab", "has ids that do not run from 0 without gaps");
    }
    characters[id.get<uint64_t>()] = character;
  }
  return std::make_unique<CharTokenizer>(std::move(characters), model.where());
}

}  // namespace llm
