// The world of the synthetic corpus: who lives in it, and what is there. Stories and instructions
// draw on the same lists, so that what a model learns from the one serves it in the other.
#pragma once

#include <string_view>

namespace llm::synth {

using Text = std::string_view;

inline constexpr Text kGirls[] = {"Anna", "Lily",  "Mia",  "Sue",  "Emma", "Rose",  "Lucy", "Ella",
                                  "Zoe",  "Molly", "Nina", "Amy",  "Kate", "Ruby",  "Jane", "Eva",
                                  "Mary", "Maya",  "Sara", "Nora", "Lisa", "Clara", "Ivy",  "Tina"};
inline constexpr Text kBoys[] = {"Tim",  "Tom",   "Ben",  "Max",  "Sam",  "Jack",  "Leo",  "Adam",
                                 "Finn", "Peter", "Luke", "Dan",  "Owen", "Henry", "Jake", "Billy",
                                 "Eli",  "Hugo",  "Theo", "Fred", "Paul", "John",  "Bob",  "Noah"};
// Animals that talk live in the forest stories only.
inline constexpr Text kSheAnimals[] = {"Coco",  "Momo",  "Dot",  "Hazel", "Poppy",
                                       "Penny", "Misty", "Lulu", "Tilly", "Bunny"};
inline constexpr Text kHeAnimals[] = {"Pip",  "Benny",  "Bruno", "Toby",  "Rusty",
                                      "Bobo", "Nibble", "Otto",  "Teddy", "Barney"};
inline constexpr Text kSmallAnimals[] = {"rabbit", "mouse", "squirrel", "hedgehog",
                                         "duck",   "frog",  "bird"};
inline constexpr Text kBigAnimals[] = {"bear", "fox", "deer", "wolf", "goat", "cow", "horse"};

inline constexpr Text kTraits[] = {"kind",  "brave",    "curious", "clever", "cheerful", "gentle",
                                   "quiet", "happy",    "funny",   "smart",  "friendly", "little",
                                   "busy",  "cheerful", "honest",  "polite", "playful",  "young"};
inline constexpr Text kHobbies[] = {"run and jump",
                                    "sing songs",
                                    "draw pictures",
                                    "climb trees",
                                    "ride {h.his} bike",
                                    "read books",
                                    "dance",
                                    "play outside",
                                    "look at the stars",
                                    "tell funny stories",
                                    "play in the garden",
                                    "build things",
                                    "ask questions",
                                    "help other people"};
inline constexpr Text kColors[] = {"red",   "blue",  "green", "yellow", "pink",
                                   "white", "black", "brown", "orange", "purple"};
inline constexpr Text kBrightColors[] = {"red", "blue", "green", "yellow", "orange", "purple"};

struct Toy {
  Text name;
  Text play_it, played_with_it, playing_with_it;
  Text break_event;  // empty: it does not break
  Text mended;       // what the helper did with it
};
inline constexpr Toy kToys[] = {
    {"ball", "play with it", "played with it", "playing with it", "", ""},
    {"kite", "fly it", "flew it", "flying it", "The paper tore", "put strong tape on the paper"},
    {"doll", "play with it", "played with it", "playing with it", "One arm came off",
     "sewed the arm back on"},
    {"drum", "play it", "played it", "playing it", "The stick broke", "made a new stick"},
    {"toy car", "play with it", "played with it", "playing with it", "A wheel came off",
     "put the wheel back on with glue"},
    {"toy boat", "play with it", "played with it", "playing with it", "The sail tore",
     "sewed a new sail"},
    {"toy train", "play with it", "played with it", "playing with it", "A wheel came off",
     "put the wheel back on with glue"},
    {"teddy bear", "play with it", "played with it", "playing with it", "One ear came off",
     "sewed the ear back on"},
    {"robot", "play with it", "played with it", "playing with it", "One leg came off",
     "put the leg back on with glue"},
    {"book", "read it", "read it", "reading it", "A page tore", "put tape on the page"},
    {"whistle", "blow it", "blew it", "blowing it", "", ""},
    {"puzzle", "play with it", "played with it", "playing with it", "", ""},
    {"hat", "wear it", "wore it", "wearing it", "", ""},
    {"scarf", "wear it", "wore it", "wearing it", "", ""}};
inline constexpr Text kToyAdjectives[] = {"new", "big", "small", "old", "shiny", "pretty"};

struct Place {
  Text name;
  Text at, to;
  Text spots[5];  // where something can be lost or someone can hide
  Text doing[3];  // what people do there, past tense
};
inline constexpr Place kPlaces[] = {
    {"park",
     "in the park",
     "to the park",
     {"under a bench", "behind a big tree", "in the tall grass", "near the pond", "next to a bush"},
     {"played on the swings", "ran on the grass", "went down the slide"}},
    {"beach",
     "at the beach",
     "to the beach",
     {"behind a rock", "near the steps", "behind a hill of sand", "near the water",
      "under an old boat"},
     {"dug in the sand", "jumped over the waves", "looked for shells"}},
    {"garden",
     "in the garden",
     "to the garden",
     {"behind the bushes", "under a big leaf", "near the fence", "next to the roses",
      "under the apple tree"},
     {"looked at the flowers", "ran around the tree", "watched the butterflies"}},
    {"farm",
     "on the farm",
     "to the farm",
     {"behind the barn", "in the hay", "near the well", "under the cart", "next to the gate"},
     {"fed the hens", "looked at the cows", "jumped in the hay"}},
    {"forest",
     "in the forest",
     "to the forest",
     {"under a log", "behind a tree", "next to the stream", "in a pile of leaves", "under a bush"},
     {"listened to the birds", "walked along the path", "jumped over the logs"}},
    {"playground",
     "at the playground",
     "to the playground",
     {"under the slide", "behind the wall", "next to the swings", "in the sandbox",
      "near the gate"},
     {"went down the slide", "played on the swings", "climbed up the ladder"}}};
inline constexpr Text kHomeSpots[] = {"under the bed",  "behind the couch",   "in a big box",
                                      "under a pillow", "behind the door",    "under the table",
                                      "in the closet",  "behind the curtain", "in the kitchen"};

struct Pet {
  Text kind;
  Text sound;  // past tense
  Text happy;  // what it did when it was happy
  Text food;
};
inline constexpr Pet kPets[] = {{"dog", "barked", "wagged its tail", "a bone"},
                                {"puppy", "barked", "wagged its tail", "some meat"},
                                {"cat", "meowed", "purred", "some fish"},
                                {"kitten", "meowed", "purred", "some milk"},
                                {"rabbit", "squeaked", "hopped up and down", "a carrot"},
                                {"hamster", "squeaked", "ran in a circle", "some seeds"}};
inline constexpr Text kPetNames[] = {"Spot",  "Fluffy", "Buddy", "Rex",   "Snowy",  "Ginger",
                                     "Patch", "Lucky",  "Fuzzy", "Daisy", "Cookie", "Bella"};

struct Plant {
  Text one, many;
  Text grown;  // what was to be seen in the end
  bool eaten;
};
inline constexpr Plant kPlants[] = {{"tomato", "tomatoes", "round red tomatoes", true},
                                    {"carrot", "carrots", "long orange carrots", true},
                                    {"pumpkin", "pumpkins", "big orange pumpkins", true},
                                    {"bean", "beans", "long green beans", true},
                                    {"strawberry", "strawberries", "sweet red strawberries", true},
                                    {"pea", "peas", "fat green peas", true},
                                    {"sunflower", "sunflowers", "tall yellow sunflowers", false},
                                    {"rose", "roses", "pretty red roses", false},
                                    {"tulip", "tulips", "bright pink tulips", false}};

struct Bake {
  Text name;    // with its article or plural: "a cake", "some cookies"
  Text the;     // "the cake", "the cookies"
  Text it;      // "it", "them"
  Text was;     // "was", "were"
  Text heated;  // how it was finished
  Text ingredients[3];
};
inline constexpr Bake kBakes[] = {
    {"a cake", "the cake", "it", "was", "put it in the oven", {"eggs", "flour", "sugar"}},
    {"an apple pie", "the pie", "it", "was", "put it in the oven", {"apples", "flour", "butter"}},
    {"some cookies",
     "the cookies",
     "them",
     "were",
     "put them in the oven",
     {"butter", "sugar", "eggs"}},
    {"some bread", "the bread", "it", "was", "put it in the oven", {"flour", "salt", "milk"}},
    {"some pancakes",
     "the pancakes",
     "them",
     "were",
     "cooked them in a pan",
     {"eggs", "milk", "flour"}},
    {"some muffins",
     "the muffins",
     "them",
     "were",
     "put them in the oven",
     {"sugar", "milk", "eggs"}}};

inline constexpr Text kFruits[] = {"apple", "pear", "banana", "orange", "plum", "peach"};
inline constexpr Text kSnacks[] = {"sandwich", "cookie", "muffin", "apple", "pear", "banana"};
inline constexpr Text kWeekdays[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                     "Friday", "Saturday", "Sunday"};

}  // namespace llm::synth
