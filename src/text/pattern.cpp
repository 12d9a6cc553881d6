#include "text/pattern.h"

#include "base/error.h"

namespace llm {
namespace {

// White space as Unicode's White_Space property has it, which is what \s means where tokenizers are
// made. PCRE2's \s also takes U+180E, a format character since Unicode 6.3.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNonSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where)
      : pattern_(pattern), where_(where) {}

  TranslatedPattern run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape(/*in_class=*/false);
      } else if (c == '[') {
        character_class();
      } else {
        if (c == '^') result_.anchored = true;
        copy(1);
      }
    }
    return std::move(result_);
  }

 private:
  void copy(size_t count) {
    result_.text += pattern_.substr(at_, count);
    at_ += count;
  }

  bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  void escape(bool in_class) {
    const char letter = at_ + 1 < pattern_.size() ? pattern_[at_ + 1] : '\0';
    if (letter == 's' || letter == 'S') {
      const std::string_view characters = letter == 's' ? kSpaces : kNonSpaces;
      if (!in_class) result_.text += '[';
      result_.text += characters;
      if (!in_class) result_.text += ']';
      at_ += 2;
      return;
    }
    if (letter == 'Q' || letter == 'K') {
      fail(fmt::format("\\{} is not supported in a split pattern", letter));
    }
    if (letter == 'A' || letter == 'G' || letter == 'b' || letter == 'B') result_.anchored = true;
    copy(2);
  }

  void character_class() {
    copy(1);
    if (next_is("^")) copy(1);
    if (next_is("]")) copy(1);  // a bracket in first place is meant literally
    while (at_ < pattern_.size() && pattern_[at_] != ']') {
      if (pattern_[at_] == '\\') {
        escape(/*in_class=*/true);
      } else if (next_is("[:")) {
        const size_t end = pattern_.find(":]", at_);
        if (end == std::string_view::npos) fail("a '[:' without ':]'");
        copy(end + 2 - at_);
      } else if (pattern_[at_] == '[' || next_is("&&")) {
        fail("sets within a character class are not supported");
      } else {
        copy(1);
      }
    }
    if (at_ < pattern_.size()) copy(1);
  }

  [[noreturn]] void fail(const std::string& what) const {
    fail_input(where_, fmt::format("{} (split pattern, offset {})", what, at_),
               "write the pattern without it");
  }

  std::string_view pattern_;
  const std::string& where_;
  size_t at_ = 0;
  TranslatedPattern result_;
};

}  // namespace

std::string_view named_pattern(std::string_view name) {
  if (name == "gpt2") return kGpt2Pattern;
  if (name == "cl100k") return kCl100kPattern;
  if (name == "llama3") return kLlama3Pattern;
  fail_usage("--pattern", fmt::format("unknown pattern '{}'", name), "gpt2, cl100k or llama3");
}

TranslatedPattern translate_pattern(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

}  // namespace llm
