// Plots under the sky: gardens, birds, rain, snow, pets, the sea, a boat.
#include "data/synth_stories.h"

namespace llm::synth {
namespace {

// A seed needs water, sun and patience.
void garden(Scene& s) {
  s.cast_children();
  const Plant& plant = s.words.pick(kPlants);
  s.words.set("one", plant.one);
  s.words.set("many", plant.many);
  s.words.set("grown", plant.grown);
  s.open();
  s.say(
      "One day in spring, {h.his} {m} gave {h} [a little bag of seeds|some small seeds]. `These "
      "are "
      "{one} seeds,` said {h.his} {m}. `[Put them in the ground and give them water|They need "
      "water "
      "and sun].` {h} made small holes in the garden and put the seeds in.");
  s.say(
      "The next day, {h} ran to the garden. There was nothing to see. [`Where are my {many}?` "
      "asked "
      "{h}.|`Why do they not grow?` asked {h}.] `[You must wait|Plants need time],` said {h.his} "
      "{m}. "
      "[{h} did not like to wait.|It was hard to wait.|] But {h} gave the seeds water every day.");
  s.maybe(
      50,
      "[One hot week, there was no rain. {h} carried water to the garden every morning and every "
      "evening.|One day, a rabbit came to eat the little leaves. So {h} and {f} built a small "
      "fence.|Then weeds came up. {h} and {f} pulled them out one by one.]");
  s.say(
      "After two weeks, {h} saw something green. `Look, [they are growing|a leaf]!` {h.he} "
      "shouted. "
      "[The plants grew bigger and bigger.|Every day the plants were a little taller.] In summer, "
      "the "
      "garden was full of {grown}.");
  s.happy("h");
  if (plant.eaten) {
    s.say(
        "[{H.he} picked the {many} and gave some to {f}.|{h} and {h.his} {m} cooked soup with the "
        "{many} "
        "and asked {f} to come.|{h} filled a basket and took it to {f}.]");
  } else {
    s.say(
        "[{H.he} picked the best {one} and gave it to {f}.|{H.he} put some {many} on the table, "
        "and the "
        "whole house smelled good.|{f} came to see the {many}. `They are so pretty!` {f.he} "
        "said.]");
  }
  s.lesson("good things take time", "was never afraid to wait for good things");
}

// A small bird on the ground gets help.
void little_bird(Scene& s) {
  s.cast_children();
  s.choose_place();
  s.open();
  s.day();
  const bool fell = s.words.chance(50);
  s.say(
      "{day}, {h} walked {place.to} with {f}. [They {place.doing}.|] Then they heard a soft sound. "
      "`Peep, peep!` They looked {spot}. There was a little bird.");
  if (fell) {
    s.say(
        "It had fallen out of its nest. [It was too young to fly.|It could not fly yet.] The "
        "mother bird "
        "flew around and cried. [`Poor little bird,` said {f}.|`We must help it,` said {h}.]");
    s.say(
        "{h} [ran to get {h.his} {m}|called {h.his} {m}]. {H.his} {m} brought a ladder. Very "
        "slowly, "
        "{h.he} climbed up and put the little bird back in the nest. The mother bird [came at "
        "once|flew "
        "to the nest] and gave it a worm.");
    s.say(
        "[A few weeks later|In the summer], the little bird learned to fly. It flew around {h} and "
        "{f} and "
        "sang. `[It is saying thank you|It knows us],` said {f}.");
  } else {
    s.say(
        "One of its wings was hurt. [It could not fly.|It tried to fly, but it could not.] [`Poor "
        "little "
        "bird,` said {f}.|`We must help it,` said {h}.] {h} put the bird in {h.his} hat and "
        "carried it "
        "home.");
    s.say(
        "{H.his} {m} found a box, and they put soft grass in it. {h} gave the bird water and seeds "
        "every "
        "day. {f} came to [sing to it|see it] after school. Slowly the wing [got better|became "
        "strong "
        "again].");
    s.say(
        "One morning, the bird [moved both wings|jumped up and down] and wanted to go. {h} was a "
        "little "
        "sad. But {h.he} opened the window, and the bird flew up into the blue sky. `Goodbye, "
        "little "
        "bird!` called {h}. The next day, it sat in the tree and sang for {h.him}.");
  }
  s.lesson("small animals need our help", "was always kind to animals");
  s.close_home();
}

// Rain spoils a plan, and a better one is found.
void rainy_day(Scene& s) {
  s.cast_children();
  s.choose_place();
  s.words.set("snack", s.words.pick(kSnacks));
  s.open();
  s.say(
      "{h} and {f} wanted to [have a picnic|eat lunch] {place.at}. They had a basket with "
      "{snack.s} and "
      "juice. [The sun was shining when they left.|They were very excited.] But when they got "
      "there, dark "
      "clouds came, and it began to rain.");
  s.say(
      "[`Oh no, our picnic!` said {f}.|`Now we cannot have our picnic,` said {f}.] They ran home "
      "as fast as "
      "they could. [Their shoes were wet.|Their hair was wet.|They were wet from head to toe.]");
  s.sad("f");
  s.say(
      "[`Why are you so sad?` asked {h}'s {m}. `We can have the picnic here!`|But {h} had an idea. "
      "`Let us "
      "have the picnic inside!` {h.he} said.] They put a [big red|green|soft] blanket on the "
      "floor. They sat "
      "down and ate the {snack.s}. [They made a tent with a sheet.|They told funny stories.|They "
      "played "
      "that the lamp was the sun.]");
  s.say(
      "[Then the rain stopped, and there was a rainbow in the sky. They ran outside and jumped in "
      "the "
      "puddles.|When the rain stopped, they saw a big rainbow. `It is so pretty!` said {f}.|The "
      "rain fell "
      "on the roof, but inside it was warm and dry.]");
  s.lesson("you can have fun in any weather", "was never sad when it rained");
  s.close_together();
}

// A snowman gets what he needs, and what becomes of him when the sun comes.
void snowman(Scene& s) {
  s.cast_children();
  s.words.set("color", s.words.pick(kBrightColors));
  s.words.set("need", s.words.pick({"hat", "scarf"}));
  s.open();
  s.say(
      "One [cold day in winter|winter morning], {h} looked out of the window. Everything was "
      "white. `Snow!` "
      "{h.he} shouted. {H.he} put on {h.his} coat and ran outside. {f} came too. [`Let us make a "
      "snowman!` said {f}.|They wanted to make a snowman.]");
  s.say(
      "They made a big ball, a small ball and a very small ball. They [used|took] two stones for "
      "the eyes "
      "and a carrot for the nose. [But something was missing.|`He looks cold,` said {f}.] "
      "`He needs {a need}!` said {h}.");
  s.say(
      "[{h} looked in the house, but {h.he} found none.|They had no {need} for him.] So {h} took "
      "off "
      "{h.his} own {color} {need} and gave it to the snowman. [Now the snowman looked happy.|`Now "
      "he is "
      "not cold,` {h.he} said.]");
  s.say(
      "After a while, {h} was cold and began to shake. {f} saw it. [{F.he} took {h.him} by the "
      "hand, and they went "
      "inside.|`Come, we will get warm,` said {f}.] {H.his} {m} made hot [milk|soup|tea] for them. "
      "[{h} felt warm again.|They sat by the fire.]");
  s.say(
      "[A few days later, the sun came out and the snowman melted. The {need} lay on the grass. "
      "{h} was sad, "
      "but {h.his} {m} said, `He will come back next winter.`|The snowman stood there all winter, "
      "and every "
      "morning {h} and {f} said hello to him.|When spring came, the snowman melted. `Goodbye!` "
      "said {h}. "
      "`See you next winter!`]");
  s.close_together();
}

// The pet runs away and is found by its voice.
void lost_pet(Scene& s) {
  s.cast_children();
  s.choose_pet();
  s.choose_place();
  s.open();
  s.say(
      "{h} had {a pet.kind} named {pet}. [They did everything together.|{pet} slept next to "
      "{h.his} bed.|"
      "{h} loved {pet} very much.]");
  s.day();
  s.say(
      "{day}, {h} [forgot to close the gate|left the door open], and {pet} ran away. `{pet}! "
      "{pet}!` called "
      "{h}. But {pet} did not come.");
  s.sad("h");
  s.say(
      "{f} heard {h.him} [and came to help.|and said, `I will help you look.`] [First they looked "
      "in the street.|"
      "They asked all the neighbors.|They made a picture of {pet} and showed it to everyone.] Then "
      "they "
      "went {place.to}. They looked {spot} and {spot2}. {pet} was not there.");
  s.say(
      "[`Quiet!` said {f}. `I hear something.`|Then {h} stopped. `Listen!` {h.he} said.] Something "
      "{pet.sound} very softly. They ran to look {spot3}. There was {pet}! It was [stuck and could "
      "not get "
      "out|cold and afraid|hungry and tired].");
  s.say(
      "{h} [picked it up|took {pet} in {h.his} arms] and held it close. {pet} {pet.happy}. [At "
      "home, {h} gave "
      "{pet} {pet.food}.|Then they all went home, and {pet} got {pet.food}.]");
  s.thanks("h", "f");
  s.lesson("it is important to close the gate", "always closed the gate");
  s.close_home();
}

// A hungry stray follows the hero home and may stay.
void stray(Scene& s) {
  s.cast_children();
  s.choose_pet(true);
  s.words.set("color", s.words.pick({"black", "white", "brown", "gray", "small", "thin"}));
  s.open();
  s.say(
      "One [rainy day|cold evening|cold morning], {h} came home from school. Next to the road, "
      "{h.he} saw "
      "{a color} {pet.kind}. It was [wet and hungry|thin and cold|all alone]. [It {pet.sound} "
      "softly.|It "
      "looked at {h} with big eyes.] `[Where is your home|Are you lost]?` asked {h}.");
  s.say(
      "The {pet.kind} followed {h.him} all the way home. `{M.call}, [look|see who is here]!` said "
      "{h}. `It has "
      "no home. Can we keep it?` `[First we must ask if someone is looking for it|Maybe someone "
      "lost it],` "
      "said {h.his} {m}.");
  s.say(
      "{h} gave the {pet.kind} {pet.food}. It ate [everything|very fast]. Then {h} made a bed for "
      "it in a "
      "box. [The next day|For three days], {h} and {f} asked everyone in the town. But nobody knew "
      "the "
      "{pet.kind}.");
  s.say(
      "`[It is a lot of work to have a pet|A pet needs food and love every day],` said {h.his} "
      "{m}. `[I will do "
      "it|I will take care of it every day],` said {h}. {H.his} {m} [looked at the "
      "{pet.kind}|thought for a "
      "while]. `All right,` {m.he} said. `It can stay.`");
  s.happy("h");
  s.say(
      "`I will call you {pet},` said {h}. {pet} {pet.happy}. [From then on, {pet} slept next to "
      "{h.his} bed.|"
      "{h} kept the promise and fed {pet} every day.|{f} came every day to play with {pet}.]");
  s.close_home();
}

// A wave takes the sandcastle; the next one stands further from the water.
void sandcastle(Scene& s) {
  s.cast_children();
  s.words.set("on_top", s.words.pick({"a white shell", "a small flag", "a red stone",
                                      "a green leaf", "a feather"}));
  s.open();
  s.day();
  s.say(
      "{day}, {h} and {f} were at the beach. They built a big castle close to the water. [They "
      "worked for a "
      "long time.|{h} filled the bucket, and {f} made the walls.|It had four towers and a gate.] "
      "{h} put {on_top} on top.");
  s.say(
      "Then a big wave came. Splash! The water [took the castle away|fell on the castle], and "
      "[only a "
      "little hill of sand was left|the castle was gone].");
  s.sad("h");
  s.say(
      "`[All our work is gone|Our castle is gone],` {h.he} said. {f} was quiet. {F.he} looked at "
      "the water and "
      "at the sand. `[We built it too close to the sea|The wave cannot go up there],` {f.he} said. "
      "`Let us "
      "build it again, [far from the water|over there].`");
  s.say(
      "[{h} did not want to at first, but then {h.he} got up.|{h} dried {h.his} eyes and took the "
      "bucket.] They "
      "built a new castle [next to a big rock|high up on the beach]. It was even bigger than the "
      "first one. "
      "{h} found {on_top} again and put it on top. [The next wave came, but it did not reach the "
      "castle.|The "
      "waves came, but the castle stood.]");
  s.say(
      "`[Hooray|Look, it stands]!` they shouted. {H.his} {m} [came and took a picture|gave them "
      "each an ice "
      "cream].");
  s.lesson("you can learn from what goes wrong", "always thought first where to build");
  s.close_together();
}

// The boat drifts away; they stay calm and are heard.
void drifting_boat(Scene& s) {
  s.cast_children();
  s.words.set("who", s.words.pick({"fisherman", "farmer"}));
  s.open();
  s.day();
  s.say(
      "{day}, {h} and {f} went to the lake. There was a little [red|blue|green] boat. {H.his} {m} "
      "had told "
      "{h.him}, `Do not get into the boat without me.` But {h} said, `[Only for a minute|We will "
      "just sit in "
      "it].` So they sat in the boat.");
  s.say(
      "[The wind pushed the boat away from the land.|The rope was not tied well, and the boat "
      "moved away from "
      "the land.] Soon they were in the middle of the lake. They had [no oars|nothing to row "
      "with]. `I want to "
      "go home,` cried {f}. {h} was scared too, but {h.he} [took {f.his} hand|tried to stay "
      "calm].");
  s.say(
      "`[We must not stand up|Sit still],` {h.he} said. `[We can shout for help|Let us shout "
      "together].` They "
      "shouted, `Help! Help!` {h} [waved with {h.his} white shirt|took off {h.his} hat and "
      "waved].");
  s.say(
      "An old {who} heard them. He came in his big boat and [pulled them back|brought them back to "
      "the land]. "
      "{H.his} {m} was waiting there. [{M.he} held them both tight.|{M.he} was so glad to see "
      "them.] "
      "`I am sorry,` said {h}. `I did not listen to you.`");
  s.say(
      "`[You stayed calm, and that was clever|I am glad that you are safe],` said {h.his} {m}. "
      "`[But next time, "
      "wait for me|Next time, we will go together].`");
  s.lesson("it is important to listen", "never went into a boat alone");
  s.close_home();
}

}  // namespace

std::span<const Plot> outdoor_plots() {
  static constexpr Plot kPlots[] = {garden,   little_bird, rainy_day,  snowman,
                                    lost_pet, stray,       sandcastle, drifting_boat};
  return kPlots;
}

}  // namespace llm::synth
