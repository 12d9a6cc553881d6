#include "infer/text_stream.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace llm {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

// C0 and C1 controls and DEL.
bool steers_terminal(char32_t c) {
  return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
}

// Bytes that one U+FFFD stands for, where no character begins.
size_t broken_character(std::string_view text) {
  for (size_t length = std::min<size_t>(3, text.size()); length > 1; --length) {
    if (unfinished_utf8_suffix(text.substr(0, length)) == length) return length;
  }
  return 1;
}

// Length of the longest suffix of `text` that begins `stop`, less than all of it.
size_t begun(std::string_view text, std::string_view stop) {
  for (size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.substr(text.size() - length) == stop.substr(0, length)) return length;
  }
  return 0;
}

}  // namespace

TextStream::TextStream(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase(stops_, std::string());
}

std::string TextStream::append(std::string_view bytes) {
  if (stopped_) return {};
  held_ += bytes;
  size_t stop_at = std::string::npos, keep = 0;
  for (const std::string& stop : stops_) {
    stop_at = std::min(stop_at, held_.find(stop));
    keep = std::max(keep, begun(held_, stop));
  }
  if (stop_at != std::string::npos) {
    stopped_ = true;
    held_.resize(stop_at);
    return std::exchange(held_, {});
  }
  std::string certain = held_.substr(0, held_.size() - keep);
  certain.resize(certain.size() - unfinished_utf8_suffix(certain));
  held_.erase(0, certain.size());
  return certain;
}

std::string TextStream::finish() { return std::exchange(held_, {}); }

std::string shown_text(std::string_view text, bool terminal) {
  std::string shown;
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter character = decode_utf8(text, at);
    if (!character.valid) {
      append_utf8(shown, kReplacement);
      at += broken_character(text.substr(at));
      continue;
    }
    const auto length = static_cast<size_t>(character.length);
    if (!terminal || !steers_terminal(character.code_point)) shown += text.substr(at, length);
    at += length;
  }
  return shown;
}

}  // namespace llm
