// How vocabulary files write bytes: each of the 256 bytes as one printable character (GPT-2's
// table). Printable Latin-1 bytes stand for themselves; the others, in order, are U+0100,
// U+0101..., so that space is U+0120.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace llm {

// The character that stands for `byte`.
char32_t byte_to_character(uint8_t byte);

// The bytes in the order of their characters: the first 256 tokens of a trained vocabulary.
const std::array<uint8_t, 256>& bytes_in_alphabet_order();

// " the" -> "Ġthe".
std::string to_byte_characters(std::string_view bytes);

// The reverse; nothing if `text` is not UTF-8 or has a character outside the table.
std::optional<std::string> from_byte_characters(std::string_view text);

}  // namespace llm
