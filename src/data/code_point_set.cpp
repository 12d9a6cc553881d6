#include "data/code_point_set.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <bit>
#include <memory>
#include <optional>

#include "base/error.h"
#include "text/unicode.h"

namespace llm {
namespace {

using Code = std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)>;
using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

// Every Unicode scalar value once, in order.
std::string all_characters() {
  std::string text;
  text.reserve(4'400'000);
  for (char32_t code_point = 0; code_point < 0x110000; ++code_point) {
    if (code_point < 0xD800 || code_point > 0xDFFF) append_utf8(text, code_point);
  }
  return text;
}

// Nothing where PCRE2 does not know the property.
std::optional<CodePointSet> find_code_points(std::string_view property) {
  const std::string pattern = fmt::format("\\p{{{}}}+", property);
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  const Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                PCRE2_UTF | PCRE2_UCP, &error, &error_offset, nullptr),
                  &pcre2_code_free);
  if (!code) return std::nullopt;
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // only faster; matching works without
  const MatchData match(pcre2_match_data_create_from_pattern(code.get(), nullptr),
                        &pcre2_match_data_free);
  LLM_ASSERT(match != nullptr);

  const std::string text = all_characters();
  CodePointSet set;
  PCRE2_SIZE at = 0;
  while (pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                     PCRE2_NO_UTF_CHECK, match.get(), nullptr) > 0) {
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(match.get());
    for (at = found[0]; at < found[1];) {
      const DecodedCharacter character = decode_utf8(text, at);
      set.insert(character.code_point);
      at += static_cast<PCRE2_SIZE>(character.length);
    }
  }
  return set;
}

}  // namespace

void CodePointSet::insert_all(const CodePointSet& other) {
  for (size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
}

void CodePointSet::keep_only(const CodePointSet& other) {
  for (size_t i = 0; i < words_.size(); ++i) words_[i] &= other.words_[i];
}

int64_t CodePointSet::size() const {
  int64_t count = 0;
  for (const uint64_t word : words_) count += std::popcount(word);
  return count;
}

CodePointSet code_points_of_property(std::string_view property) {
  std::optional<CodePointSet> set = find_code_points(property);
  LLM_ASSERT(set.has_value(), "no Unicode property {}", property);
  return *std::move(set);
}

CodePointSet code_points_of_script(std::string_view script, const std::string& where) {
  bool plausible = !script.empty() && script.size() < 50;
  for (const char c : script) {
    plausible = plausible && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_');
  }
  std::optional<CodePointSet> set;
  if (plausible) set = find_code_points("sc:" + std::string(script));
  if (!set) {
    fail_usage(where, fmt::format("no Unicode script is called \"{}\"", script),
               "names are those of Unicode, for example latin, cyrillic, greek, arabic, han");
  }
  return *std::move(set);
}

}  // namespace llm
