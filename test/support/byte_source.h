// Texts as the readers of data get them: in pieces.
#pragma once

#include <algorithm>
#include <string>

#include "data/text_input.h"

namespace llm::test {

// Gives at most `step` bytes at a time.
inline ByteSource source_of(std::string text, size_t step = 7) {
  return [text = std::move(text), step, at = size_t{0}](std::span<char> into) mutable {
    const size_t count = std::min({step, into.size(), text.size() - at});
    std::copy_n(text.data() + at, count, into.data());
    at += count;
    return count;
  };
}

}  // namespace llm::test
