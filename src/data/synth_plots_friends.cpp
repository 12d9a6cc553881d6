// Plots about being together: races, hiding, getting lost, quarrels, maps, shows, parties, towers.
#include "data/synth_stories.h"

namespace llm::synth {
namespace {

// The hero could win, but stops to help the friend who fell.
void race(Scene& s) {
  s.cast_children();
  s.words.set("goal", s.words.pick({"the big tree", "the old bridge", "the red barn", "the lake",
                                    "the school", "the top of the hill"}));
  s.words.set("prize", s.words.pick({"a gold cup", "a big cake", "a new ball", "a blue ribbon"}));
  s.open();
  s.day();
  s.say(
      "{day}, there was a big race to {goal}. The prize was {prize}. [{h} wanted to win.|`I want "
      "to "
      "win!` said {h}.|{h} could run very fast.] {H.his} friend {f} [ran|was] in the race too.");
  s.say(
      "`[Ready, set, go!|One, two, three, go!]` All the children ran as fast as they could. "
      "[Soon {h} was in front.|{h} and {f} were in front.|{h} was faster than the others.] Then "
      "{h} heard a cry. {f} [had stepped in a hole|had tripped over a stone|had fallen down], and "
      "{f.his} [knee|foot] hurt.");
  s.say(
      "{h} looked at {goal}. It was not far. [{H.he} wanted the prize.|{H.he} could win!] But "
      "{h.he} "
      "[stopped|turned around] and ran back to {f}. `[Take my hand|Let me help you],` {h.he} said. "
      "[They walked slowly.|{f} held on to {h}.] They came to {goal} last of all, [but they came "
      "there together|side by side].");
  s.say(
      "[All the people clapped.|Everyone cheered for them.] [The winner|The girl who won|"
      "The boy who won] came to {h} and said, `[You gave up the prize to help a friend.|You have "
      "a good heart.] I want to share the prize with you.` [{h} smiled.|{h} was so happy.]");
  s.lesson("[helping a friend is better than winning|a friend is worth more than a prize]",
           "always stopped to help when someone fell");
  s.close_together();
}

// Hidden too well: falls asleep, everyone worries, a sound gives the place away.
void hide_and_seek(Scene& s) {
  s.cast_children();
  s.choose_pet(true);
  s.choose_place();
  s.open();
  s.day();
  s.say(
      "{day}, {h} and {f} [played|wanted to play] hide and seek {place.at}. {f} closed {f.his} "
      "eyes "
      "and counted to ten. {h} ran and hid {spot3}. `[{f} will never find me here|This is a good "
      "place],` {h.he} thought.");
  s.say(
      "{f} looked {spot}. {f} looked {spot2}. {h} was not there. [It was warm and quiet {spot3}|"
      "{h} waited a long time], and {h} [fell asleep|closed {h.his} eyes and slept].");
  s.say(
      "`{h}, where are you?` called {f}. `[You win! Come out!|The game is over!]` But nobody "
      "answered. {f} [was worried|was afraid] and ran to get {h}'s {m}. They called and called.");
  s.say(
      "Then {h}'s {pet.kind} {pet} came. {pet} put its nose to the ground and went straight to the "
      "place. It {pet.sound} loudly. There was {h}, fast asleep! [{h} opened {h.his} eyes. `Did I "
      "win?` {h.he} asked.|{h} woke up. `Is the game over?` {h.he} asked.] Everyone laughed.");
  s.say(
      "`[We were so worried|I was afraid that you were lost],` said {h.his} {m} and hugged "
      "{h.him}. "
      "{h} gave {pet} {pet.food}.");
  s.lesson("it is not good to make others worry", "always came out when {h.his} friends called");
  s.close_together();
}

// Lost in a crowd: stays calm, asks a safe person for help.
void lost_in_crowd(Scene& s) {
  s.cast_children();
  s.words.set("at", s.words.pick({"market", "zoo", "fair", "big shop", "train station"}));
  s.words.set(
      "saw", s.words.pick({"a man with many balloons", "a table full of toys", "a funny little dog",
                           "a box of kittens", "a woman who sold candy"}));
  s.words.set("color", s.words.pick(kBrightColors));
  s.words.set("wear", s.words.pick({"hat", "coat", "scarf", "dress", "shirt"}));
  if (s.words.get("m").gender == Gender::he && s.words.get("wear").text == "dress") {
    s.words.set("wear", "shirt");
  }
  s.open();
  s.day();
  s.say(
      "{day}, {h} went to the {at} with {h.his} {m}. There were many people. `Stay close to me,` "
      "said {h.his} {m}. But {h} saw {saw} and [stopped to look|went to look]. When {h.he} turned "
      "around, {h.his} {m} was gone.");
  s.say(
      "[{h} looked left and right, but {h.he} saw only strange faces.|{h} ran here and there, but "
      "{h.he} could not see {m.him}.|`{M.call}, where are you?` {h.he} called. Nobody answered.]");
  s.sad("h");
  s.say(
      "Then {h} remembered what {h.his} {m} had told {h.him}: `If you are lost, [stay where you "
      "are "
      "and ask for help|stop and ask someone who works there].` So {h} went to a [woman who sold "
      "apples|man who sold bread|woman in a blue hat who worked there]. `I am lost,` {h.he} said. "
      "`My {m} has {a color} {wear}.`");
  s.say(
      "`[Do not worry|You did the right thing]. We will find {m.him},` was the answer. They stood "
      "on "
      "a [big box|bench] and looked over all the heads. There was the {color} {wear}! "
      "`{M.call}!` shouted {h}.");
  s.say(
      "{H.his} {m} [ran to {h.him} and held {h.him} tight|came and hugged {h.him}]. `I looked for "
      "you "
      "everywhere,` {m.he} said. `[You were brave and clever|I am glad that you asked for help].`");
  s.lesson("you should stay close in a big crowd", "always held {h.his} {m}'s hand in a crowd");
  s.close_home();
}

// Two friends quarrel, miss each other and make up.
void quarrel(Scene& s) {
  s.cast_children();
  struct Fight {
    Text mine, yours, both;
  };
  static constexpr Fight kFights[] = {
      {"play ball", "draw pictures", "drew a picture of a ball game"},
      {"be the king", "be the king too", "were two kings with two paper crowns"},
      {"build a castle", "build a ship", "built a castle with a ship next to it"},
      {"paint the house red", "paint the house blue", "painted one wall red and one wall blue"},
      {"go to the lake", "go to the park", "went to the park and then to the lake"},
      {"sing", "dance", "sang and danced"},
      {"play with the train", "play with the blocks", "built a bridge of blocks for the train"}};
  const Fight& fight = s.words.pick(kFights);
  s.words.set("mine", fight.mine);
  s.words.set("yours", fight.yours);
  s.words.set("both", fight.both);
  s.open();
  s.day();
  s.say(
      "{h} and {f} were best friends. {day}, {h} wanted to {mine}, but {f} wanted to {yours}. "
      "[`We always do what you want!` shouted {f}.|`No, my idea is better!` said {h}.|`You never "
      "listen to me!` said {h}.] [They were both angry.|They shouted at each other.]");
  s.say(
      "{f} went home. {h} [sat alone|played alone in {h.his} room|kicked a stone]. But it was [no "
      "fun|"
      "too quiet] without {f}. [At home, {f} was sad too.|{H.he} missed {f}'s laugh.|] "
      "`[Why are you so quiet|What is wrong]?` asked {h.his} {m}. {h} told {m.him} everything. "
      "[`Good friends can say sorry,`|`Why do you not say sorry?`] said {h.his} {m}.");
  s.say(
      "So {h} [picked a flower|took two cookies|drew a heart on a card] and went to {f}'s house. "
      "[But {f} was already on the way to {h}! They met in the middle of the street.|{H.he} "
      "knocked "
      "at the door. {f} opened it.] `I am sorry,` said {h}. `I am sorry too,` said {f}.");
  s.say(
      "Then they had an idea. They {both}. [It was more fun than ever.|It was the best game of "
      "all.|"
      "Both of them were happy.]");
  s.lesson("[saying sorry can mend a friendship|friends can find a way for both]",
           "always listened to {f}");
  s.close_together();
}

// A map leads from clue to clue to a box.
void treasure_map(Scene& s) {
  s.cast_children();
  s.choose_place();
  s.words.set("inside", s.words.pick({"old gold coins", "shiny stones", "pretty shells", "candy",
                                      "old toys", "picture books"}));
  s.words.set("where", s.words.pick({"in an old book", "in the attic", "in a bottle",
                                     "behind a picture on the wall"}));
  s.words.set("steps", s.words.pick({"five", "six", "seven", "eight", "nine", "ten"}));
  s.open();
  s.day();
  s.say(
      "{day}, {h} found an old map {where}. There was a big red X on it. `[Look, a treasure map|"
      "Maybe there is a treasure]!` said {h} to {f}. [They were very excited.|`Let us find it!` "
      "said {f}.] They took a [shovel and a lamp|shovel and some bread] and went {place.to}.");
  s.say(
      "First, the map showed a place {spot}. [There they found an arrow made of stones.|There was "
      "a "
      "small note. It said, `Walk {steps} steps to the sun.`] Then they had to look {spot2}. [But "
      "it "
      "was not easy.|{f} wanted to stop, but {h} said, `We are almost there!`|{h} was tired, but "
      "{f} "
      "said, `Do not give up!`]");
  s.say(
      "At last they came to the X. It was {spot3}. They dug and dug. [Clunk!|Bump!] The shovel hit "
      "something hard. It was a wooden box! [{h} opened it with both hands.|They opened it "
      "together.] "
      "Inside there were {inside}.");
  s.say(
      "[`Who put this here?` asked {f}.|`Whose treasure is it?` asked {h}.] Then {h}'s {m} came "
      "and "
      "laughed. `I hid it there [when I was as small as you|a long time ago]. Now it is yours!`");
  s.say(
      "{h} and {f} [shared the treasure|each took half of it|took it home and shared it with their "
      "friends].");
  s.lesson("[two friends can do more than one|you find more when you work together]",
           "always shared what {h.he} found");
  s.close_together();
}

// Afraid on the stage; a friend helps.
void stage(Scene& s) {
  s.cast_children();
  struct Act {
    Text plan, wrong, right;
  };
  static constexpr Act kActs[] = {
      {"sing a song", "no sound came out", "sang louder and louder"},
      {"dance", "{h.his} legs did not move", "danced around and around"},
      {"read a poem", "{h.he} forgot all the words", "read every word in a clear voice"},
      {"play the drum", "{h.he} dropped the sticks", "played the drum with a strong beat"},
      {"tell a funny story", "{h.he} forgot how it began", "told the story from start to end"}};
  const Act& act = s.words.pick(kActs);
  s.words.set("plan", act.plan);
  s.words.set("wrong", s.words.write(act.wrong));
  s.words.set("right", act.right);
  s.open();
  s.say(
      "There was a big show at school. {h} wanted to {plan}. {H.he} practiced at home every day. "
      "[{H.his} {m} said, `You are very good!`|At home, it was easy.|{f} practiced with {h.him}.]");
  s.say(
      "Then the big day came. {h} stood on the stage. There were so many people! "
      "[{H.his} knees began to shake.|{H.his} face became hot.|{H.his} heart beat fast.] "
      "{H.he} opened {h.his} mouth, but {wrong}. [Somebody laughed.|It was very quiet.|"
      "{H.he} wanted to run away.]");
  s.say(
      "Then {h} saw {f} in the first row. [{f} [smiled at {h.him}|held up {f.his} thumb|waved at "
      "{h.him}] and whispered, `You can do it!`|{f} came up to {h.him} and took {h.his} hand.] {h} "
      "took a deep "
      "breath. [{H.he} looked only at {f}.|{H.he} closed {h.his} eyes for a moment.] Then {h.he} "
      "{right}.");
  s.say(
      "When it was over, [everyone clapped|all the people stood up and clapped|everyone cheered]. "
      "{h} [was so proud|smiled from ear to ear|made a little bow]. `[I was so scared|You saved "
      "me],` "
      "{h.he} told {f}. `[But you did it anyway|That is what friends are for],` said {f}.");
  s.lesson("being brave means to try even if you are scared",
           "was not afraid of the stage anymore");
  s.close_together();
}

// Nobody seems to remember the birthday; it is a surprise.
void surprise_party(Scene& s) {
  s.cast_children();
  s.choose_place();
  s.words.set("age", s.words.pick({"five", "six", "seven", "eight"}));
  s.words.set("present", s.words.pick({"a kite", "a kitten", "a bike", "a drum", "a big book",
                                       "a puppy", "a toy train"}));
  s.open();
  s.say(
      "It was {h}'s birthday. [Now {h.he} was {age} years old.|{H.he} woke up early and was very "
      "excited.] But at breakfast, {h.his} {m} [only said, `Good morning.`|did not say anything "
      "about "
      "it.] `[Did everyone forget my birthday|Does nobody know what day it is]?` {h} thought.");
  s.say(
      "{h} went to see {f}. `Can you play with me?` {h.he} asked. `[No, I am busy|Not today],` "
      "said "
      "{f} and closed the door.");
  s.sad("h");
  s.say(
      "{H.he} walked {place.to} and sat alone [for a long time|on a bench|on the ground]. [A bird "
      "sang, "
      "but {h} did not listen.|The sky became gray.|] In the evening, {h} went home slowly. The "
      "house "
      "was dark. {H.he} opened the door.");
  s.say(
      "`Surprise!` The light went on. There were {f} and {h.his} {m} and all {h.his} friends! "
      "There were "
      "balloons and a big cake with {age} candles. `[That is why I was busy|I had to keep it a "
      "secret],` "
      "said {f}. `I made the cake for you!`");
  s.happy("h");
  s.say(
      "{f} and {h.his} {m} gave {h.him} {present}. [{H.he} blew out all the candles and made a "
      "wish.|"
      "They sang and danced and ate cake.] `[This is the best birthday of all|I have the best "
      "friends "
      "in the world],` said {h}.");
  s.close_home();
}

// A tower or den is built badly alone and well together.
void build_together(Scene& s) {
  s.cast_children();
  struct Building {
    Text thing, with, where;
  };
  static constexpr Building kBuildings[] = {{"tower", "blocks", "on the floor of the room"},
                                            {"castle", "sand", "at the beach"},
                                            {"house", "sticks", "under the big tree"},
                                            {"bridge", "stones", "over the little stream"},
                                            {"tent", "blankets", "behind the couch"},
                                            {"wall", "snow", "in the white garden"}};
  const Building& building = s.words.pick(kBuildings);
  s.words.set("thing", building.thing);
  s.words.set("with", building.with);
  s.words.set("where", building.where);
  s.open();
  s.day();
  if (building.with == "snow") s.words.set("day", "One cold day in winter");
  s.say(
      "{day}, {h} wanted to build a big {thing} {where}. {H.he} had a lot of {with}. `[Can I help|"
      "May I build with you]?` asked {f}. `No, I can do it alone,` said {h}.");
  s.say(
      "{h} worked [very fast|all morning]. But the {thing} [was not strong|began to shake]. Bump! "
      "It fell "
      "down. {h} tried again. Bump! It fell down again. [{h} was angry and kicked the {with}.|`Why "
      "does it "
      "always fall?` {h.he} cried.|{h} sat down and did not know what to do.]");
  s.say(
      "{f} [looked at the {with}|thought for a moment]. `It needs a [wide bottom|strong bottom],` "
      "{f.he} "
      "said. `[I can hold it while you build|You hold it, and I will build].` {h} [nodded|thought "
      "about "
      "it]. `[All right, let us try|Please help me],` {h.he} said.");
  s.say(
      "{h} [held|brought] the {with}, and {f} put everything in the right place. The {thing} grew "
      "and "
      "grew. This time, it did not fall. [It was the biggest {thing} they had ever seen.|It was "
      "even better than {h.he} had hoped.]");
  s.say(
      "`[We did it|Look at our {thing}]!` said {h}. `[I could not do it alone.|It is so much "
      "better with "
      "two.|Thank you for your help.]`");
  s.lesson("it is good to let others help", "always asked {f} to build with {h.him}");
  s.close_together();
}

}  // namespace

std::span<const Plot> friend_plots() {
  static constexpr Plot kPlots[] = {race,         hide_and_seek, lost_in_crowd,  quarrel,
                                    treasure_map, stage,         surprise_party, build_together};
  return kPlots;
}

}  // namespace llm::synth
