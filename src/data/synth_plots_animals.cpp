// Plots of the forest, where animals talk: in the manner of fables.
#include "data/synth_stories.h"

namespace llm::synth {
namespace {

// How animal stories begin: both are introduced by their kind.
void open_forest(Scene& s) {
  s.say(
      "[Once upon a time, there was|Once upon a time, there was|There once was|In a green forest, "
      "there "
      "lived|Deep in the forest, there lived] {a h.trait} {h.kind} named {h}.");
}

// One gathers for the winter, the other only plays; winter comes and the first one shares.
void winter_food(Scene& s) {
  s.cast_animals();
  const Text food = s.words.pick({"nuts", "apples", "plums", "berries"});
  s.words.set("food", food);
  open_forest(s);
  s.say("All summer, {h} [looked for|picked] {food} and put them in {h.his} home.");
  s.say(
      "{h} had a friend, {a f.kind} named {f}. {f} [danced and sang|slept in the sun|played] all "
      "day. "
      "`[Come and play with me|Why do you work so much]!` said {f}. `I am getting ready for the "
      "winter,` said "
      "{h}. `[You should do it too|You need food too].` But {f} only laughed.");
  s.say(
      "Then the winter came. Snow fell on the forest, and it was very cold. There was nothing to "
      "eat. {f} was "
      "cold and hungry. [{F.he} looked everywhere, but {f.he} found only snow.|{f}'s tummy was "
      "empty.]");
  s.say(
      "{f} went to {h}'s home and knocked at the door. `[I am so hungry|I have no food],` {f.he} "
      "said. `[I "
      "should have listened to you|You were right].` {h} [looked at {f}|felt sorry for {f}]. `Come "
      "in,` {h.he} "
      "said. `I have enough {food} for two.`");
  s.say(
      "They ate {food} by the warm fire. `Thank you,` said {f}. `[Next summer, I will work with "
      "you|Next year, "
      "I will help you].` And when summer came, {f} [worked every day|kept the promise]. {h} and "
      "{f} picked "
      "{food} together, [and then they danced together|and in the evening they sang together].");
  s.lesson("[it is good to work first and play later|it is good to share with a friend in need]",
           "never had to be alone in the winter");
}

// The big one laughs at the small one, is caught, and is freed by it.
void small_helper(Scene& s) {
  s.cast_animals();
  s.words.set("h.kind", s.words.pick({"mouse", "squirrel", "rabbit"}));
  s.words.set("f.kind", s.words.pick({"bear", "lion", "wolf", "deer"}));
  open_forest(s);
  s.say(
      "One day, {h} met a big {f.kind} named {f}. `Do you want to be my friend?` asked {h}. {f} "
      "laughed. `You are "
      "so small! [What can you do for me|How can you help me]?` {f.he} said and walked away. {h} "
      "was sad.");
  s.say(
      "[The next day|A few days later], {f} walked through the forest and did not look where "
      "{f.he} was going. "
      "[{F.he} stepped into a net, and the net held {f.him} fast.|{F.he} fell into a net of "
      "ropes.] {f} pulled and "
      "pulled, but {f.he} could not get out. `Help! Help!` {f.he} cried.");
  s.say(
      "[The other animals were afraid and ran away.|The birds heard it, but they could not help.] "
      "But {h} came. "
      "`[Do not be afraid|Stay still],` {h.he} said. `I have sharp teeth.` {h} bit through [one "
      "rope after the "
      "other|the ropes, one by one]. It took a long time. At last, {f} was free!");
  s.say(
      "{f} looked at {h} and [felt bad|was ashamed]. `I laughed at you, and you saved me,` {f.he} "
      "said. `I am "
      "sorry. [You are small, but you are very brave.|You are the best friend of all.]`");
  s.happy("h");
  s.say(
      "[From that day on, {f} carried {h} on {f.his} back.|After that, they were friends, and "
      "nobody laughed at "
      "{h} again.|They became best friends.] [Even a small friend can be a big help.|You do not "
      "have to be big to "
      "be a hero.]");
}

// The way over the water: an idea and help from many.
void over_the_river(Scene& s) {
  s.cast_animals();
  s.words.set("h.kind", s.words.pick({"rabbit", "mouse", "hedgehog", "squirrel"}));
  const std::string kin(s.words.pick({"grandma", "grandpa", "sister", "brother"}));
  s.person("kin", kin);
  s.words.set("gift", s.words.pick({"a basket of berries", "a pot of honey", "a warm scarf",
                                    "a cake", "some flowers"}));
  open_forest(s);
  s.say(
      "One day, {h} wanted to visit {h.his} {kin} on the other side of the river. {H.he} had "
      "{gift} for {kin.him}. "
      "But there had been a storm, and the bridge was broken. [`How can I get over the river?` "
      "{h.he} asked.|{h} "
      "could not swim.|The water was deep and fast.]");
  s.say(
      "{h} [tried to jump, but the river was too wide|put one foot in the water, but it was too "
      "cold]. {H.he} sat "
      "down and was sad. Then {a f.kind} came by. {F.his} name was {f}. `Why are you sad?` {f.he} "
      "asked. {h} "
      "told {f.him} everything.");
  s.say(
      "`[I am big and strong|I can help you],` said {f}. [{F.he} pushed an old tree. It fell right "
      "across the "
      "river.|{F.he} rolled big stones into the water, one after the other.] `Now you have a new "
      "bridge!` {f.he} said. "
      "{h} walked slowly. [It was a little scary.|{H.he} did not look down.] And then {h.he} was "
      "on the other side!");
  s.thanks("h", "f");
  s.say(
      "`Come with me,` {h} said. So they went together. The {kin} was happy to see them. [They ate "
      "and talked until "
      "the evening.|They all sat by the fire and told stories.] [And from then on, all the animals "
      "could use the new "
      "bridge.|After that, {h} and {f} often went over the bridge together.]");
  s.lesson("it is good to ask for help", "always helped others who were in need");
}

// Too much of a good thing makes a tummy ache.
void too_much(Scene& s) {
  s.cast_animals();
  struct Food {
    Text food, where;
  };
  static constexpr Food kFoods[] = {{"berries", "on a big bush"},
                                    {"apples", "under an old tree"},
                                    {"honey", "in a hollow tree"},
                                    {"nuts", "behind a log"},
                                    {"plums", "next to the stream"}};
  const Food& food = s.words.pick(kFoods);
  s.words.set("food", food.food);
  s.words.set("where", food.where);
  s.words.set("them", food.food == "honey" ? "it" : "them");
  open_forest(s);
  s.say(
      "{h} loved {food}. One [day|morning|summer day], {h.he} found a lot of {food} {where}. "
      "`[This is all for me|I "
      "will eat all of {them}]!` {h.he} said. {f}, {a f.kind}, came by. `[Can I have some|May I "
      "eat with you]?` {f.he} "
      "asked. `No, I found {them},` said {h}. {f} went away [hungry|with a sad face].");
  s.say(
      "{h} ate and ate. [{H.he} ate until {h.his} tummy was as round as a ball.|{H.he} did not "
      "stop when {h.he} was "
      "full.] Then {h.his} tummy began to hurt. `[Ow, ow|Oh, my tummy]!` {h.he} cried. {H.he} "
      "could not [walk|stand "
      "up].");
  s.say(
      "{f} heard {h.him} and came back. `[What is wrong|Are you ill]?` {f.he} asked. `I ate too "
      "much,` said {h}. {f} "
      "[brought {h.him} water|made {h.him} a warm tea with leaves] and stayed with {h.him} [all "
      "night|until it was "
      "better]. In the morning, {h} felt well again.");
  s.say(
      "`Why did you help me? I was not kind to you,` said {h}. `[You needed help|That is what "
      "friends do],` said "
      "{f}. {h} [felt ashamed|was quiet for a while]. `Let us eat the rest together,` {h.he} said. "
      "[So they sat down "
      "and shared.|{f} smiled, and they ate side by side.]");
  s.lesson("too much is not good and sharing is better", "always shared {h.his} food");
}

// The young bird is afraid to fly until someone needs it.
void first_flight(Scene& s) {
  s.cast_animals();
  s.words.set("h.kind", s.words.pick({"bird", "owl", "duck"}));
  s.words.set("f.kind", s.words.pick({"mouse", "frog", "squirrel", "rabbit"}));
  s.words.set("water", s.words.pick({"river", "stream", "pond"}));
  s.words.set("h.trait", s.words.pick({"little", "young", "small"}));
  open_forest(s);
  s.say(
      "All {h.his} brothers and sisters could fly, but {h} was afraid. [`What if I fall?`|`It is "
      "too high,`] {h.he} "
      "said. {H.his} {m} said, `[You have strong wings. One day you will fly|You can do it when "
      "you are ready].`");
  s.say(
      "{h} had a friend, {a f.kind} named {f}. [They played under the tree every day.|{f} never "
      "laughed at {h.him}.] "
      "One day, {f} played near the {water} and fell in. `Help! I cannot swim!` {f.he} cried. {h} "
      "saw it from "
      "{h.his} branch. There was nobody else to help.");
  s.say(
      "{h} forgot that {h.he} was afraid. {H.he} [opened {h.his} wings and jumped|jumped from the "
      "branch]. {H.his} "
      "wings carried {h.him}! {H.he} [flew down|flew as fast as the wind], picked up a long stick "
      "and held it over the water. {f} "
      "took the stick, and {h} pulled {f.him} out.");
  s.say(
      "`You saved me,` said {f}. `And you can fly!` {h} looked at {h.his} wings. `[I can fly|I did "
      "it]!` {h.he} "
      "shouted. {H.his} {m} [was so proud|came and hugged them both].");
  s.happy("h");
  s.lesson("you are stronger than you think", "flew high up in the sky every day");
}

// False alarms are believed twice and not the third time.
void false_alarm(Scene& s) {
  s.cast_animals();
  s.words.set("h.kind", s.words.pick({"rabbit", "mouse", "squirrel", "hedgehog"}));
  s.words.set("h.trait", s.words.pick({"silly", "young", "little", "funny"}));
  s.words.set("danger", s.words.pick({"Fire", "A snake", "A storm", "The water is coming"}));
  open_forest(s);
  const std::string danger = s.words.get("danger").text;
  s.words.set("real", danger == "Fire"      ? "there was a real fire near {h.his} home"
                      : danger == "A snake" ? "a real snake came to {h.his} home"
                      : danger == "A storm"
                          ? "a real storm came and blew away {h.his} roof"
                          : "the river was high and the water came to {h.his} home");
  s.words.set("real", s.words.write(s.words.get("real").text));
  s.say(
      "{h} [was bored|wanted to have some fun]. So {h.he} shouted, `{danger}! Help!` All the "
      "animals came running. "
      "But there was nothing. {h} laughed and laughed. `[It was only a joke|I was only playing],` "
      "{h.he} said. "
      "[The animals were not happy.|{f} the {f.kind} shook {f.his} head.]");
  s.say(
      "The next day, {h} did it again. `{danger}! Help!` {h.he} shouted. Again the animals came, "
      "and again there was "
      "nothing. `[This is not funny|You should not lie],` said {f} the {f.kind}. [All the animals "
      "went home angry.|"
      "But {h} only laughed.]");
  s.say(
      "Then, one [night|evening], {real}. `{danger}! Help! Please help me!` {h} shouted. But "
      "nobody came. `[It is "
      "only a joke again|We know this joke],` said the animals. {h} [was very scared|cried and "
      "cried].");
  s.say(
      "Only {f} [listened well|thought, `This time it sounds real.`] {F.he} [ran to {h} and helped "
      "{h.him}|came and "
      "carried {h.him} to a safe place]. `I am sorry,` said {h}. `[Nobody believed me because I "
      "lied|I will never lie "
      "again].`");
  s.lesson("if you lie, nobody will believe you", "always told the truth");
}

// A quarrel over who is best is settled by a task that needs both.
void both_needed(Scene& s) {
  s.cast_animals();
  s.words.set("h.kind", s.words.pick({"squirrel", "mouse"}));
  s.words.set("f.kind", s.words.pick({"bear", "horse", "cow", "deer"}));
  s.words.set("fruit", s.words.pick(kFruits));
  open_forest(s);
  s.say(
      "{h} was small and fast. {H.his} friend {f} was a big, strong {f.kind}. One day, they had a "
      "fight. `[It is "
      "better to be fast|Small animals are better],` said {h}. `[No, it is better to be strong|Big "
      "animals are "
      "better],` said {f}. They asked the old owl, `Who is right?`");
  s.say(
      "The owl [smiled|closed one eye and thought]. `Over the river, there is {a fruit} tree,` "
      "said the owl. `Bring me "
      "{a fruit}, and I will tell you.` So they went to the river. The water was [deep|fast], and "
      "{h} could not get "
      "across. {f} took {h.him} on {f.his} back and [walked through the water|swam to the other "
      "side].");
  s.say(
      "Then they came to the tree. The {fruit.s} were very high. {f} was too heavy to get up "
      "there. But {h} could "
      "climb up high. {H.he} picked [two|three|four] {fruit.s} and threw them down. [`Well done!` "
      "said {f}.|`Thank you!` said "
      "{f}.] Together they went back to the owl.");
  s.say(
      "`Now, who is better?` asked the owl. {h} and {f} looked at each other and laughed. "
      "`[Nobody|We are both good]!` "
      "they said. `[I could not do it without {f}|We need each other],` said {h}. They [shared the "
      "{fruit.s} with the "
      "owl|ate the {fruit.s} together].");
  s.lesson("everyone is good at something", "never fought with {f} again");
  s.close_together();
}

}  // namespace

std::span<const Plot> animal_plots() {
  static constexpr Plot kPlots[] = {winter_food,  small_helper, over_the_river, too_much,
                                    first_flight, false_alarm,  both_needed};
  return kPlots;
}

}  // namespace llm::synth
