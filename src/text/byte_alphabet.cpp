#include "text/byte_alphabet.h"

#include "text/unicode.h"

namespace llm {
namespace {

bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<char32_t, 256> characters;
  std::array<int16_t, 512> bytes;  // by character, -1 where there is none
  std::array<uint8_t, 256> order;

  Alphabet() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      characters[byte] = stands_for_itself(byte) ? byte : next++;
      bytes[characters[byte]] = static_cast<int16_t>(byte);
    }
    int rank = 0;
    for (const int16_t byte : bytes) {
      if (byte >= 0) order[rank++] = static_cast<uint8_t>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet kAlphabet;
  return kAlphabet;
}

}  // namespace

char32_t byte_to_character(uint8_t byte) { return alphabet().characters[byte]; }

const std::array<uint8_t, 256>& bytes_in_alphabet_order() { return alphabet().order; }

std::string to_byte_characters(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_utf8(text, byte_to_character(static_cast<uint8_t>(byte)));
  return text;
}

std::optional<std::string> from_byte_characters(std::string_view text) {
  const Alphabet& table = alphabet();
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter character = decode_utf8(text, at);
    if (!character.valid || character.code_point >= table.bytes.size()) return std::nullopt;
    const int16_t byte = table.bytes[character.code_point];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    at += character.length;
  }
  return bytes;
}

}  // namespace llm
