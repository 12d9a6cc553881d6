// Finds added tokens such as <|endoftext|> in text: the leftmost, and of those the longest.
#pragma once

#include <bitset>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"

namespace llm {

inline constexpr std::string_view kEndOfText = "<|endoftext|>";

class SpecialTokenFinder {
 public:
  struct Found {
    size_t begin, length;
    TokenId id;
  };

  void add(std::string_view text, TokenId id);
  bool empty() const { return ids_.empty(); }
  std::optional<Found> find(std::string_view text, size_t from) const;

  // Calls ordinary(part, open) for the text between the tokens and token(id) for each of them, in
  // order. open: more text may follow, and a token may begin in the last bytes; ordinary then
  // returns how much of the last part it took. Returns the bytes covered.
  template <typename Ordinary, typename Token>
  size_t split(std::string_view text, bool open, Ordinary&& ordinary, Token&& token) const {
    size_t at = 0;
    while (true) {
      const std::optional<Found> found = find(text, at);
      const bool decided = found && (!open || found->begin + longest_ <= text.size());
      if (!decided) {
        size_t end = text.size();
        if (open && longest_ > 0) end = std::max(at, end - std::min(end, longest_ - 1));
        return at + ordinary(text.substr(at, end - at), open);
      }
      ordinary(text.substr(at, found->begin - at), false);
      token(found->id);
      at = found->begin + found->length;
    }
  }

 private:
  std::unordered_map<std::string_view, TokenId> ids_;  // views into texts_
  std::vector<std::unique_ptr<std::string>> texts_;
  std::vector<size_t> lengths_;  // the lengths that occur, descending
  std::bitset<256> first_bytes_;
  size_t longest_ = 0;
};

}  // namespace llm
