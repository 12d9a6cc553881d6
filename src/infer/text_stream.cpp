#include "infer/text_stream.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace llm {
namespace {

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

}  // namespace llm
