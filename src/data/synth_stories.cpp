#include "data/synth_stories.h"

#include <algorithm>
#include <vector>

namespace llm::synth {
namespace {

constexpr Text kGrownUps[] = {"mom", "dad", "grandma", "grandpa", "mom", "dad"};

Gender gender_of(Text kin) {
  return kin == "mom" || kin == "grandma" || kin == "aunt" || kin == "sister" ? Gender::she
                                                                              : Gender::he;
}

std::vector<Plot> all_plots() {
  std::vector<Plot> plots;
  for (auto list : {thing_plots(), home_plots(), friend_plots(), outdoor_plots(), animal_plots(),
                    day_plots()}) {
    plots.insert(plots.end(), list.begin(), list.end());
  }
  return plots;
}

}  // namespace

void Scene::say(std::string_view pattern) {
  const std::string sentence = words.write(pattern);
  if (sentence.empty()) return;
  if (!text_.empty()) text_ += ' ';
  text_ += sentence;
}

void Scene::maybe(int percent, std::string_view pattern) {
  if (words.chance(percent)) say(pattern);
}

void Scene::person(std::string_view key, std::string_view kin) {
  words.set(key, Value{std::string(kin), gender_of(kin), {}});
  words.set(std::string(key) + ".call", capitalized(std::string(kin)));
}

// Everyone in this world is somebody: two friends belong together, each has a trait and a hobby,
// and a plot happens to a few of the pairs only. Where names can stand for anyone, they are all
// alike to a small model, which then mixes them up within a story.
void Scene::cast_children() {
  const size_t pair = pair_of(std::size(kGirls));
  const bool girl = words.chance(50);
  const Value she{std::string(kGirls[pair]), Gender::she, {}};
  const Value he{std::string(kBoys[pair]), Gender::he, {}};
  words.set("h", girl ? she : he);
  words.set("f", girl ? he : she);
  words.set("h.kind", girl ? "girl" : "boy");
  words.set("f.kind", girl ? "boy" : "girl");
  give_character(2 * pair + (girl ? 0 : 1));
  person("m", words.pick(kGrownUps));
}

void Scene::cast_animals() {
  const size_t pair = pair_of(std::size(kSheAnimals));
  const Value she{std::string(kSheAnimals[pair]), Gender::she, {}};
  const Value he{std::string(kHeAnimals[pair]), Gender::he, {}};
  const bool she_is_small = pair % 2 == 0;
  words.set("h", she_is_small ? she : he);
  words.set("f", she_is_small ? he : she);
  words.set("h.kind", kSmallAnimals[pair % std::size(kSmallAnimals)]);
  words.set("f.kind", kBigAnimals[pair % std::size(kBigAnimals)]);
  give_character(pair);
  person("m", words.pick({"mom", "dad"}));
}

size_t Scene::pair_of(size_t pairs) {
  constexpr int64_t kPairsPerPlot = 4;
  const auto turn = static_cast<size_t>(words.number(0, kPairsPerPlot - 1));
  return (plot_ + turn * pairs / kPairsPerPlot) % pairs;
}

void Scene::give_character(size_t who) {
  words.set("h.trait", kTraits[who % std::size(kTraits)]);
  words.set("h.hobby", words.write(kHobbies[who % std::size(kHobbies)]));
}

void Scene::choose_toy(bool breakable) {
  const Toy* toy = &words.pick(kToys);
  while (breakable && toy->break_event.empty()) toy = &words.pick(kToys);
  const Text look = words.chance(60) ? words.pick(kBrightColors) : words.pick(kToyAdjectives);
  words.set("toy", toy->name);
  words.set("toy.look", look);
  words.set("toy.full", std::string(look) + " " + std::string(toy->name));
  words.set("toy.play", toy->play_it);
  words.set("toy.played", toy->played_with_it);
  words.set("toy.playing", toy->playing_with_it);
  if (!breakable) return;
  words.set("toy.broke", toy->break_event);
  words.set("toy.mended", toy->mended);
}

void Scene::choose_place() {
  const Place& place = words.pick(kPlaces);
  words.set("place", place.name);
  words.set("place.at", place.at);
  words.set("place.to", place.to);
  words.set("place.doing", words.pick(place.doing));
  std::vector<Text> spots(std::begin(place.spots), std::end(place.spots));
  words.shuffle(spots);
  words.set("spot", spots[0]);
  words.set("spot2", spots[1]);
  words.set("spot3", spots[2]);
}

void Scene::choose_pet(bool free) {
  const Pet& pet = words.pick(std::span(kPets).first(free ? 4 : std::size(kPets)));
  words.set("pet", Value{std::string(words.pick(kPetNames)), Gender::it, {}});
  words.set("pet.kind", pet.kind);
  words.set("pet.sound", pet.sound);
  words.set("pet.happy", pet.happy);
  words.set("pet.food", pet.food);
}

void Scene::open() {
  const int64_t kind = words.number(1, 10);
  if (kind <= 6) {
    say("[Once upon a time, there was|Once upon a time, there was|There once was] {a h.trait} "
        "{h.kind} named {h}.");
    say("[{H.he} loved to {h.hobby}.|{H.he} loved to {h.hobby} every day.|"
        "{h} liked to {h.hobby}.|{h} lived in a small house with {h.his} family.|]");
  } else if (kind <= 8) {
    say("{h} was {a h.trait} {h.kind} who [loved|liked] to {h.hobby}.");
  } else {
    say("{h} was {a h.trait} {h.kind}. [Everyone liked {h.him} very much.|"
        "{H.he} always had a smile on {h.his} face.|{H.he} loved to {h.hobby}.]");
  }
}

void Scene::day() {
  words.set("day", words.write("One [day|day|sunny day|sunny morning|warm morning|morning|"
                               "warm afternoon|afternoon|bright morning|Saturday|Sunday]"));
}

void Scene::sad(std::string_view key) {
  words.alias("x", key);
  say("[{x} was very sad.|{x} felt sad.|{x} started to cry.|{x} was sad and wanted to cry.|"
      "A tear ran down {x.his} cheek.|{x} sat down and cried.|{x} was so sad that {x.he} cried.]");
}

void Scene::happy(std::string_view key) {
  words.alias("x", key);
  say("[{x} was very happy.|{x} felt happy again.|{x} smiled a big smile.|{x} laughed with joy.|"
      "{x} was so happy that {x.he} jumped up and down.|{x} clapped {x.his} hands.|"
      "{x} was so happy.]");
}

void Scene::thanks(std::string_view from, std::string_view to) {
  words.alias("x", from);
  words.alias("y", to);
  say("[`Thank you, {y}!` said {x}.|`Thank you so much!` said {x}.|{x} thanked {y} with a big hug.|"
      "{x} gave {y} a big hug. `Thank you!` {x.he} said.|"
      "`You are so kind,` {x} said to {y}. `Thank you!`]");
}

void Scene::lesson(std::string_view that, std::string_view habit) {
  words.set("that", words.write(that));
  words.set("habit", words.write(habit));
  say("[{h} learned that {that}.|That day, {h} learned that {that}.|From then on, {h} {habit}.|"
      "From that day on, {h} {habit}.|{h} knew now that {that}.|After that day, {h} {habit}.]");
}

void Scene::close_together() {
  say("[{h} and {f} played until the sun went down.|{h} and {f} were best friends from that day "
      "on.|"
      "They laughed and played all day.|They had so much fun together.|"
      "It was the best day ever.|{h} and {f} walked home together, hand in hand.|"
      "They were both very happy.|{h} and {f} smiled at each other.|]");
}

void Scene::close_home() {
  say("[That night, {h} slept very well.|{h} went home with a big smile.|"
      "That night, {h} told the whole story at dinner.|{h} went to bed happy and had sweet dreams.|"
      "It was a day that {h} never forgot.|{h} smiled all the way home.|]");
}

std::string write_story(RandomSequence& random, std::string* hero) {
  static const std::vector<Plot> plots = all_plots();
  while (true) {
    const size_t plot = random.below(plots.size());
    Scene scene(random, plot);
    plots[plot](scene);
    const int64_t words = std::count(scene.text().begin(), scene.text().end(), ' ') + 1;
    if (words < 60 || words > 200) continue;
    if (hero != nullptr) *hero = scene.words.write("{a h.kind} named {h}");
    return scene.text();
  }
}

}  // namespace llm::synth
