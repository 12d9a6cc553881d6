// Words with what is known about them, for the word tasks among the instructions.
#pragma once

#include "data/synth_world.h"

namespace llm::synth {

struct WordPair {
  Text first, second;
};

inline constexpr WordPair kOpposites[] = {
    {"hot", "cold"},        {"big", "small"},       {"happy", "sad"},    {"fast", "slow"},
    {"up", "down"},         {"in", "out"},          {"old", "new"},      {"day", "night"},
    {"black", "white"},     {"wet", "dry"},         {"long", "short"},   {"full", "empty"},
    {"open", "closed"},     {"hard", "soft"},       {"high", "low"},     {"loud", "quiet"},
    {"heavy", "light"},     {"early", "late"},      {"clean", "dirty"},  {"good", "bad"},
    {"strong", "weak"},     {"near", "far"},        {"first", "last"},   {"left", "right"},
    {"rich", "poor"},       {"brave", "scared"},    {"yes", "no"},       {"always", "never"},
    {"easy", "difficult"},  {"thick", "thin"},      {"true", "false"},   {"wide", "narrow"},
    {"sweet", "sour"},      {"begin", "end"},       {"give", "take"},    {"push", "pull"},
    {"win", "lose"},        {"laugh", "cry"},       {"come", "go"},      {"buy", "sell"},
    {"love", "hate"},       {"inside", "outside"},  {"before", "after"}, {"above", "below"},
    {"more", "less"},       {"summer", "winter"},   {"warm", "cool"},    {"friend", "enemy"},
    {"question", "answer"}, {"kind", "mean"},       {"asleep", "awake"}, {"top", "bottom"},
    {"front", "back"},      {"remember", "forget"}, {"sink", "float"}};

// Nouns whose plural is worth asking for beyond those of the groups below.
inline constexpr Text kMoreNouns[] = {
    "child", "foot", "tooth", "mouse", "man",   "woman",  "goose", "leaf",  "wolf",
    "sheep", "fish", "knife", "shelf", "box",   "bus",    "dish",  "watch", "story",
    "baby",  "city", "berry", "puppy", "class", "glass",  "brush", "loaf",  "scarf",
    "key",   "day",  "toy",   "boy",   "girl",  "friend", "house", "garden"};

struct Verb {
  Text base, third, past;
  Text object;  // what makes a sentence of it
};
inline constexpr Verb kVerbs[] = {
    {"eat", "eats", "ate", "an apple"},          {"drink", "drinks", "drank", "some milk"},
    {"read", "reads", "read", "a book"},         {"write", "writes", "wrote", "a letter"},
    {"draw", "draws", "drew", "a picture"},      {"sing", "sings", "sang", "a song"},
    {"throw", "throws", "threw", "the ball"},    {"catch", "catches", "caught", "the ball"},
    {"find", "finds", "found", "a shell"},       {"lose", "loses", "lost", "a key"},
    {"make", "makes", "made", "a cake"},         {"buy", "buys", "bought", "a hat"},
    {"build", "builds", "built", "a tower"},     {"see", "sees", "saw", "a bird"},
    {"hear", "hears", "heard", "a noise"},       {"ride", "rides", "rode", "a bike"},
    {"wear", "wears", "wore", "a scarf"},        {"bring", "brings", "brought", "a gift"},
    {"take", "takes", "took", "the bag"},        {"give", "gives", "gave", "a present"},
    {"break", "breaks", "broke", "a cup"},       {"fly", "flies", "flew", "a kite"},
    {"hold", "holds", "held", "a candle"},       {"tell", "tells", "told", "a story"},
    {"sell", "sells", "sold", "the boat"},       {"feed", "feeds", "fed", "the hens"},
    {"wash", "washes", "washed", "the dog"},     {"carry", "carries", "carried", "a box"},
    {"open", "opens", "opened", "the door"},     {"close", "closes", "closed", "the window"},
    {"paint", "paints", "painted", "the wall"},  {"clean", "cleans", "cleaned", "the room"},
    {"water", "waters", "watered", "the roses"}, {"push", "pushes", "pushed", "the cart"},
    {"pull", "pulls", "pulled", "a rope"},       {"kick", "kicks", "kicked", "a stone"},
    {"cook", "cooks", "cooked", "some soup"},    {"bake", "bakes", "baked", "some bread"},
    {"plant", "plants", "planted", "a tree"},    {"pick", "picks", "picked", "a flower"},
    {"visit", "visits", "visited", "a friend"},  {"play", "plays", "played", "the drum"},
    {"hug", "hugs", "hugged", "the puppy"},      {"share", "shares", "shared", "a cookie"},
    {"fix", "fixes", "fixed", "the robot"},      {"follow", "follows", "followed", "a cat"}};

struct Group {
  Text name;  // "animal": a cat is an animal
  Text items[12];
};
inline constexpr Group kGroups[] = {
    {"animal",
     {"dog", "cat", "cow", "horse", "rabbit", "mouse", "bear", "fox", "duck", "frog", "goat",
      "lion"}},
    {"fruit",
     {"apple", "pear", "banana", "orange", "plum", "peach", "cherry", "lemon", "grape", "mango",
      "melon", "berry"}},
    {"vegetable",
     {"carrot", "potato", "tomato", "bean", "pea", "onion", "pumpkin", "cabbage", "pepper", "beet",
      "leek", "radish"}},
    {"toy",
     {"ball", "doll", "kite", "drum", "robot", "puzzle", "teddy bear", "toy car", "toy boat",
      "toy train", "block", "balloon"}},
    {"piece of clothing",
     {"hat", "scarf", "coat", "shirt", "sock", "shoe", "dress", "glove", "jacket", "boot",
      "sweater", "cap"}},
    {"part of the body",
     {"hand", "foot", "arm", "leg", "nose", "ear", "eye", "knee", "finger", "toe", "mouth",
      "head"}},
    {"piece of furniture",
     {"table", "chair", "bed", "couch", "desk", "shelf", "closet", "bench", "stool", "wardrobe",
      "cupboard", "sofa"}},
    {"plant",
     {"rose", "tulip", "sunflower", "tree", "bush", "daisy", "fern", "weed", "oak", "lily", "pine",
      "ivy"}},
    {"color",
     {"red", "blue", "green", "yellow", "pink", "white", "black", "brown", "purple", "gray",
      "violet", "gold"}},
    {"tool",
     {"hammer", "saw", "shovel", "rake", "ladder", "drill", "axe", "brush", "bucket", "rope",
      "needle", "knife"}}};

// Abilities: {animal, what it can do, what it cannot do}.
struct Ability {
  Text animal, can, cannot;
};
inline constexpr Ability kAbilities[] = {{"bird", "fly", "drive a car"},
                                         {"fish", "swim", "fly a kite"},
                                         {"dog", "bark", "read a book"},
                                         {"cat", "climb a tree", "write a letter"},
                                         {"frog", "jump", "sing a song"},
                                         {"horse", "run fast", "fly"},
                                         {"duck", "swim", "ride a bike"},
                                         {"cow", "eat grass", "climb a tree"},
                                         {"rabbit", "hop", "fly"},
                                         {"bee", "fly", "bark"},
                                         {"mouse", "hide in a small hole", "carry a house"},
                                         {"bear", "climb a tree", "fly"},
                                         {"girl", "read a book", "fly"},
                                         {"boy", "ride a bike", "live in the sea"},
                                         {"squirrel", "climb a tree", "bake a cake"},
                                         {"owl", "see at night", "play the drum"}};

struct Fact {
  Text question, answer;
};
inline constexpr Fact kFacts[] = {
    {"What color is grass?", "Grass is green."},
    {"What color is the sky on a sunny day?", "The sky is blue."},
    {"What color is snow?", "Snow is white."},
    {"What color is a ripe banana?", "A ripe banana is yellow."},
    {"What color is a carrot?", "A carrot is orange."},
    {"What color is a ripe strawberry?", "A ripe strawberry is red."},
    {"What does a bee make?", "A bee makes honey."},
    {"What does a hen lay?", "A hen lays eggs."},
    {"What does a cow give us?", "A cow gives us milk."},
    {"What does a dog say?", "A dog says woof."},
    {"What does a cat say?", "A cat says meow."},
    {"What does a cow say?", "A cow says moo."},
    {"What does a duck say?", "A duck says quack."},
    {"Where does a fish live?", "A fish lives in the water."},
    {"Where does a bird live?", "A bird lives in a nest."},
    {"What do plants need?", "Plants need water and sun."},
    {"What falls from the clouds when it rains?", "Water falls from the clouds."},
    {"What do we need when it rains?", "We need an umbrella when it rains."},
    {"What do you use to cut paper?", "You use scissors to cut paper."},
    {"What do you use to dig a hole?", "You use a shovel to dig a hole."},
    {"What do you use to write?", "You use a pencil to write."},
    {"How many legs does a dog have?", "A dog has four legs."},
    {"How many legs does a bird have?", "A bird has two legs."},
    {"How many days are in a week?", "There are seven days in a week."},
    {"How many fingers are on one hand?", "There are five fingers on one hand."},
    {"What season is the coldest?", "Winter is the coldest season."},
    {"What season is the hottest?", "Summer is the hottest season."},
    {"When do we see the moon?", "We see the moon at night."},
    {"When do most people sleep?", "Most people sleep at night."},
    {"What is a baby dog called?", "A baby dog is called a puppy."},
    {"What is a baby cat called?", "A baby cat is called a kitten."},
    {"What is ice made of?", "Ice is made of water."},
    {"What happens to a snowman in the sun?", "A snowman melts in the sun."},
    {"What happens to ice when it gets warm?", "Ice melts when it gets warm."}};

// Beginnings that have one sensible end.
inline constexpr WordPair kEndings[] = {{"The bird flew up into the", "sky"},
                                        {"{h} was hungry, so {h.he} ate a", "sandwich"},
                                        {"{h} was thirsty, so {h.he} drank some", "water"},
                                        {"{h} was tired, so {h.he} went to", "bed"},
                                        {"It was raining, so {h} opened an", "umbrella"},
                                        {"{h} was cold, so {h.he} put on a", "coat"},
                                        {"It was dark, so {h} turned on the", "light"},
                                        {"{h} lost {h.his} toy, so {h.he} was", "sad"},
                                        {"{h} got a present, so {h.he} was", "happy"},
                                        {"{h} fell down and hurt {h.his}", "knee"},
                                        {"The dog wagged its", "tail"},
                                        {"In winter, {h} made a man out of", "snow"},
                                        {"{h} brushed {h.his} teeth and went to", "bed"},
                                        {"{h} kicked the", "ball"},
                                        {"{h} read a", "book"},
                                        {"The cat drank some", "milk"},
                                        {"{h} planted a seed, and it grew into a", "flower"},
                                        {"The kite was stuck in a", "tree"},
                                        {"{h} broke the cup, so {h.he} said", "sorry"},
                                        {"{h} got help from {f}, so {h.he} said thank", "you"},
                                        {"At night, {h} looked at the moon and the", "stars"},
                                        {"{h} put the letter in an", "envelope"},
                                        {"The fish swam in the", "water"},
                                        {"{h} blew out the candles on the", "cake"}};

}  // namespace llm::synth
