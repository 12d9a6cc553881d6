#include "text/unicode.h"

#include <cstdint>
#include <cstring>

#include "base/error.h"

namespace llm {
namespace {

// Bytes of the sequence that `lead` begins, 0 if it begins none.
int sequence_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;  // continuation bytes and overlong two-byte forms
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) return 3;
  return lead < 0xF5 ? 4 : 0;
}

// Whether `second` may follow `lead`: keeps out overlong forms, surrogates and what is too large.
bool second_byte_fits(unsigned char lead, unsigned char second) {
  switch (lead) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return (second & 0xC0) == 0x80;
  }
}

}  // namespace

DecodedCharacter decode_utf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  const DecodedCharacter invalid{lead, 1, false};
  const int length = sequence_length(lead);
  if (length == 1) return {lead, 1, true};
  if (length == 0 || text.size() - at < static_cast<size_t>(length)) return invalid;
  if (!second_byte_fits(lead, byte(at + 1))) return invalid;
  char32_t code_point = lead & (0xFF >> (length + 1));
  for (int i = 1; i < length; ++i) {
    const unsigned char next = byte(at + i);
    if ((next & 0xC0) != 0x80) return invalid;
    code_point = (code_point << 6) | (next & 0x3F);
  }
  return {code_point, length, true};
}

size_t valid_utf8_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    // Sixteen ASCII bytes at a time: most text is that.
    while (text.size() - at >= 16) {
      uint64_t words[2];
      std::memcpy(words, text.data() + at, sizeof(words));
      if (((words[0] | words[1]) & 0x8080808080808080) != 0) break;
      at += 16;
    }
    // Then characters, until the text is ASCII again.
    int ascii = 0;
    while (at < text.size() && ascii < 16) {
      const DecodedCharacter character = decode_utf8(text, at);
      if (!character.valid) return at;
      ascii = character.length == 1 ? ascii + 1 : 0;
      at += character.length;
    }
  }
  return at;
}

size_t invalid_utf8_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && !decode_utf8(text, at).valid) ++at;
  return at;
}

size_t unfinished_utf8_suffix(std::string_view text) {
  for (size_t length = 1; length <= 3 && length <= text.size(); ++length) {
    const size_t at = text.size() - length;
    const auto lead = static_cast<unsigned char>(text[at]);
    if ((lead & 0xC0) == 0x80) continue;  // a continuation byte: the lead is further left
    if (sequence_length(lead) <= static_cast<int>(length)) return 0;
    if (length > 1 && !second_byte_fits(lead, static_cast<unsigned char>(text[at + 1]))) return 0;
    return length;
  }
  return 0;
}

void append_utf8(std::string& text, char32_t code_point) {
  LLM_ASSERT(code_point <= 0x10FFFF && (code_point < 0xD800 || code_point > 0xDFFF));
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

}  // namespace llm
