#include "text/special_tokens.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/error.h"

namespace llm {

void SpecialTokenFinder::add(std::string_view text, TokenId id) {
  LLM_ASSERT(!text.empty());
  texts_.push_back(std::make_unique<std::string>(text));
  ids_.emplace(*texts_.back(), id);
  lengths_.push_back(text.size());
  std::sort(lengths_.begin(), lengths_.end(), std::greater<>());
  lengths_.erase(std::unique(lengths_.begin(), lengths_.end()), lengths_.end());
  first_bytes_.set(static_cast<uint8_t>(text[0]));
  longest_ = lengths_.front();
}

std::optional<SpecialTokenFinder::Found> SpecialTokenFinder::find(std::string_view text,
                                                                  size_t from) const {
  if (ids_.empty()) return std::nullopt;
  const bool one_first_byte = first_bytes_.count() == 1;
  const char first = (*texts_.front())[0];
  for (size_t at = from; at < text.size(); ++at) {
    if (one_first_byte) {
      const void* next = std::memchr(text.data() + at, first, text.size() - at);
      if (next == nullptr) return std::nullopt;
      at = static_cast<const char*>(next) - text.data();
    } else if (!first_bytes_[static_cast<uint8_t>(text[at])]) {
      continue;
    }
    for (const size_t length : lengths_) {
      if (length > text.size() - at) continue;
      const auto found = ids_.find(text.substr(at, length));
      if (found != ids_.end()) return Found{at, length, found->second};
    }
  }
  return std::nullopt;
}

}  // namespace llm
