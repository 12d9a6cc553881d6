#include "data/synth_text.h"

#include <array>
#include <utility>

#include "base/error.h"

namespace llm::synth {
namespace {

bool is_vowel(char letter) { return std::string_view("aeiou").find(letter) != std::string::npos; }

bool ends_with_any(std::string_view word, std::initializer_list<std::string_view> endings) {
  for (std::string_view ending : endings) {
    if (word.ends_with(ending)) return true;
  }
  return false;
}

constexpr std::pair<std::string_view, std::string_view> kIrregularPlurals[] = {
    {"child", "children"}, {"foot", "feet"},   {"tooth", "teeth"},  {"mouse", "mice"},
    {"man", "men"},        {"woman", "women"}, {"goose", "geese"},  {"leaf", "leaves"},
    {"wolf", "wolves"},    {"sheep", "sheep"}, {"fish", "fish"},    {"knife", "knives"},
    {"shelf", "shelves"},  {"loaf", "loaves"}, {"scarf", "scarves"}};

// he, him, his, himself in the order of Gender.
constexpr std::pair<std::string_view, std::array<std::string_view, 3>> kPronouns[] = {
    {"he", {"it", "she", "he"}},
    {"him", {"it", "her", "him"}},
    {"his", {"its", "her", "his"}},
    {"himself", {"itself", "herself", "himself"}}};

// The position after the bracket that closes the one before `begin`.
size_t closing_bracket(std::string_view pattern, size_t begin) {
  int depth = 1;
  for (size_t i = begin; i < pattern.size(); i++) {
    if (pattern[i] == '[') depth++;
    if (pattern[i] == ']' && --depth == 0) return i;
  }
  LLM_ASSERT(false, "unclosed [ in pattern: {}", pattern);
  return pattern.size();
}

std::vector<std::string_view> alternatives_of(std::string_view inside) {
  std::vector<std::string_view> result;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < inside.size(); i++) {
    if (inside[i] == '[') depth++;
    if (inside[i] == ']') depth--;
    if (inside[i] == '|' && depth == 0) {
      result.push_back(inside.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  result.push_back(inside.substr(begin));
  return result;
}

}  // namespace

std::string capitalized(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  return text;
}

bool takes_an(std::string_view word) {
  if (word.empty()) return false;
  if (word.starts_with("hour") || word.starts_with("honest")) return true;
  if (word.starts_with("uni") || word.starts_with("use") || word.starts_with("one")) return false;
  return is_vowel(word[0] >= 'A' && word[0] <= 'Z' ? static_cast<char>(word[0] + 32) : word[0]);
}

std::string with_article(std::string_view phrase) {
  return (takes_an(phrase) ? "an " : "a ") + std::string(phrase);
}

std::string plural_of(std::string_view noun) {
  // Only the last word of a phrase ("toy car") changes.
  const size_t space = noun.rfind(' ');
  const std::string before(space == noun.npos ? "" : noun.substr(0, space + 1));
  const std::string_view last = space == noun.npos ? noun : noun.substr(space + 1);
  for (const auto& [one, many] : kIrregularPlurals) {
    if (last == one) return before + std::string(many);
  }
  const std::string word(last);
  if (ends_with_any(word, {"s", "sh", "ch", "x"}) || word == "potato" || word == "tomato") {
    return before + word + "es";
  }
  if (word.size() > 1 && word.back() == 'y' && !is_vowel(word[word.size() - 2])) {
    return before + word.substr(0, word.size() - 1) + "ies";
  }
  return before + word + "s";
}

void Writer::set(std::string_view key, Value value) {
  values_.insert_or_assign(std::string(key), std::move(value));
}

const Value& Writer::get(std::string_view key) const {
  const auto found = values_.find(key);
  LLM_ASSERT(found != values_.end(), "pattern variable {} is not set", key);
  return found->second;
}

void Writer::alias(std::string_view key, std::string_view source) {
  const std::string prefix = std::string(source) + ".";
  std::vector<std::pair<std::string, Value>> copies;
  copies.emplace_back(key, get(source));
  for (const auto& [name, value] : values_) {
    if (name.starts_with(prefix)) {
      copies.emplace_back(std::string(key) + "." + name.substr(prefix.size()), value);
    }
  }
  for (auto& [name, value] : copies) set(name, std::move(value));
}

std::string Writer::value_of(std::string_view reference) const {
  std::string key(reference);
  bool article = false;
  bool capital = false;
  if (key.starts_with("a ") || key.starts_with("A ")) {
    article = true;
    capital = key[0] == 'A';
    key.erase(0, 2);
  } else if (key[0] >= 'A' && key[0] <= 'Z') {
    capital = true;
    key[0] = static_cast<char>(key[0] + 32);
  }
  std::string text;
  const size_t dot = key.rfind('.');
  if (dot == key.npos || has(key)) {
    text = get(key).text;
  } else {
    const Value& value = get(std::string_view(key).substr(0, dot));
    const std::string form = key.substr(dot + 1);
    if (form == "s") text = value.plural.empty() ? plural_of(value.text) : value.plural;
    for (const auto& [name, forms] : kPronouns) {
      if (form == name) text = forms[static_cast<size_t>(value.gender)];
    }
    LLM_ASSERT(!text.empty(), "pattern variable {} is not set", key);
  }
  if (article) text = with_article(text);
  return capital ? capitalized(text) : text;
}

void Writer::expand(std::string& out, std::string_view pattern) {
  for (size_t i = 0; i < pattern.size(); i++) {
    if (pattern[i] == '[') {
      const size_t end = closing_bracket(pattern, i + 1);
      const auto alternatives = alternatives_of(pattern.substr(i + 1, end - i - 1));
      expand(out, alternatives[random_->below(alternatives.size())]);
      i = end;
    } else if (pattern[i] == '{') {
      const size_t end = pattern.find('}', i);
      LLM_ASSERT(end != pattern.npos, "unclosed {{ in pattern: {}", pattern);
      out += value_of(pattern.substr(i + 1, end - i - 1));
      i = end;
    } else {
      out += pattern[i] == '`' ? '"' : pattern[i];
    }
  }
}

std::string Writer::write(std::string_view pattern) {
  std::string raw;
  expand(raw, pattern);
  // An empty alternative may leave a space too many.
  std::string out;
  for (char letter : raw) {
    if (letter != ' ' || (!out.empty() && out.back() != ' ')) out += letter;
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace llm::synth
