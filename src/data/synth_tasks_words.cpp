// Word tasks: spelling, opposites, plurals, past tense, sorting, groups, letters.
#include <algorithm>

#include "data/synth_instructions.h"
#include "data/synth_words.h"

namespace llm::synth {
namespace {

// Any word of the world: things, animals, colors, opposites.
Text any_word(Writer& words) {
  while (true) {
    const int64_t kind = words.number(1, 10);
    Text word;
    if (kind <= 5) word = words.pick(words.pick(kGroups).items);
    if (kind == 6) word = words.pick(kMoreNouns);
    if (kind == 7) word = words.pick(kOpposites).first;
    if (kind == 8) word = words.pick(kOpposites).second;
    if (kind == 9) word = words.pick(kVerbs).base;
    if (kind == 10) word = words.pick(kVerbs).past;
    if (word.find(' ') == word.npos) return word;
  }
}

std::vector<Text> different_words(Writer& words, int64_t count) {
  std::vector<Text> list;
  while (static_cast<int64_t>(list.size()) < count) {
    const Text word = any_word(words);
    if (std::find(list.begin(), list.end(), word) == list.end()) list.push_back(word);
  }
  return list;
}

std::string join(const std::vector<Text>& list, std::string_view between) {
  std::string text;
  for (const Text word : list) {
    if (!text.empty()) text += between;
    text += word;
  }
  return text;
}

// A question about {w}: either with the word in the instruction, or with the word as input.
Example ask(Writer& words, std::string_view with_word, std::string_view without_word,
            std::string answer) {
  if (words.chance(60)) return {words.write(with_word), "", std::move(answer)};
  return {words.write(without_word), words.get("w").text, std::move(answer)};
}

Example spell(Writer& words, RandomSequence&) {
  const Text word = any_word(words);
  words.set("w", word);
  std::string answer;
  for (const char letter : word) {
    if (!answer.empty()) answer += '-';
    answer += letter;
  }
  return ask(words, "[Spell the word `{w}`.|How do you spell `{w}`?|Spell `{w}` letter by letter.]",
             "[Spell this word.|Spell the word letter by letter.]", std::move(answer));
}

Example opposite(Writer& words, RandomSequence&) {
  const WordPair& pair = words.pick(kOpposites);
  const bool swap = words.chance(50);
  words.set("w", swap ? pair.second : pair.first);
  return ask(
      words,
      "[What is the opposite of `{w}`?|Give the opposite of `{w}`.|Which word is the opposite "
      "of `{w}`?|Tell me the opposite of {w}.]",
      "[Give the opposite of this word.|What is the opposite of this word?|Write the opposite.]",
      std::string(swap ? pair.first : pair.second));
}

Example plural(Writer& words, RandomSequence&) {
  Text noun = words.pick(kMoreNouns);
  while (words.chance(60)) {
    const Group& group = words.pick(kGroups);
    if (group.name != "color") noun = words.pick(group.items);
  }
  words.set("w", noun);
  return ask(
      words,
      "[What is the plural of `{w}`?|Give the plural of `{w}`.|One {w}, two what?|How do you say "
      "`{w}` when there are many?]",
      "[Give the plural of this word.|Write the plural.|What is the plural of this word?]",
      plural_of(noun));
}

Example past_tense(Writer& words, RandomSequence&) {
  const Verb& verb = words.pick(kVerbs);
  words.set("w", verb.base);
  return ask(
      words,
      "[What is the past tense of `{w}`?|Give the past tense of `{w}`.|Today I {w}. What did I "
      "do yesterday?]",
      "[Give the past tense of this verb.|Write the past tense.|What is the past tense of this "
      "verb?]",
      std::string(verb.past));
}

Example sort_words(Writer& words, RandomSequence&) {
  std::vector<Text> list = different_words(words, words.number(3, 4));
  words.set("w", join(list, ", "));
  std::sort(list.begin(), list.end());
  return ask(words,
             "[Sort these words from A to Z: {w}|Put these words in alphabetical order: {w}]",
             "[Sort these words from A to Z.|Put the words in alphabetical order.|Sort the words "
             "alphabetically.]",
             join(list, ", "));
}

Example reverse_words(Writer& words, RandomSequence&) {
  std::vector<Text> list = different_words(words, words.number(2, 4));
  words.set("w", join(list, ", "));
  std::reverse(list.begin(), list.end());
  return ask(words, "[Say these words in reverse order: {w}|Turn the list around: {w}]",
             "[Write the words in reverse order.|Turn this list around.]", join(list, ", "));
}

Example letter(Writer& words, RandomSequence&) {
  const Text word = any_word(words);
  words.set("w", word);
  const bool first = words.chance(50);
  words.set("which", first ? "first" : "last");
  return ask(
      words,
      "[What is the {which} letter of `{w}`?|Which letter is the {which} one in `{w}`?|Give the "
      "{which} letter of the word `{w}`.]",
      "[What is the {which} letter of this word?|Give the {which} letter.]",
      std::string(1, first ? word.front() : word.back()));
}

Example count_letters(Writer& words, RandomSequence&) {
  const Text word = any_word(words);
  words.set("w", word);
  return ask(words,
             "[How many letters are in the word `{w}`?|How many letters does `{w}` have?|Count the "
             "letters of `{w}`.]",
             "[How many letters are in this word?|Count the letters.]",
             std::to_string(word.size()));
}

Example category(Writer& words, RandomSequence&) {
  const Group& group = words.pick(kGroups);
  const Group* other = &words.pick(kGroups);
  while (other == &group) other = &words.pick(kGroups);
  const bool no_article = group.name == "color";
  const Text item = words.pick(group.items);
  words.set("w", no_article ? std::string(item) : with_article(item));
  words.set("group", group.name);
  words.set("other", other->name);
  const std::string answer = words.write("{W} is {a group}.");
  if (words.chance(60)) {
    const bool order = words.chance(50);
    words.set("one", order ? group.name : other->name);
    words.set("two", order ? other->name : group.name);
    return {words.write("Is {w} {a one} or {a two}?"), "", answer};
  }
  return ask(words, "[What kind of thing is {w}?|What is {w}?]",
             "[What kind of thing is this?|Tell me what this is.]", answer);
}

Example odd_one_out(Writer& words, RandomSequence&) {
  const Group& group = words.pick(kGroups);
  const Group* other = &words.pick(kGroups);
  while (other == &group) other = &words.pick(kGroups);
  std::vector<Text> list(std::begin(group.items), std::end(group.items));
  words.shuffle(list);
  list.resize(3);
  const Text odd = words.pick(other->items);
  list.push_back(odd);
  words.shuffle(list);
  words.set("w", join(list, ", "));
  return ask(words, "[Which word does not belong: {w}?|Find the odd one out: {w}]",
             "[Which word does not belong?|Find the odd one out.]", std::string(odd));
}

Example name_some(Writer& words, RandomSequence&) {
  const Group& group = words.pick(kGroups);
  std::vector<Text> list(std::begin(group.items), std::end(group.items));
  words.shuffle(list);
  static constexpr Text kCounts[] = {"two", "three", "four"};
  const int64_t count = words.number(2, 4);
  words.set("count", kCounts[count - 2]);
  const Text name = group.name;
  words.set("group", name.starts_with("piece")  ? "pieces" + std::string(name.substr(5))
                     : name.starts_with("part") ? "parts" + std::string(name.substr(4))
                                                : plural_of(name));
  words.set("not", list.back());
  list.resize(static_cast<size_t>(count));
  return {words.write(
              "[Name|List|Tell me|Write] {count} {group}[|, but not `{not}`|, but not `{not}`]."),
          "", join(list, ", ")};
}

Example repeat_word(Writer& words, RandomSequence&) {
  static constexpr Text kTimes[] = {"two", "three", "four", "five"};
  const int64_t count = words.number(2, 5);
  const Text word = any_word(words);
  words.set("w", word);
  words.set("times", kTimes[count - 2]);
  return ask(words, "[Write|Say|Repeat] the word `{w}` {times} times.",
             "[Write|Say|Repeat] this word {times} times.",
             join(std::vector<Text>(static_cast<size_t>(count), word), " "));
}

}  // namespace

std::span<const Task> word_tasks() {
  static constexpr Task kTasks[] = {
      {"spell", 4, spell},         {"opposite", 4, opposite},
      {"plural", 4, plural},       {"past tense", 3, past_tense},
      {"sort", 4, sort_words},     {"reverse", 2, reverse_words},
      {"letter", 3, letter},       {"count letters", 3, count_letters},
      {"category", 4, category},   {"odd one out", 3, odd_one_out},
      {"name some", 2, name_some}, {"repeat", 2, repeat_word}};
  return kTasks;
}

}  // namespace llm::synth
