// Number tasks: sums, comparisons, counting, little stories with numbers.
#include <fmt/format.h>

#include <algorithm>

#include "data/synth_instructions.h"
#include "data/synth_words.h"

namespace llm::synth {
namespace {

constexpr Text kCounted[] = {"apple", "pear", "stone", "shell", "cookie", "ball", "flower", "book",
                             "egg",   "nut",  "stick", "plum",  "coin",   "card", "button"};

void set_number(Writer& words, std::string_view key, int64_t number) {
  words.set(key, std::to_string(number));
}

// One digit half of the time, two digits otherwise.
int64_t some_number(Writer& words) {
  return words.chance(50) ? words.number(1, 9) : words.number(10, 50);
}

Example sum(Writer& words, RandomSequence&) {
  int64_t one = some_number(words);
  int64_t two = some_number(words);
  const bool plus = words.chance(50);
  if (!plus && one < two) std::swap(one, two);
  set_number(words, "one", one);
  set_number(words, "two", two);
  words.set("sign", plus ? "+" : "-");
  words.set("word", plus ? "plus" : "minus");
  std::string answer = std::to_string(plus ? one + two : one - two);
  if (words.chance(30)) {
    return {words.write("[Solve this.|Work this out.|What is the answer?]"),
            words.write("{one} {sign} {two}"), std::move(answer)};
  }
  return {words.write("[What is {one} {sign} {two}?|How much is {one} {sign} {two}?|Work out {one} "
                      "{sign} {two}.|What is {one} {word} {two}?]"),
          "", std::move(answer)};
}

Example times(Writer& words, RandomSequence&) {
  const int64_t one = words.number(2, 10);
  const int64_t two = words.number(2, 10);
  set_number(words, "one", one);
  set_number(words, "two", two);
  return {words.write("[What is|How much is] {one} times {two}?"), "", std::to_string(one * two)};
}

Example compare_numbers(Writer& words, RandomSequence&) {
  const int64_t one = words.number(1, 99);
  int64_t two = words.number(1, 99);
  while (two == one) two = words.number(1, 99);
  set_number(words, "one", one);
  set_number(words, "two", two);
  const bool bigger = words.chance(50);
  words.set("which", bigger ? "bigger" : "smaller");
  return {
      words.write("[Which number is {which}, {one} or {two}?|What is {which}: {one} or {two}?]"),
      "", std::to_string(bigger ? std::max(one, two) : std::min(one, two))};
}

Example next_number(Writer& words, RandomSequence&) {
  const int64_t number = words.number(1, 98);
  set_number(words, "n", number);
  const bool after = words.chance(50);
  words.set("which", after ? "after" : "before");
  return {words.write("[Which|What] number comes [right|just|] {which} {n}?"), "",
          std::to_string(after ? number + 1 : number - 1)};
}

Example count_on(Writer& words, RandomSequence&) {
  const int64_t first = words.number(1, 20);
  const int64_t last = first + words.number(3, 6);
  set_number(words, "one", first);
  set_number(words, "two", last);
  std::string answer = std::to_string(first);
  for (int64_t number = first + 1; number <= last; number++) answer += fmt::format(", {}", number);
  return {words.write("[Count from {one} to {two}.|Write the numbers from {one} to {two}.]"), "",
          std::move(answer)};
}

// "Tim has 3 apples. Anna gives him 2 more."
Example number_story(Writer& words, RandomSequence&) {
  set_child(words, "h", {});
  set_child(words, "f", {"h"});
  const Text thing = words.pick(kCounted);
  words.set("things", plural_of(thing));
  int64_t one = words.number(2, 12);
  int64_t two = words.number(1, 9);
  const bool more = words.chance(50);
  if (!more && one <= two) one = two + words.number(1, 6);
  set_number(words, "one", one);
  set_number(words, "two", two);
  const int64_t result = more ? one + two : one - two;
  const std::string input =
      words.write(more ? "{h} has {one} {things}. [{f} gives {h.him} {two} more.|{H.he} finds "
                         "{two} more.|{H.he} gets {two} more "
                         "from {f}.]"
                       : "{h} has {one} {things}. [{H.he} gives {two} of them to {f}.|{H.he} loses "
                         "{two} of them.|{f} takes {two} "
                         "of them.]");
  words.set("left", result == 1 ? std::string(thing) : plural_of(thing));
  set_number(words, "result", result);
  return {words.write(
              "[How many {things} does {h} have now?|How many {things} does {h} have in the end?]"),
          input, words.write("{h} has {result} {left}.")};
}

// "Tim has 3 apples and Anna has 5": together, or who has more.
Example two_amounts(Writer& words, RandomSequence&) {
  set_child(words, "h", {});
  set_child(words, "f", {"h"});
  words.set("things", plural_of(words.pick(kCounted)));
  const int64_t one = words.number(2, 15);
  int64_t two = words.number(2, 15);
  while (two == one) two = words.number(2, 15);
  set_number(words, "one", one);
  set_number(words, "two", two);
  set_number(words, "sum", one + two);
  const std::string input = words.write(
      "[{h} has {one} {things}. {f} has {two} {things}.|{h} found {one} {things}, and {f} found "
      "{two}.]");
  if (words.chance(50)) {
    return {words.write("How many {things} do they have [together|in all]?"), input,
            words.write("They have {sum} {things}.")};
  }
  const bool more = words.chance(50);
  words.set("which", more ? "more" : "fewer");
  words.alias("who", (one > two) == more ? "h" : "f");
  return {words.write("Who has {which} {things}?"), input,
          words.write("{who} has {which} {things}.")};
}

}  // namespace

std::span<const Task> number_tasks() {
  static constexpr Task kTasks[] = {{"sum", 7, sum},
                                    {"times", 2, times},
                                    {"compare numbers", 3, compare_numbers},
                                    {"next number", 2, next_number},
                                    {"count on", 2, count_on},
                                    {"number story", 4, number_story},
                                    {"two amounts", 3, two_amounts}};
  return kTasks;
}

}  // namespace llm::synth
