// UTF-8 as defined by Unicode (no surrogates, no overlong forms, at most U+10FFFF), read from bytes
// that may not be UTF-8 at all.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llm {

struct DecodedCharacter {
  char32_t code_point;  // the byte's value where valid is false
  int length;           // bytes used, 1 for an invalid byte
  bool valid;
};

// The character that begins at byte `at`, which must lie inside the text.
DecodedCharacter decode_utf8(std::string_view text, size_t at);

// Length in bytes of the longest prefix of `text` that is valid UTF-8.
size_t valid_utf8_prefix(std::string_view text);

// Length in bytes of the longest prefix of `text` in which no position begins a valid character.
size_t invalid_utf8_prefix(std::string_view text);

// Bytes (0 to 3) at the end of `text` that begin a character whose rest may still follow.
size_t unfinished_utf8_suffix(std::string_view text);

// code_point must be at most U+10FFFF and no surrogate.
void append_utf8(std::string& text, char32_t code_point);

}  // namespace llm
