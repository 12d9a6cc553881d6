// Plots at home and at school: baking, being ill, a messy room, the dark, learning, promises.
#include "data/synth_stories.h"

namespace llm::synth {
namespace {

// Something to bake, one ingredient missing; a neighbor has it and gets a share.
void baking(Scene& s) {
  s.cast_children();
  const Bake& bake = s.words.pick(kBakes);
  s.words.set("bake", bake.name);
  s.words.set("the", bake.the);
  s.words.set("it", bake.it);
  s.words.set("was", bake.was);
  const Text need = s.words.pick(bake.ingredients);
  s.words.set("need", need);
  s.words.set("none", need.ends_with('s') ? "were" : "was");
  s.words.set("heated", bake.heated);
  s.open();
  s.day();
  s.say(
      "{day}, {h} and {h.his} {m} wanted to [make|bake] {bake}. "
      "[`Can I help?` asked {h}. `Of course,` said {h.his} {m}.|{h} got a big bowl and a spoon.|"
      "{h} washed {h.his} hands and got a big bowl.]");
  s.say(
      "But when {h.he} looked in the kitchen, there {none} no {need} left. "
      "[`Oh no! What can we do?` said {h}.|{h} was sad. `Now we cannot make {it},` {h.he} said.]");
  s.say(
      "`[Go and ask {f}|Maybe {f} has some],` said {h.his} {m}. [So {h} ran to the house next "
      "door.|{h} ran across the street to {f}'s house.] `Do you have some {need}?` {h.he} asked. "
      "`[Yes, here you are|Yes, we have a lot|Yes, take this],` said {f}.");
  s.thanks("h", "f");
  s.say(
      "Then {h} ran home. They mixed everything in the bowl and {heated}. "
      "[Soon the whole house smelled good.|They waited and waited.|What a good smell!]");
  s.say(
      "When {the} {was} ready, {h} [took some to {f}|asked {f} to come and eat with them|"
      "gave the first piece to {f}]. [`This is so good!` said {f}.|`Yum!` said {f}.|"
      "{f} ate it all up and smiled.]");
  s.lesson("[good neighbors help each other|food tastes best when you share it]",
           "always shared with {h.his} neighbors");
  s.close_together();
}

// The friend is ill; the hero brings something and cheers the friend up.
void ill_friend(Scene& s) {
  s.cast_children();
  s.words.set("gift", s.words.pick({"some hot soup", "a funny book", "a bag of oranges",
                                    "a yellow flower", "a picture"}));
  s.words.set("hurt", s.words.pick({"a cold", "a fever", "a bad cough", "a sore throat"}));
  s.open();
  s.day();
  s.say(
      "{day}, {h} went to {f}'s house to play. But {f}'s [mom|dad] said, `{f} cannot come out. "
      "{F.he} has {hurt} and must stay in bed.` [{h} was sad for {f}.|{h} felt sorry for {f}.]");
  s.say(
      "{h} went home and thought. `[How can I help {f.him}|What can I do for {f}]?` {h.he} asked "
      "{h.his} {m}. `You can [bring|take] {f.him} {gift},` said {h.his} {m}.");
  const std::string gift = s.words.get("gift").text;
  s.words.set("gift.the", gift.substr(gift.rfind(' ') + 1));
  if (gift == "some hot soup")
    s.say("So they cut carrots and potatoes and cooked a big pot of soup.");
  if (gift == "a picture") s.say("So {h} drew a picture of two friends in the sun.");
  if (gift == "a yellow flower") s.say("So {h} picked a yellow flower in the garden.");
  if (gift == "a funny book") s.say("So {h} looked for {h.his} best book.");
  if (gift == "a bag of oranges") s.say("So {h} went to the shop and got a bag of oranges.");
  s.say(
      "Then {h} went back to {f}. [`This is for you,` {h.he} said.|`I have something for you,` "
      "{h.he} said.] {f} was lying in bed. When {f.he} saw the {gift.the}, {f.he} smiled. "
      "[`You are a good friend,` said {f}.|`Thank you! I feel better now,` said {f}.]");
  s.say(
      "[A few days later|After three days|The next week], {f} was well again. "
      "[{F.he} ran to {h} and gave {h.him} a hug.|{f} could play outside again.]");
  s.lesson("a friend can make a bad day better",
           "always visited {h.his} friends when they were ill");
  s.close_together();
}

// The room is so messy that nothing can be found; cleaning it finds the thing.
void messy_room(Scene& s) {
  s.cast_children();
  s.choose_toy(false);
  s.words.set("spot", s.words.pick(kHomeSpots));
  s.words.set("again", s.words.pick({"socks", "blocks", "books", "shirts", "crayons"}));
  s.open();
  s.say(
      "{h}'s room was very messy. There were toys and {again} all over the floor. "
      "`Please clean your room,` said {h.his} {m}. [But {h} did not want to.|`Later,` said {h}.|"
      "But {h} wanted to play and did not listen.]");
  s.day();
  s.say(
      "{day}, {f} [came to play|asked {h} to come outside]. `Bring your {toy},` said {f}. "
      "{h} looked for the {toy}, but [{h.he} could not find it|there were too many things on the "
      "floor|it was not on the shelf].");
  s.sad("h");
  s.say(
      "`[If you clean your room, you will find it|Let us clean the room first],` said {h.his} {m}. "
      "[`I will help you,` said {f}.|{f} wanted to help too.] They put the {again} away. They put "
      "the toys in a box. [Then they swept the floor.|] And there was the {toy.full}, {spot}!");
  s.happy("h");
  s.say(
      "[`My room looks so nice now,` {h.he} said.|Now the room was clean and bright.|"
      "`Thank you for your help,` {h} said to {f}.]");
  s.lesson("it is easy to find things in a clean room", "always put {h.his} things away");
  s.close_together();
}

// A noise or shape in the dark turns out to be something harmless.
void dark_night(Scene& s) {
  s.cast_children();
  s.open();
  s.words.set("place", s.words.pick({"in bed", "in {h.his} room", "under the blanket"}));
  s.words.set("place", s.words.write(s.words.get("place").text));
  s.say(
      "[One night|One dark night|Late one night], {h} was {place}. It was very dark. "
      "[The wind was loud.|It was raining outside.|The moon was behind a cloud.|]");
  struct Fear {
    Text seen, called, found, why;
  };
  static constexpr Fear kFears[] = {
      {"heard a noise at the window", "There is a monster at the window",
       "a branch of the old tree", "The wind pushed it against the glass"},
      {"saw a big shadow on the wall", "There is a monster on the wall", "{h.his} coat on a chair",
       "The light from the street made it look big"},
      {"heard a noise under the bed", "There is something under my bed", "the cat",
       "It was playing with a ball"},
      {"saw two small lights in the corner", "Something is looking at me", "the cat",
       "Its eyes were shining in the dark"},
      {"heard a noise in the kitchen", "There is someone in the kitchen", "a little mouse",
       "It was eating a piece of bread"}};
  const Fear& fear = s.words.pick(kFears);
  s.words.set("found", s.words.write(fear.found));
  s.words.set("why", fear.why);
  s.words.set("called", fear.called);
  s.words.set("seen", fear.seen);
  s.say(
      "Then {h.he} {seen}. [{h} was very scared.|{h} was so scared that {h.he} could not move.|"
      "{H.his} heart beat fast.] `{M.call}! {M.call}!` {h.he} called. `{called}!`");
  s.say(
      "{H.his} {m} came and [turned on the light|sat down on the bed|took {h.his} hand]. "
      "`[Let us look together|Do not be afraid. Let us look],` {m.he} said. They looked, and what "
      "did they see? It was only {found}! {why}.");
  s.say(
      "[{h} laughed. `It is not a monster at all!`|{h} began to laugh.|{h} felt silly, and then "
      "{h.he} laughed.] {H.his} {m} laughed too [and gave {h.him} a kiss|and gave {h.him} a hug|"
      "and sang {h.him} a song].");
  s.lesson("[things are not so scary in the light|it helps to look at what you fear]",
           "was not afraid of the dark");
  s.say(
      "[Then {h} closed {h.his} eyes and slept until the morning.|Soon {h} was asleep.|"
      "{h} slept well that night.]");
}

// The baby cries; three tries, and the third works.
void crying_baby(Scene& s) {
  s.cast_children();
  const bool sister = s.words.chance(50);
  s.words.set("b", Value{sister ? "sister" : "brother", sister ? Gender::she : Gender::he, {}});
  s.words.set("h.sibling", s.words.get("h.kind").text == "girl" ? "sister" : "brother");
  s.open();
  s.day();
  std::vector<Text> tries = {"gave {b.him} a teddy bear", "made a funny face",
                             "gave {b.him} some milk",    "read {b.him} a book",
                             "showed {b.him} a red ball", "sang a soft song",
                             "danced around the room"};
  s.words.shuffle(tries);
  s.words.set("one", s.words.write(tries[0]));
  s.words.set("two", s.words.write(tries[1]));
  s.words.set("three", s.words.write(tries[2]));
  s.say(
      "{h} had a baby {b}. {day}, the baby began to cry. [`Waa! Waa!`|The baby cried and cried.] "
      "{h}'s {m} was [busy|tired|in the garden]. `[Can you help me with the baby|"
      "Can you look after the baby for a while]?` {m.he} asked. `Yes, I can,` said {h}.");
  s.say(
      "First, {h} {one}. But the baby [still cried|did not stop]. Then {h} {two}. But the baby "
      "cried [even more|again]. [`What do you want?` asked {h}.|{h} did not know what to do.|"
      "{h} did not give up.]");
  s.say(
      "At last, {h} {three}. [And then the baby stopped and looked at {h.him}.|The baby became "
      "quiet.] The baby [smiled|laughed|gave a big smile]! [`You like that!` said {h}.|"
      "`Again?` asked {h}, and {h.he} did it again.|]");
  s.say(
      "{H.his} {m} came and saw them. `[You are a great big {h.sibling}|I am so proud of you|"
      "You did so well],` {m.he} said. {h} [felt big and proud|was very proud|smiled].");
  s.lesson("you should not give up too soon", "always helped with the baby");
  s.close_home();
}

// A new skill takes many tries.
void new_skill(Scene& s) {
  s.cast_children();
  struct Skill {
    Text learn, failed, done, thing;
  };
  static constexpr Skill kSkills[] = {
      {"ride a bike", "fell off the bike", "rode all the way down the street", "bike"},
      {"swim", "got water in {h.his} nose", "swam across the pool", "pool"},
      {"skate", "fell on the ice", "skated in a big circle", "ice"},
      {"tie {h.his} shoes", "made a big knot", "tied both shoes", "shoes"},
      {"play the drum", "hit {h.his} own finger", "played a whole song", "drum"},
      {"jump rope", "stepped on the rope", "jumped ten times", "rope"},
      {"catch a ball", "dropped the ball", "caught the ball three times", "ball"},
      {"write {h.his} name", "made a wrong letter", "wrote {h.his} whole name", "pencil"}};
  const Skill& skill = s.words.pick(kSkills);
  for (auto [key, text] : {std::pair<Text, Text>{"learn", skill.learn},
                           {"failed", skill.failed},
                           {"done", skill.done},
                           {"thing", skill.thing}}) {
    s.words.set(key, s.words.write(text));
  }
  s.open();
  s.say(
      "{h} wanted to learn to {learn}. {H.his} friend {f} [could do it well|was very good at it|"
      "already knew how to do it]. `[I want to do that too|I want to learn that],` said {h}.");
  s.day();
  s.say(
      "{day}, {h} tried for the first time. But {h.he} {failed}. {H.he} tried again, and {h.he} "
      "{failed} again. [`I cannot do it!` {h.he} cried.|`It is too hard!` said {h}.|{h} wanted to "
      "give up.]");
  s.say(
      "{f} sat down next to {h.him}. `[I could not do it at first|It was hard for me too],` "
      "{f.he} said. `[You must try every day.|Try it slowly.|Do not give up.] I will help you.`");
  s.say(
      "So {h} [tried every day|tried again and again|worked hard all week]. [Each day was a little "
      "better.|{f} helped {h.him}.|Sometimes it was hard, but {h.he} did not stop.] And then, one "
      "day, {h} {done}! [`I did it!` {h.he} shouted.|`Look at me!` {h.he} called.]");
  s.say(
      "[{f} clapped {f.his} hands.|{f} cheered.|{H.his} {m} was very proud.|"
      "`I knew you could do it,` said {f}.]");
  s.lesson("you can do hard things if you keep trying", "never gave up when something was hard");
  s.close_together();
}

// The first day at a new school ends with a new friend.
void first_school_day(Scene& s) {
  s.cast_children();
  s.words.set("h.trait", s.words.pick({"shy", "quiet", "little"}));
  s.words.set("like", s.words.pick({"draw animals", "read books about the sea", "build tall towers",
                                    "play with blocks", "sing songs", "play ball"}));
  s.open();
  s.say(
      "It was {h}'s first day at a new school. {H.he} [was scared|was worried|felt very small]. "
      "[`I do not know anyone there,`|`Who will play with me?`|`What if nobody likes me?`] {h.he} "
      "said. {H.his} {m} [held {h.his} hand|gave {h.him} a hug] and said, `[You will find a friend|"
      "Just be kind and smile|Everything will be fine].`");
  s.say(
      "At school, all the children played together. {h} [sat alone in a corner|stood by the wall|"
      "sat under a tree] and [looked at {h.his} shoes|did not say a word]. [{H.he} wanted to go "
      "home.|{H.he} missed {h.his} {m}.]");
  s.say(
      "Then {a f.kind} came to {h.him}. `Hello, my name is {f},` said the {f.kind}. `What is your "
      "name?` `I am {h},` said {h} [in a small voice|and looked up]. `I like to {like},` said {f}. "
      "`What do you like?` [{h} smiled.|{h}'s eyes became big.] `I like to {like} too!`");
  s.say(
      "So they [did it together|went to do it together]. They laughed [all day|a lot]. [At lunch, "
      "they sat next to each other.|At lunch, {f} gave {h} half of {f.his} sandwich.] When {h} "
      "came "
      "home, {h.he} said, `{M.call}, [I have a new friend|school is fun|I want to go again "
      "tomorrow]!`");
  s.lesson("a smile can make a new friend", "was never shy with {f}");
  s.close_home();
}

// Something breaks, the pet is blamed, and the truth comes out.
void broken_vase(Scene& s) {
  s.cast_children();
  s.choose_pet(true);
  s.words.set("thing", s.words.pick({"vase", "cup", "plate", "lamp", "bowl"}));
  s.words.set("color", s.words.pick(kColors));
  s.open();
  s.say("{h} had {a pet.kind} named {pet}.");
  s.day();
  s.say(
      "{day}, {h} played with a ball in the house. {H.his} {m} [always said, `No balls in the "
      "house!`|did not like that.] But {h} threw the ball, and it hit the {color} {thing}. Crash! "
      "The {thing} fell down and broke.");
  s.say(
      "{H.his} {m} came in. `Who did this?` {m.he} asked. {h} was afraid. `It was {pet},` {h.he} "
      "said. So {h.his} {m} put {pet} outside. [It was cold outside.|It began to rain.] {pet} sat "
      "at the door and [looked very sad|looked in with big sad eyes].");
  s.say(
      "[{h} looked at {pet} and felt bad.|{h} could not play anymore. {H.he} felt bad.] [`It was "
      "not "
      "right,` {h.he} thought.|It was not fair to {pet}.] So {h} went to {h.his} {m} and said, "
      "`{pet} did not do it. I broke the {thing} with my ball. I am sorry.`");
  s.say(
      "{H.his} {m} [was not happy, but {m.he} gave {h.him} a hug|looked at {h.him} for a long "
      "time]. "
      "`Thank you for telling me the truth,` {m.he} said. `Now [let {pet} in|open the door for "
      "{pet}].` {h} opened the door. {pet} [{pet.happy}|ran in and {pet.happy}]. `I am sorry, "
      "{pet},` said {h}, and {h.he} gave the {pet.kind} {pet.food}.");
  s.lesson("it is best to tell the truth", "always told the truth and played ball outside");
}

// A promise to look after something is forgotten, and made good.
void forgotten_promise(Scene& s) {
  s.cast_children();
  s.choose_pet();
  const bool plants = s.words.chance(50);
  s.open();
  s.day();
  if (plants) {
    s.say(
        "{h}'s friend {f} went away for a week. `Can you water my flowers?` asked {f}. `I "
        "promise,` "
        "said {h}. [The first day, {h} watered the flowers.|]");
    s.say(
        "But then {h} [played all day|went to the lake|had a new toy] and forgot. After four days, "
        "{h} remembered. {H.he} ran to {f}'s garden. The flowers were dry and [brown|hanging "
        "down]. "
        "`Oh no!` said {h}. `I forgot my promise.`");
    s.say(
        "{H.he} ran to get water. {H.he} watered the flowers in the morning and in the evening. "
        "[{H.his} {m} showed {h.him} how to cut the dry leaves.|{H.he} did not go to play.] Slowly "
        "the flowers stood up again.");
  } else {
    s.say(
        "{h}'s friend {f} went away for a week. {F.he} had {a pet.kind} named {pet}. `Can you feed "
        "{pet} every day?` asked {f}. `I promise,` said {h}.");
    s.say(
        "But one day, {h} [played outside|had a new toy] and forgot. In the evening, {h.he} "
        "remembered. {H.he} ran to {f}'s house. {pet} was very hungry. It looked at {h} and "
        "{pet.sound}. `I am so sorry, {pet},` said {h}. `I forgot my promise.`");
    s.say(
        "{H.he} gave {pet} {pet.food}. {pet} ate it all and {pet.happy}. After that, {h} came "
        "every "
        "morning and every evening [and played with {pet}|and gave {pet} fresh water].");
  }
  s.say(
      "When {f} came home, {h} told {f.him} [everything|the truth]. `[I forgot once, and I am "
      "sorry|"
      "I forgot my promise for a while],` {h.he} said. `[But you made it good again|But you worked "
      "hard to make it good],` said {f}. `Thank you.`");
  s.lesson("a promise is important", "always kept {h.his} promises");
  s.close_together();
}

}  // namespace

std::span<const Plot> home_plots() {
  static constexpr Plot kPlots[] = {baking,           ill_friend,  messy_room,
                                    dark_night,       crying_baby, new_skill,
                                    first_school_day, broken_vase, forgotten_promise};
  return kPlots;
}

}  // namespace llm::synth
