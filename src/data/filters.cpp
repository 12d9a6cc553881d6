#include "data/filters.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/hash.h"
#include "text/unicode.h"

namespace llm {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr char32_t kNextLine = 0x85;
constexpr char32_t kZeroWidthNonJoiner = 0x200C, kZeroWidthJoiner = 0x200D;

// Bytes that cleaning never touches: printable ASCII, tab and line feed.
constexpr std::array<bool, 256> plain_bytes() {
  std::array<bool, 256> plain{};
  for (int byte = 0x20; byte < 0x7F; ++byte) plain[byte] = true;
  plain['\t'] = plain['\n'] = true;
  return plain;
}
constexpr std::array<bool, 256> kPlain = plain_bytes();

bool is_control(char32_t code_point) {
  return code_point < 0x20 || (code_point >= 0x7F && code_point < 0xA0);
}

// The format characters that cleaning removes. Found once: it takes some milliseconds.
const CodePointSet& format_characters() {
  static const CodePointSet set = [] {
    CodePointSet format = code_points_of_property("Cf");
    format.erase(kZeroWidthNonJoiner);
    format.erase(kZeroWidthJoiner);
    return format;
  }();
  return set;
}

}  // namespace

LanguageFilter parse_language_filter(std::string_view text) {
  LanguageFilter filter;
  filter.share = 0.5;
  std::string_view scripts = text;
  if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    scripts = text.substr(0, colon);
    const std::string_view share = text.substr(colon + 1);
    const auto [end, error] =
        std::from_chars(share.data(), share.data() + share.size(), filter.share);
    if (error != std::errc() || end != share.data() + share.size() ||
        !(filter.share >= 0 && filter.share <= 1)) {
      fail_usage("--language-filter", fmt::format("share \"{}\" is no number from 0 to 1", share),
                 "for example latin:0.9");
    }
  }
  while (true) {
    const size_t comma = scripts.find(',');
    filter.scripts.emplace_back(scripts.substr(0, comma));
    code_points_of_script(filter.scripts.back(), "--language-filter");
    if (comma == std::string_view::npos) return filter;
    scripts.remove_prefix(comma + 1);
  }
}

Json to_json(const FilterReport& report) {
  const auto removed = [](const Removed& what) {
    return Json{{"documents", what.documents}, {"characters", what.characters}};
  };
  return Json{{"invalid_utf8_bytes", report.invalid_bytes},
              {"control_characters", report.control_characters},
              {"format_characters", report.format_characters},
              {"line_ends_replaced", report.line_ends},
              {"empty", removed(report.empty)},
              {"min_chars", removed(report.short_documents)},
              {"language", removed(report.other_language)},
              {"duplicates", removed(report.duplicates)}};
}

int64_t count_characters(std::string_view text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
    } else {
      at += static_cast<size_t>(decode_utf8(text, at).length);
    }
  }
  return count;
}

size_t byte_of_character(std::string_view text, int64_t count) {
  size_t at = 0;
  for (; count > 0 && at < text.size(); --count) {
    at += static_cast<size_t>(decode_utf8(text, at).length);
  }
  return at;
}

TextCleaner::TextCleaner(const FilterOptions& options)
    : invalid_utf8_(options.invalid_utf8), remove_control_(options.remove_control) {}

void TextCleaner::clean(std::string_view part, bool last, std::string& cleaned,
                        FilterReport& report, const std::string& file, int64_t offset) {
  cleaned.reserve(cleaned.size() + part.size());
  for (size_t at = 0; at < part.size();) {
    size_t plain = at;
    // The line feed of CR LF is the one plain byte that may go.
    if (!after_carriage_return_) {
      while (plain < part.size() && kPlain[static_cast<unsigned char>(part[plain])]) ++plain;
    }
    cleaned.append(part.substr(at, plain - at));
    at = plain;
    if (at == part.size()) break;
    const DecodedCharacter character = decode_utf8(part, at);
    if (!character.valid && invalid_utf8_ == InvalidUtf8::refuse) {
      const int64_t place = offset + static_cast<int64_t>(at);
      fail_input(fmt::format("{}: offset {}", file, with_commas(place)),
                 fmt::format("byte 0x{:02X} is not UTF-8", uint32_t{character.code_point}),
                 "convert the file to UTF-8, or choose another --invalid-utf8");
    }
    const auto length = static_cast<size_t>(character.length);
    clean_special(part.substr(at, length), character.valid, character.code_point, cleaned, report);
    at += length;
  }
  if (last) after_carriage_return_ = false;
}

void TextCleaner::clean_special(std::string_view bytes, bool valid, char32_t code_point,
                                std::string& cleaned, FilterReport& report) {
  const bool ends_line_pair = after_carriage_return_ && bytes == "\n";
  after_carriage_return_ = false;
  if (!valid) {
    ++report.invalid_bytes;
    if (invalid_utf8_ == InvalidUtf8::replace) cleaned += kReplacement;
    if (invalid_utf8_ == InvalidUtf8::keep) cleaned += bytes;
  } else if (!remove_control_ || code_point == '\t') {
    cleaned += bytes;
  } else if (code_point == '\n') {
    // The CR of the pair has become the line feed already.
    if (!ends_line_pair) cleaned += '\n';
  } else if (code_point == '\r' || code_point == '\v' || code_point == '\f' ||
             code_point == kNextLine) {
    cleaned += '\n';
    ++report.line_ends;
    after_carriage_return_ = code_point == '\r';
  } else if (is_control(code_point)) {
    ++report.control_characters;
  } else if (format_characters().contains(code_point)) {
    ++report.format_characters;
  } else {
    cleaned += bytes;
  }
}

// The first 128 bits of the SHA-256 of each document that stays: two different documents with the
// same bits are not to be expected, not even from an adversary.
struct DocumentFilter::Seen {
  struct Hash {
    size_t operator()(const std::array<uint64_t, 2>& key) const { return key[0]; }
  };
  std::unordered_set<std::array<uint64_t, 2>, Hash> documents;
  Sha256 current;

  // Whether the current document is new; begins the next.
  bool finish() {
    const std::string digest = current.hex_digest();
    current = Sha256();
    std::array<uint64_t, 2> key{};
    for (size_t i = 0; i < key.size(); ++i) {
      std::from_chars(digest.data() + 16 * i, digest.data() + 16 * (i + 1), key[i], 16);
    }
    return documents.insert(key).second;
  }
};

DocumentFilter::DocumentFilter(const FilterOptions& options)
    : min_chars_(options.min_chars),
      share_(options.language.share),
      by_language_(!options.language.scripts.empty()) {
  if (options.deduplicate) seen_ = std::make_unique<Seen>();
  if (!by_language_) return;
  letters_ = code_points_of_property("L");
  for (const std::string& script : options.language.scripts) {
    wanted_letters_.insert_all(code_points_of_script(script, "--language-filter"));
  }
  wanted_letters_.keep_only(letters_);
}

DocumentFilter::~DocumentFilter() = default;

void DocumentFilter::add(std::string_view cleaned) {
  bytes_ += static_cast<int64_t>(cleaned.size());
  if (seen_) seen_->current.update(cleaned);
  if (!by_language_) {
    characters_ += count_characters(cleaned);
    return;
  }
  for (size_t at = 0; at < cleaned.size(); ++characters_) {
    const DecodedCharacter character = decode_utf8(cleaned, at);
    at += static_cast<size_t>(character.length);
    if (!character.valid || !letters_.contains(character.code_point)) continue;
    ++letter_count_;
    wanted_count_ += wanted_letters_.contains(character.code_point) ? 1 : 0;
  }
}

Removed* DocumentFilter::reason_to_remove(FilterReport& report) {
  if (characters_ == 0) return &report.empty;
  if (characters_ < min_chars_) return &report.short_documents;
  if (by_language_) {
    // A document without letters is in no language.
    const double least = share_ * static_cast<double>(letter_count_);
    if (letter_count_ == 0 || static_cast<double>(wanted_count_) < least) {
      return &report.other_language;
    }
  }
  return nullptr;
}

bool DocumentFilter::finish(FilterReport& report) {
  Removed* reason = reason_to_remove(report);
  if (seen_) {
    if (reason != nullptr) {
      seen_->current = Sha256();
    } else if (!seen_->finish()) {
      reason = &report.duplicates;
    }
  }
  if (reason != nullptr) {
    ++reason->documents;
    reason->characters += characters_;
  }
  finished_characters_ = characters_;
  finished_bytes_ = bytes_;
  characters_ = bytes_ = letter_count_ = wanted_count_ = 0;
  return reason == nullptr;
}

void CharacterCollector::add(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter character = decode_utf8(text, at);
    at += static_cast<size_t>(character.length);
    const char32_t key = character.valid ? character.code_point : kByteBase + character.code_point;
    if (known_.contains(key) || in_document_.contains(key)) continue;
    in_document_.insert(key);
    new_in_document_.push_back(key);
  }
}

void CharacterCollector::finish(bool document_stays) {
  for (const char32_t key : new_in_document_) {
    in_document_.erase(key);
    if (document_stays) known_.insert(key);
  }
  new_in_document_.clear();
}

std::vector<std::string> CharacterCollector::characters() const {
  std::vector<std::string> characters;
  for (char32_t key = 0; key < 0x110000; ++key) {
    if (!known_.contains(key) || (key >= 0xD800 && key <= 0xDFFF)) continue;
    append_utf8(characters.emplace_back(), key);
  }
  for (char32_t byte = 0; byte < 256; ++byte) {
    if (known_.contains(kByteBase + byte)) characters.emplace_back(1, static_cast<char>(byte));
  }
  return characters;
}

}  // namespace llm
