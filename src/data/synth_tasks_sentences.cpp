// Sentence tasks: rewriting, completing, facts, writing a sentence, telling a story.
#include <algorithm>

#include "data/synth_instructions.h"
#include "data/synth_stories.h"
#include "data/synth_words.h"

namespace llm::synth {
namespace {

// Sets {h} and the parts of a small sentence: {verb.base}, {verb.third}, {verb.past}, {object} and
// {at}, which is a place or a time or nothing.
void set_sentence(Writer& words) {
  set_child(words, "h", {});
  const Verb& verb = words.pick(kVerbs);
  words.set("verb.base", verb.base);
  words.set("verb.third", verb.third);
  words.set("verb.past", verb.past);
  words.set("object", verb.object);
  const int64_t kind = words.number(1, 5);
  const std::string at = kind <= 2   ? std::string(words.pick(kPlaces).at)
                         : kind == 3 ? words.write("with {h.his} [mom|dad|friend|sister|brother]")
                         : kind == 4 ? words.write("in the [morning|evening|afternoon]")
                                     : std::string();
  words.set("at", at.empty() ? at : " " + at);
}

std::string a_sentence(Writer& words) { return words.write("{h} {verb.past} {object}{at}."); }

Example to_past(Writer& words, RandomSequence&) {
  set_sentence(words);
  return {
      words.write("[Rewrite the sentence in the past tense.|Put this sentence into the past tense.|"
                  "Change the sentence to the past tense.]"),
      words.write("{h} {verb.third} {object}{at}."), a_sentence(words)};
}

Example to_question(Writer& words, RandomSequence&) {
  set_sentence(words);
  const std::string instruction = words.write(
      "[Rewrite the sentence as a question.|Turn this sentence into a question.|Make a question "
      "out "
      "of this sentence.]");
  switch (words.number(1, 4)) {
    case 1:
      return {instruction, a_sentence(words), words.write("Did {h} {verb.base} {object}{at}?")};
    case 2:
      return {instruction, words.write("{h} can {verb.base} {object}{at}."),
              words.write("Can {h} {verb.base} {object}{at}?")};
    case 3: {
      words.set("at", words.pick(kPlaces).at);
      return {instruction, words.write("{h} is {at}."), words.write("Is {h} {at}?")};
    }
    default:
      return {instruction, words.write("{h} {verb.third} {object}{at}."),
              words.write("Does {h} {verb.base} {object}{at}?")};
  }
}

Example to_negative(Writer& words, RandomSequence&) {
  set_sentence(words);
  const std::string instruction = words.write(
      "[Rewrite the sentence with `not`.|Say that this did not happen.|Make the sentence "
      "negative.]");
  return {instruction, a_sentence(words), words.write("{h} did not {verb.base} {object}{at}.")};
}

Example to_capitals(Writer& words, RandomSequence&) {
  set_sentence(words);
  const std::string sentence = a_sentence(words);
  std::string changed = sentence;
  const bool upper = words.chance(60);
  for (char& letter : changed) {
    if (upper && letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 32);
    if (!upper && letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter + 32);
  }
  return {
      words.write(upper ? "[Write this in capital letters.|Rewrite the sentence in capitals.]"
                        : "[Write this in small letters.|Rewrite the sentence in small letters.]"),
      sentence, changed};
}

Example replace_name(Writer& words, RandomSequence&) {
  set_sentence(words);
  set_child(words, "f", {"h"});
  const std::string sentence = a_sentence(words);
  const std::string instruction = words.write(
      "[Change `{h}` to `{f}` in the sentence.|Replace the name {h} with {f}.|Write the sentence "
      "about {f} "
      "instead of {h}.]");
  // {his mom} has to follow the new name.
  std::string at = words.get("at").text;
  for (const Text his : {" with his ", " with her "}) {
    if (at.starts_with(his)) at = " with " + words.write("{f.his}") + " " + at.substr(his.size());
  }
  words.set("at", at);
  return {instruction, sentence, words.write("{f} {verb.past} {object}{at}.")};
}

Example which_word(Writer& words, RandomSequence&) {
  set_sentence(words);
  const std::string sentence = a_sentence(words);
  const std::string bare = sentence.substr(0, sentence.size() - 1);
  if (words.chance(40)) {
    const int64_t count = static_cast<int64_t>(std::count(bare.begin(), bare.end(), ' ')) + 1;
    return {words.write("[How many words are in this sentence?|Count the words.]"), sentence,
            std::to_string(count)};
  }
  const bool first = words.chance(50);
  words.set("which", first ? "first" : "last");
  return {words.write("[What is the {which} word of this sentence?|Give the {which} word.]"),
          sentence, first ? bare.substr(0, bare.find(' ')) : bare.substr(bare.rfind(' ') + 1)};
}

Example complete(Writer& words, RandomSequence&) {
  set_child(words, "h", {});
  set_child(words, "f", {"h"});
  const WordPair& ending = words.pick(kEndings);
  const std::string begin = words.write(ending.first);
  const std::string instruction =
      words.write("[Complete the sentence.|Finish the sentence.|What comes next?]");
  return {instruction, begin, begin + " " + std::string(ending.second) + "."};
}

Example ability(Writer& words, RandomSequence&) {
  const Ability& one = words.pick(kAbilities);
  words.set("who", one.animal);
  const bool can = words.chance(50);
  words.set("do", can ? one.can : one.cannot);
  return {words.write("[Can {a who} {do}?|Is it true that {a who} can {do}?]"), "",
          words.write(can ? "Yes, {a who} can {do}." : "No, {a who} cannot {do}.")};
}

Example fact(Writer& words, RandomSequence&) {
  const Fact& one = words.pick(kFacts);
  words.set("question", one.question);
  return {words.write("[|||I have a question. |Can you help me? |Please tell me. ]{question}"), "",
          std::string(one.answer)};
}

// A sentence with two words that were asked for.
Example use_words(Writer& words, RandomSequence&) {
  set_child(words, "h", {});
  set_child(words, "f", {"h"});
  const Text thing = words.chance(50) ? words.pick(kToys).name : words.pick(kSnacks);
  words.set("thing", thing);
  const Place& place = words.pick(kPlaces);
  words.set("place", place.name);
  words.set("at", place.at);
  words.set("look", words.pick(kBrightColors));
  switch (words.number(1, 4)) {
    case 1:
      return {
          words.write("Write a sentence about {h} and {a thing}."), "",
          words.write(
              "[{h} had {a thing} and shared it with {f}.|{h} lost {a thing} and found it {at}.|"
              "{h} gave {a thing} to {f}.|{h} got {a thing} from {h.his} [mom|dad|grandma].]")};
    case 2:
      return {
          words.write("Write a sentence about {h} and the {place}."), "",
          words.write(
              "[{h} played {at} with {f}.|{h} found {a thing} {at}.|{h} went to the {place} with "
              "{h.his} [mom|dad|grandma].]")};
    case 3:
      return {words.write("Write a sentence with the words `{thing}` and `{place}`."), "",
              words.write("[{h} took {a thing} to the {place}.|{h} found {a thing} {at}.|There was "
                          "{a thing} {at}.]")};
    default:
      return {
          words.write("Write a sentence about {a look} {thing}."), "",
          words.write(
              "[{h} had {a look} {thing}.|{h} saw {a look} {thing} {at}.|The {look} {thing} was a "
              "present for {f}.]")};
  }
}

Example polite(Writer& words, RandomSequence&) {
  set_child(words, "h", {});
  words.set("thing", words.chance(50) ? words.pick(kToys).name : words.pick(kSnacks));
  const Verb& verb = words.pick(kVerbs);
  words.set("do", std::string(verb.base) + " " + std::string(verb.object));
  switch (words.number(1, 5)) {
    case 1:
      return {words.write("[Say hello to {h}.|Greet {h}.]"), "", words.write("Hello, {h}!")};
    case 2:
      return {words.write("Thank {h} for the {thing}."), "",
              words.write("Thank you for the {thing}, {h}!")};
    case 3:
      return {words.write("[Ask {h} to {do}.|Ask {h} politely to {do}.]"), "",
              words.write("{h}, can you please {do}?")};
    case 4:
      return {words.write("Ask {h} for the {thing}."), "",
              words.write("{h}, can I please have the {thing}?")};
    default: {
      words.set("bye", words.pick({"goodbye", "good night", "good morning"}));
      return {words.write("Say {bye} to {h}."), "", words.write("{Bye}, {h}!")};
    }
  }
}

Example tell_story(Writer& words, RandomSequence& random) {
  std::string hero;
  std::string story = write_story(random, &hero);
  while (story.size() > 650) story = write_story(random, &hero);
  words.set("hero", hero);
  return {words.write("[Tell me a story about {hero}.|Write a short story about {hero}.|Tell a "
                      "story about {hero}.]"),
          "", std::move(story)};
}

}  // namespace

std::span<const Task> sentence_tasks() {
  static constexpr Task kTasks[] = {
      {"past", 4, to_past},         {"question", 4, to_question}, {"negative", 3, to_negative},
      {"capitals", 3, to_capitals}, {"replace", 3, replace_name}, {"which word", 3, which_word},
      {"complete", 4, complete},    {"ability", 1, ability},      {"fact", 2, fact},
      {"use words", 4, use_words},  {"polite", 2, polite},        {"story", 4, tell_story}};
  return kTasks;
}

}  // namespace llm::synth
