// JSONL and plain text as documents, then cleaning and filtering. The first byte chooses how the
// bytes arrive; the result must not depend on that.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/corpus_reader.h"
#include "data/filters.h"

namespace {

// What became of the documents, in one string.
std::string read_all(std::string_view bytes, bool jsonl, size_t step) {
  static const llm::FilterOptions options = [] {
    llm::FilterOptions wanted;
    wanted.min_chars = 2;
    wanted.language = llm::parse_language_filter("latin:0.5");
    wanted.deduplicate = true;
    return wanted;
  }();
  static llm::TextCleaner cleaner(options);
  static llm::DocumentFilter filter(options);
  auto source = [bytes, step, at = size_t{0}](std::span<char> into) mutable {
    const size_t count = std::min({step, into.size(), bytes.size() - at});
    std::copy_n(bytes.data() + at, count, into.data());
    at += count;
    return count;
  };
  std::string result;
  try {
    const auto reader = jsonl ? llm::read_jsonl_documents(source, "fuzz", "text")
                              : llm::read_text_documents(source, "fuzz", step);
    llm::DocumentPart part;
    llm::FilterReport report;
    while (reader->next(part)) {
      cleaner.clean(part.text, part.last, result, report);
      if (part.last) result += '|';
    }
    const std::string cleaned = result;
    llm::FilterReport again;
    std::string twice;
    cleaner.clean(cleaned, true, twice, again);
    if (twice != cleaned) __builtin_trap();  // cleaning clean text changes nothing
    filter.add(cleaned);
    filter.finish(again);
  } catch (const llm::Error& error) {
    result += error.what();
  }
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool jsonl = data[0] % 2 == 0;
  const size_t step = data[0] / 2 + 1;
  const std::string in_pieces = read_all(bytes, jsonl, step);
  const std::string at_once = read_all(bytes, jsonl, size_t{1} << 16);
  if (in_pieces != at_once && in_pieces.find("fuzz: is ") == std::string::npos &&
      at_once.find("fuzz: is ") == std::string::npos) {
    __builtin_trap();
  }
  return 0;
}
