// Stories of the synthetic corpus. A plot is a function that fills a Scene: it chooses who and what
// takes part, then says one beat after the other, each in one of several wordings. What is said
// follows from what was chosen, so that causes come before effects and things stay where they are.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "data/synth_text.h"
#include "data/synth_world.h"

namespace llm::synth {

// Variables: h the hero, f the friend (he and she, so that a pronoun tells who is meant), m a
// grown-up of the hero's ("mom"), each of the first two with .kind and .trait.
class Scene {
 public:
  // `plot` is the number of the plot, which decides who can be in it.
  Scene(RandomSequence& random, size_t plot) : words(random), plot_(plot) {}

  void say(std::string_view pattern);                       // appends one or more sentences
  void maybe(int percent, std::string_view pattern);        // ... or not
  void person(std::string_view key, std::string_view kin);  // "mom" with her pronouns

  // Who and what takes part.
  void cast_children();
  void cast_animals();  // h is small, f is big
  void choose_toy(bool breakable);
  void choose_place();  // place, place.at, place.to, place.doing, spot, spot2, spot3
  // A free one roams about: a dog or a cat, no rabbit or hamster.
  void choose_pet(bool free = false);  // pet (its name), pet.kind, pet.sound, pet.happy, pet.food

  // Beats that many plots share. `key` names who feels or speaks.
  void open();  // who the hero is
  void day();   // sets {day}: "One sunny morning"
  void sad(std::string_view key);
  void happy(std::string_view key);
  void thanks(std::string_view from, std::string_view to);
  void lesson(std::string_view that, std::string_view habit);  // habit: past tense, after "always"
  void close_together();                                       // hero and friend end the day
  void close_home();                                           // the hero goes to bed content

  const std::string& text() const { return text_; }

  Writer words;

 private:
  size_t pair_of(size_t pairs);     // which of so many pairs of friends takes part
  void give_character(size_t who);  // h.trait, h.hobby

  std::string text_;
  size_t plot_;
};

using Plot = void (*)(Scene&);
std::span<const Plot> thing_plots();
std::span<const Plot> home_plots();
std::span<const Plot> friend_plots();
std::span<const Plot> outdoor_plots();
std::span<const Plot> animal_plots();
std::span<const Plot> day_plots();

// One story of 60 to 200 words. If `hero` is given it receives "a boy named Tim".
std::string write_story(RandomSequence& random, std::string* hero = nullptr);

}  // namespace llm::synth
