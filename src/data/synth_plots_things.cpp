// Plots about things: lost, shared, broken, borrowed, found, given, traded, stuck.
#include "data/synth_stories.h"

namespace llm::synth {
namespace {

// The hero loses a toy, looks in three places and finds it in the last one.
void lost_toy(Scene& s) {
  s.cast_children();
  s.choose_toy(false);
  s.choose_place();
  s.open();
  s.day();
  s.say(
      "[{h} had {a toy.full}. It was {h.his} favorite toy.|{h}'s favorite thing was {a toy.full}.|"
      "{H.his} {m} gave {h.him} {a toy.full}.]");
  s.say(
      "{day}, {h} took the {toy} {place.to}. {H.he} {place.doing}. "
      "[But then {h.he} could not find the {toy}.|When it was time to go home, the {toy} was gone.|"
      "Then {h.he} looked around. Where was the {toy}?]");
  s.sad("h");
  const bool with_friend = s.words.chance(60);
  if (with_friend) {
    s.say(
        "{f} [saw {h.him} and asked, `What is wrong?`|came over and asked, "
        "`Why are you sad?`] `I lost my {toy},` said {h}. `I will help you,` said {f}.");
  } else {
    s.say("{H.his} {m} said, `Do not worry. [Let us look for it.|We will find it together.]`");
  }
  s.words.set("who", with_friend ? s.words.write("{f}") : s.words.write("{h}"));
  s.say(
      "They looked {spot}, but it was not there. [They looked {spot2}, but they found only "
      "[a stone|an old shoe|a stick|a small bug].|They looked {spot2}, but it was not there.|] "
      "Then {who} looked {spot3}. [There was the {toy}!|The {toy} was there!|"
      "And there it was, the {toy.full}!]");
  s.happy("h");
  if (with_friend) s.thanks("h", "f");
  s.lesson("it is good to look after your things",
           "always [put the {toy} in a safe place|looked after {h.his} toys|kept the {toy} close]");
  if (with_friend)
    s.maybe(50,
            "[{h} let {f} have a turn with the {toy}.|{h} and {f} played until "
            "the sun went down.|They had so much fun together.]");
}

// The hero does not want to share, plays alone, finds it dull, and shares.
void share_toy(Scene& s) {
  s.cast_children();
  s.choose_toy(false);
  s.choose_place();
  s.open();
  s.day();
  s.say(
      "{day}, {h} was {place.at} with {h.his} [new ]{toy}. {f} came and [asked, `Can I {toy.play} "
      "too?`|said, `What a nice {toy}! Can I have a turn?`|asked, `Can we {toy.play} together?`]");
  s.say(
      "[`No!` said {h}. `It is mine!`|{h} shook {h.his} head. `No, it is my {toy},` {h.he} said.|"
      "But {h} did not want to share. `Go away,` {h.he} said.]");
  s.say(
      "[{f} was sad and walked away.|{f} sat down on the ground and looked sad.|"
      "{f} did not say a word. {F.he} went to sit alone.]");
  s.say(
      "{h} {toy.played}, but [soon it was no fun|after a while {h.he} was bored]. "
      "{H.he} looked at {f}. [{H.he} felt bad.|`I was not kind,` {h.he} thought.|"
      "Now {h.he} felt sad too.]");
  s.say(
      "{h} went to {f} and said, `I am sorry. [Do you want to {toy.play} with me?|"
      "You can have a turn now.|Let us share the {toy}.]`");
  s.happy("f");
  s.say(
      "[First {f} had a turn, and then {h} had a turn.|They took turns with the {toy}.|"
      "They shared the {toy} and laughed.] [It was much more fun with a friend.|]");
  s.lesson(
      "[sharing is more fun than being alone|it is good to share|sharing makes everyone happy]",
      "always shared {h.his} toys");
  s.close_together();
}

// A toy breaks by accident and a grown-up mends it.
void broken_toy(Scene& s) {
  s.cast_children();
  s.choose_toy(true);
  s.choose_place();
  s.open();
  s.say(
      "{h} had {a toy.full}. {H.he} [took it everywhere|played with it every day|"
      "loved it very much].");
  s.day();
  s.say(
      "{day}, {h} ran too fast and [fell down|dropped the {toy}|fell on the {toy}]. "
      "{toy.broke}! [`Oh no!` said {h}.|`Oh no, my {toy}!` {h} cried.|]");
  s.sad("h");
  s.say(
      "{H.he} took the {toy} to {h.his} {m}. [`Can you fix it?` {h.he} asked.|"
      "`My {toy} is broken,` {h.he} said. `Can you help me?`]");
  s.say(
      "[{H.his} {m} looked at it.|{H.his} {m} smiled.|{H.his} {m} gave {h.him} a hug.] "
      "`[Do not be sad|Do not cry]. We can fix it,` {m.he} said. {H.his} {m} [got {m.his} tools|"
      "opened a big box|sat down at the table] and {toy.mended}.");
  s.say(
      "[Soon the {toy} was as good as new.|Now the {toy} was not broken anymore.|"
      "When it was done, the {toy} looked like new.]");
  s.happy("h");
  s.say(
      "[`Thank you!` said {h}. `You can fix anything!`|`Thank you, {m.call}!` {h.he} said.|"
      "{H.he} gave {h.his} {m} a big hug.]");
  s.lesson("it is better to be careful", "was always careful with {h.his} toys");
  s.close_home();
}

// A borrowed toy comes to harm; the borrower tells the truth and is forgiven.
void borrowed_toy(Scene& s) {
  s.cast_children();
  s.choose_toy(true);
  s.open();
  s.day();
  s.say(
      "{h} had a friend named {f}. {f} had {a toy.full}. {day}, {h} asked, `Can I take your {toy} "
      "home?` `Yes, but please [be careful|take care of it],` said {f}.");
  s.say(
      "At home, {h} {toy.played}. But then {h.he} [fell down|sat on it|dropped it]. {toy.broke}! "
      "[{h} was afraid. `{f} will be angry with me,` {h.he} thought.|{h} felt very bad.|"
      "`What will I tell {f}?` {h.he} thought.]");
  s.say(
      "[{h} wanted to hide the {toy}|"
      "{h} did not want to tell {f}]. But {h.his} {m} said, `[It is best to tell the truth|"
      "A good friend tells the truth|Be brave and tell the truth].`");
  s.say(
      "So {h} went to {f}. `I am sorry,` {h.he} said. `I broke your {toy}.` "
      "{f} was sad for a moment. Then {f.he} said, `[It was an accident.|Thank you for telling me.|"
      "I am not angry.] [We can fix it together.|Let us fix it.]`");
  s.say(
      "[They worked all afternoon, and soon the {toy} was as good as new.|"
      "{H.his} {m} {toy.mended}, and the {toy} was fine again.|"
      "They asked {h.his} {m} for help, and soon the {toy} was like new.]");
  s.lesson("it is best to tell the truth", "always told the truth");
  s.close_together();
}

// Something found belongs to someone else and goes back.
void found_thing(Scene& s) {
  s.cast_children();
  s.choose_place();
  s.words.set("thing", s.words.pick({"ring", "key", "watch", "hat", "bag", "coin", "necklace"}));
  s.words.set("look", s.words.pick({"shiny", "small", "pretty", "gold", "silver"}));
  s.words.set("owner", s.words.pick({"woman", "man"}));
  s.words.set("owner", Value{s.words.get("owner").text,
                             s.words.get("owner").text == "man" ? Gender::he : Gender::she,
                             {}});
  s.open();
  s.day();
  s.say(
      "{day}, {h} went {place.to} with {h.his} {m}. {H.he} {place.doing}. Then {h} saw something "
      "{spot}. It was {a look} {thing}! [`Look what I found!` {h.he} said.|"
      "{H.he} picked it up. `How pretty!` {h.he} said.|{h} put it in {h.his} pocket.]");
  s.say(
      "[{h} wanted to keep the {thing}.|`Can I keep it?` asked {h}.] "
      "But {h.his} {m} said, `[Someone must miss it.|It is not ours.|Maybe someone is looking for "
      "it.] [Let us find the owner.|We should give it back.]`");
  s.say(
      "[They asked many people.|They walked around and asked everyone.|They looked around.] "
      "Then they saw an old {owner}. {Owner.he} looked sad. `[I lost my {thing}|"
      "I cannot find my {thing}],` {owner.he} said.");
  s.say(
      "`Is this yours?` asked {h} and showed the {thing}. [The old {owner} smiled.|"
      "The old {owner} was so happy.|`Yes, it is!` said the old {owner}.] "
      "`Thank you, you are an honest {h.kind}!` {owner.he} said.");
  s.maybe(60,
          "[The {owner} gave {h} a sweet red apple.|The {owner} gave {h} a cookie.|"
          "The {owner} gave {h} a big hug.|As a thank you, the {owner} told {h} a funny story.]");
  s.say("{h} [felt warm inside|felt happy and proud|was very proud].");
  s.lesson("it feels good to give things back", "always gave back the things that {h.he} found");
  s.close_home();
}

// A present made by hand; something goes wrong, and it is still the best one.
void present(Scene& s) {
  s.cast_children();
  s.open();
  s.words.set("gift", s.words.pick({"card", "picture", "necklace", "crown", "flower"}));
  s.words.set("color", s.words.pick(kBrightColors));
  s.say(
      "[Tomorrow was|It was almost] the birthday of {h.his} {m}. {h} wanted to give {h.his} {m} "
      "something nice. But {h} had no money. [`What can I do?` {h.he} thought.|{H.he} was "
      "worried.|]");
  s.say(
      "{h} asked {f} for help. `[You can make something|Make a present with your own hands],` said "
      "{f}. [It was a good idea!|`What a good idea!` said {h}.]");
  s.say(
      "{h} took some {color} paper and made {a gift}. [{H.he} worked all day.|"
      "It took a long time.|{f} helped with the glue.]");
  s.maybe(70,
          "[Then {h} knocked over a cup of water, and the {gift} got wet. {h} wanted to cry. "
          "But {f} put it in the sun, and soon it was dry.|The first {gift} tore, and {h} was "
          "angry. But {h.he} took a deep breath and made a new one.|Then some paint fell on it. "
          "`Oh no!` said {h}. But {f} made the spot into a little heart.]");
  s.say(
      "The next day, {h} gave the {gift} to {h.his} {m}. `I made it for you,` {h.he} said. "
      "[`It is the best present of all!` said {h.his} {m}.|{H.his} {m} smiled and said, `I love "
      "it!`|{H.his} {m} had tears of joy. `It is so pretty!` {m.he} said.]");
  s.happy("h");
  s.lesson("the best presents come from the heart", "made a present for {h.his} {m} every year");
  s.maybe(50, "[They all ate cake together.|Then they ate a big birthday cake.]");
}

// Two children trade, miss what they had, and trade back.
void trade(Scene& s) {
  s.cast_children();
  s.choose_toy(false);
  s.words.alias("mine", "toy");
  do s.choose_toy(false);
  while (s.words.get("toy").text == s.words.get("mine").text);
  s.open();
  s.day();
  s.say(
      "{h} had {a mine.full}, and {h.his} friend {f} had {a toy.full}. {day}, {h} said, "
      "`[I like your {toy}. Can we trade?|Your {toy} is better than my {mine}. Let us trade!]` "
      "`[Yes, let us trade|All right],` said {f}.");
  s.say(
      "{h} gave {f} the {mine}, and {f} gave {h} the {toy}. [At first, {h} was happy.|"
      "{h} {toy.played} all afternoon.|{h} ran home with the {toy}.]");
  s.say(
      "But that night, {h} could not sleep. [{H.he} missed {h.his} {mine}.|{H.he} thought of "
      "{h.his} {mine}.] [`I wish I had my {mine} back,` {h.he} said.|"
      "{H.he} wanted to have it back.]");
  s.say(
      "The next morning, {h} went to see {f}. [{f} was sad too. `I miss my {toy},` {f.he} said.|"
      "`Do you like my {mine}?` asked {h}. `Yes, but I miss my {toy},` said {f}.]");
  s.say(
      "So they traded back. {h} got the {mine}, and {f} got the {toy}. "
      "[They both laughed.|Now both of them were happy.|They hugged their toys.]");
  s.lesson("[the things you have are often the best|you should love what you have]",
           "was happy with the things {h.he} had");
  s.close_together();
}

// Something is stuck in a tree, and a clever idea brings it down.
void stuck_in_tree(Scene& s) {
  s.cast_children();
  s.words.set("thing", s.words.pick({"kite", "ball", "hat", "balloon", "toy plane"}));
  s.words.set("color", s.words.pick(kBrightColors));
  const std::string& thing = s.words.get("thing").text;
  s.words.set("up", thing == "ball"        ? "{h} threw it too high"
                    : thing == "toy plane" ? "{h} threw it very hard"
                                           : "a strong wind took it");
  s.words.set("up", s.words.write(s.words.get("up").text));
  s.open();
  s.say(
      "[One windy day|One windy morning|One windy afternoon], {h} was [in the park|in the garden|"
      "on the hill] with {a color} {thing}. [It was a new {thing}.|{H.he} was having fun.|] But "
      "{up}, and the {thing} got stuck in a tall tree.");
  s.say(
      "[{h} jumped and jumped, but {h.he} was too small.|{h} tried to climb the tree, but it was "
      "too high.|{h} shook the tree, but the {thing} did not come down.]");
  s.sad("h");
  s.say(
      "Then {f} came by. `[Why are you crying|What is wrong]?` asked {f}. "
      "`My {thing} is in the tree,` said {h}.");
  s.say(
      "[{f} had an idea. {F.he} got a long stick and pushed the {thing}. Down it came!|"
      "{f} thought for a while. Then {f.he} stood on a big box and reached for the {thing}. "
      "{F.he} got it!|`I know what to do,` said {f}. {F.he} ran to get {f.his} dad. {F.his} dad "
      "had a ladder. He climbed up and got the {thing}.]");
  s.happy("h");
  s.thanks("h", "f");
  s.say(
      "[Then they played with the {thing} together, far away from the tree.|"
      "After that, they played where there were no trees.]");
  s.lesson("two heads are better than one", "stayed away from tall trees when {h.he} played");
  s.close_together();
}

}  // namespace

std::span<const Plot> thing_plots() {
  static constexpr Plot kPlots[] = {lost_toy,    share_toy, broken_toy, borrowed_toy,
                                    found_thing, present,   trade,      stuck_in_tree};
  return kPlots;
}

}  // namespace llm::synth
