// Reading tasks: one to three sentences about who has what, who is where, and why, and a question.
#include "data/synth_instructions.h"
#include "data/synth_words.h"

namespace llm::synth {
namespace {

std::string yes_or_no(Writer& words, bool yes, std::string_view if_yes, std::string_view if_no) {
  return std::string(yes ? "Yes, " : "No, ") + words.write(yes ? if_yes : if_no);
}

void set_different(Writer& words, std::string_view key, std::string_view other,
                   std::span<const Text> list) {
  do words.set(key, words.pick(list));
  while (words.get(key).text == words.get(other).text);
}

void set_toys(Writer& words) {
  words.set("toy", words.pick(kToys).name);
  do words.set("toy2", words.pick(kToys).name);
  while (words.get("toy2").text == words.get("toy").text);
  words.set("color", words.pick(kBrightColors));
  set_different(words, "color2", "color", kBrightColors);
}

// Two owners, and perhaps one thing changes hands.
Example who_has(Writer& words, RandomSequence&) {
  set_child(words, "h", {});
  set_child(words, "f", {"h"});
  set_child(words, "t", {"h", "f"});
  set_toys(words);
  const bool passed = words.chance(50);
  std::string input = words.write(
      "[{h} has {a color} {toy}. {f} has {a color2} {toy2}.|{h} has {a color} {toy}, and {f} has "
      "{a color2} {toy2}.]");
  words.alias("owner", "h");  // of the first toy, in the end
  if (passed) {
    const bool to_third = words.chance(50);
    words.alias("owner", to_third ? "t" : "f");
    input +=
        " " +
        words.write("[Then {h} gives the {toy} to {owner}.|Then {owner} gets the {toy} from {h}.]");
  }
  words.set("now", passed ? " now" : "");
  switch (words.number(1, passed ? 3 : 4)) {
    case 1:
      return {words.write("Who has the {toy}{now}?"), input, words.write("{owner} has the {toy}.")};
    case 2:
      return {words.write("What color is the {toy}?"), input, words.write("The {toy} is {color}.")};
    case 3: {
      const bool yes = words.chance(50);
      words.alias("asked", yes                                              ? "owner"
                           : words.get("owner").text == words.get("f").text ? "h"
                                                                            : "f");
      return {words.write("Does {asked} have the {toy}{now}?"), input,
              yes_or_no(words, yes, "{asked} has the {toy}.", "{owner} has the {toy}.")};
    }
    default: {
      const bool first = words.chance(50);
      words.alias("asked", first ? "h" : "f");
      words.set("thing", words.write(first ? "{a color} {toy}" : "{a color2} {toy2}"));
      return {words.write("What does {asked} have?"), input, words.write("{asked} has {thing}.")};
    }
  }
}

// Two people in two places, and perhaps one of them moves on.
Example where_is(Writer& words, RandomSequence&) {
  set_child(words, "h", {});
  set_child(words, "f", {"h"});
  const auto places = [&words](std::initializer_list<std::string_view> keys) {
    std::vector<Place> list(std::begin(kPlaces), std::end(kPlaces));
    words.shuffle(list);
    for (size_t i = 0; i < keys.size(); i++) {
      words.set(keys.begin()[i], list[i].name);
      words.set(std::string(keys.begin()[i]) + ".at", list[i].at);
      words.set(std::string(keys.begin()[i]) + ".to", list[i].to);
    }
  };
  places({"one", "two", "three"});
  const bool moved = words.chance(50);
  const std::string input =
      moved ? words.write(
                  "{h} went {one.to}. {f} went {two.to}. [Then {h} went {three.to}.|After that, "
                  "{h} walked "
                  "{three.to}.]")
            : words.write(
                  "[{h} is {one.at}. {f} is {two.at}.|{h} is {one.at}, and {f} is {two.at}.]");
  words.alias("here", moved ? "three" : "one");
  words.set("now", moved ? " now" : "");
  const bool about_first = words.chance(65);
  words.alias("who", about_first ? "h" : "f");
  words.alias("there", about_first ? "here" : "two");
  switch (words.number(1, 3)) {
    case 1:
      return {words.write("Where is {who}{now}?"), input, words.write("{who} is {there.at}.")};
    case 2:
      return {words.write("Who is {there.at}{now}?"), input, words.write("{who} is {there.at}.")};
    default: {
      const bool yes = words.chance(50);
      words.alias("asked", yes ? "there" : about_first ? "two" : "here");
      return {words.write("Is {who} {asked.at}{now}?"), input,
              yes_or_no(words, yes, "{who} is {there.at}.", "{who} is {there.at}.")};
    }
  }
}

// Two things in two places of the house.
Example where_thing(Writer& words, RandomSequence&) {
  set_toys(words);
  words.set("spot", words.pick(kHomeSpots));
  set_different(words, "spot2", "spot", kHomeSpots);
  const std::string input = words.write(
      "[The {toy} is {spot}. The {toy2} is {spot2}.|There is {a toy} {spot} and "
      "{a toy2} {spot2}.]");
  const bool first = words.chance(50);
  words.alias("asked", first ? "toy" : "toy2");
  words.alias("there", first ? "spot" : "spot2");
  if (words.chance(60)) {
    return {words.write("Where is the {asked}?"), input, words.write("The {asked} is {there}.")};
  }
  return {words.write("What is {there}?"), input, words.write("The {asked} is {there}.")};
}

struct Cause {
  Text what, feeling;  // what happened to {h}, in the past tense, and how {h} felt
};
constexpr Cause kCauses[] = {{"lost {h.his} {toy}", "sad"},
                             {"broke {h.his} {toy}", "sad"},
                             {"could not find {h.his} {pet}", "sad"},
                             {"had nobody to play with", "sad"},
                             {"missed {h.his} friend {f}", "sad"},
                             {"got a new {toy}", "happy"},
                             {"won the race", "happy"},
                             {"found {h.his} {toy} again", "happy"},
                             {"got a letter from {f}", "happy"},
                             {"learned to ride a bike", "proud"},
                             {"helped {f} and got a big thank you", "proud"},
                             {"made a cake without any help", "proud"},
                             {"heard a strange noise", "scared"},
                             {"saw a big shadow on the wall", "scared"},
                             {"could not see {h.his} mom in the crowd", "scared"},
                             {"played outside all day", "tired"},
                             {"did not sleep well", "tired"},
                             {"had no breakfast", "hungry"},
                             {"ran in the hot sun", "thirsty"},
                             {"forgot {h.his} coat", "cold"},
                             {"played in the snow for a long time", "cold"}};

Example why(Writer& words, RandomSequence&) {
  set_child(words, "h", {});
  set_child(words, "f", {"h"});
  words.set("toy", words.pick(kToys).name);
  words.set("pet", words.pick(kPets).kind);
  const Cause& cause = words.pick(kCauses);
  words.set("what", words.write(cause.what));
  words.set("feeling", cause.feeling);
  words.set("place", words.pick(kPlaces).at);
  const std::string input = words.write(
      "[One day, {h} was {place}. |{f} was {place}. |]{h} {what}[, so {h.he} was {feeling}.|. "
      "{H.he} was {feeling}.|. "
      "{H.he} felt {feeling}.]");
  switch (words.number(1, 5)) {
    case 1:
      return {words.write("How did {h} feel?"), input, words.write("{h} felt {feeling}.")};
    case 2:
      return {words.write("Who was {feeling}?"), input, words.write("{h} was {feeling}.")};
    case 3:
      return {words.write("What happened to {h}?"), input, words.write("{h} {what}.")};
    default:
      return {words.write("Why was {h} {feeling}?"), input,
              words.write("{h} was {feeling} because {h.he} {what}.")};
  }
}

// Two people who do two things: who did what.
Example who_did(Writer& words, RandomSequence&) {
  set_child(words, "h", {});
  set_child(words, "f", {"h"});
  const Verb& one = words.pick(kVerbs);
  const Verb* two = &words.pick(kVerbs);
  while (two == &one || two->object == one.object) two = &words.pick(kVerbs);
  const auto set_act = [&words](std::string_view key, const Verb& verb) {
    words.set(key, std::string(verb.past) + " " + std::string(verb.object));
    words.set(std::string(key) + ".base", std::string(verb.base) + " " + std::string(verb.object));
  };
  set_act("act", one);
  set_act("act2", *two);
  words.set("place", words.pick(kPlaces).at);
  if (words.chance(35)) {  // one person, in order
    const std::string input = words.write("First, {h} {act}. Then {h.he} {act2}.");
    const bool first = words.chance(50);
    words.alias("asked", first ? "act" : "act2");
    words.set("when", first ? "first" : "last");
    return {words.write("What did {h} do {when}?"), input, words.write("{h} {asked}.")};
  }
  const std::string input = words.write(
      "[{h} {act}. {f} {act2}.|{h} {act}, and {f} {act2}.|{h} and {f} were {place}. {h} "
      "{act}. {f} {act2}.]");
  const bool first = words.chance(50);
  words.alias("who", first ? "h" : "f");
  words.alias("asked", first ? "act" : "act2");
  switch (words.number(1, 3)) {
    case 1:
      return {words.write("Who {asked}?"), input, words.write("{who} {asked}.")};
    case 2:
      return {words.write("What did {who} do?"), input, words.write("{who} {asked}.")};
    default: {
      const bool yes = words.chance(50);
      words.alias("claim", yes == first ? "act" : "act2");
      return {words.write("Did {who} {claim.base}?"), input,
              yes_or_no(words, yes, "{who} {asked}.", "{who} {asked}.")};
    }
  }
}

// Taller, older, faster: among two or three.
Example who_is_more(Writer& words, RandomSequence&) {
  struct Scale {
    Text more, most;
  };
  static constexpr Scale kScales[] = {{"taller", "tallest"},   {"older", "oldest"},
                                      {"faster", "fastest"},   {"stronger", "strongest"},
                                      {"younger", "youngest"}, {"smaller", "smallest"}};
  set_child(words, "h", {});
  set_child(words, "f", {"h"});
  set_child(words, "t", {"h", "f"});
  const Scale& scale = words.pick(kScales);
  words.set("more", scale.more);
  words.set("most", scale.most);
  if (words.chance(50)) {
    return {words.write("[Who is {more}, {f} or {h}?|Who is {more}, {h} or {f}?]"),
            words.write("{h} is {more} than {f}."), words.write("{h} is {more}.")};
  }
  return {words.write("Who is the {most}?"),
          words.write("[{h} is {more} than {f}. {f} is {more} than {t}.|{f} is {more} "
                      "than {t}. {h} is {more} than {f}.]"),
          words.write("{h} is the {most}.")};
}

// The beginning of a story: names, traits, pets.
Example who_is_it(Writer& words, RandomSequence&) {
  set_child(words, "h", {});
  words.set("kind", words.get("h").gender == Gender::she ? "girl" : "boy");
  words.set("trait", words.pick(kTraits));
  words.set("pet", words.pick(kPetNames));
  words.set("pet.kind", words.pick(kPets).kind);
  set_toys(words);
  const bool with_pet = words.chance(50);
  const std::string input = words.write(
      std::string("[Once upon a time, there was|There once was] {a trait} {kind} named {h}. ") +
      (with_pet ? "{H.he} had {a pet.kind} named {pet}." : "{H.he} had {a color} {toy}."));
  switch (words.number(1, 4)) {
    case 1:
      return {words.write("What is the name of the {kind}?"), input,
              words.write("The name of the {kind} is {h}.")};
    case 2:
      return {words.write("What is {h} like?"), input, words.write("{h} is {trait}.")};
    case 3:
      if (with_pet) {
        return {words.write("What is the name of the {pet.kind}?"), input,
                words.write("The name of the {pet.kind} is {pet}.")};
      }
      return {words.write("What does {h} have?"), input, words.write("{h} has {a color} {toy}.")};
    default:
      if (with_pet) {
        return {words.write("What kind of animal is {pet}?"), input,
                words.write("{pet} is {a pet.kind}.")};
      }
      return {words.write("What color is the {toy}?"), input, words.write("The {toy} is {color}.")};
  }
}

}  // namespace

std::span<const Task> reading_tasks() {
  static constexpr Task kTasks[] = {
      {"who has", 7, who_has},         {"where is", 7, where_is},
      {"where thing", 3, where_thing}, {"why", 6, why},
      {"who did", 6, who_did},         {"who is more", 3, who_is_more},
      {"who is it", 4, who_is_it}};
  return kTasks;
}

}  // namespace llm::synth
