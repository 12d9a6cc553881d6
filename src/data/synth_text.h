// The pattern language that the synthetic corpus is written with.
//
//   [one|two|]     one of the alternatives at random; they nest, and one may be empty
//   {key}          the value of a variable; {Key} starts it with a capital letter
//   {a key}        the value with "a" or "an" before it; {A key} with a capital
//   {key.he}       a pronoun for a person or thing: he, him, his, himself (she, her, ...)
//   {key.s}        the plural
//   {key.other}    the variable of exactly that name, for whatever belongs to key
//   `              a double quote, so that patterns with speech stay readable in C++
//
// The texts must be the same on every machine, so write one draw per statement: the order in which
// the arguments of a call or the operands of + are evaluated differs between compilers.
//
// A variable that was never set is a programmer's mistake and asserted.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"

namespace llm::synth {

enum class Gender { it, she, he };

struct Value {
  std::string text;
  Gender gender = Gender::it;
  std::string plural;  // empty: made by plural_of(text)
};

std::string capitalized(std::string text);
bool takes_an(std::string_view word);  // "an apple", "an hour", but "a unicorn"
std::string with_article(std::string_view phrase);
std::string plural_of(std::string_view noun);  // regular rules and the irregular ones it knows

class Writer {
 public:
  explicit Writer(RandomSequence& random) : random_(&random) {}

  void set(std::string_view key, Value value);
  void set(std::string_view key, std::string_view text) {
    set(key, Value{std::string(text), Gender::it, {}});
  }
  const Value& get(std::string_view key) const;
  bool has(std::string_view key) const { return values_.find(key) != values_.end(); }
  // Lets `key` (with everything of the form key.*) mean what `source` means.
  void alias(std::string_view key, std::string_view source);

  std::string write(std::string_view pattern);

  bool chance(int percent) { return random_->below(100) < static_cast<uint64_t>(percent); }
  int64_t number(int64_t low, int64_t high) {  // both included
    return low + static_cast<int64_t>(random_->below(static_cast<uint64_t>(high - low + 1)));
  }
  template <typename T>
  const T& pick(std::span<const T> list) {
    return list[random_->below(list.size())];
  }
  template <typename T, size_t N>
  const T& pick(const T (&list)[N]) {
    return list[random_->below(N)];
  }
  template <typename T>
  void shuffle(std::vector<T>& list) {
    for (size_t i = list.size(); i > 1; i--) std::swap(list[i - 1], list[random_->below(i)]);
  }

 private:
  void expand(std::string& out, std::string_view pattern);
  std::string value_of(std::string_view reference) const;

  RandomSequence* random_;
  std::map<std::string, Value, std::less<>> values_;
};

}  // namespace llm::synth
