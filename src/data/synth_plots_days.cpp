// Plots that are put together anew each time: a day of small events in any order, and a kindness
// that is passed on from one to the next until it comes back.
#include <vector>

#include "data/synth_stories.h"

namespace llm::synth {
namespace {

constexpr Text kNumbers[] = {"zero", "one",   "two",   "three", "four", "five",
                             "six",  "seven", "eight", "nine",  "ten"};

// Small events of a day out; {h} and {f} are there, and {m} is not needed. Each is complete in
// itself: what it takes out of order, it puts right.
constexpr Text kEvents[] = {
    "After a while, {h} was hungry. [{f} had {a snack}. {F.he} broke it in two and gave {h} "
    "half.|{h} had "
    "{a snack} in {h.his} bag. {H.he} shared it with {f}.]",
    "[It was hot, and {f} was thirsty.|They were thirsty from all the running.] {h} had a bottle "
    "of [cold "
    "water|juice], and they drank it [together|all up].",
    "Then they saw {a animal} {spot}. It was [eating|sleeping|looking for food]. They stood very "
    "still and "
    "watched it. [After a while, it went away.|`It is so pretty,` {f} whispered.|`Do not wake it "
    "up,` {h} "
    "whispered.]",
    "{h} stepped into the mud and lost a shoe. [{f} pulled and pulled. Plop! The shoe came "
    "out.|{f} got a stick "
    "and pulled the shoe out.] They laughed and laughed.",
    "They lay on their backs and looked at the clouds. `That one looks like {a animal2},` said "
    "{h}. `[I think it "
    "looks like|No, it looks like] {a animal},` said {f}.",
    "{f} fell and hurt {f.his} knee. [{h} washed it with cold water.|{h} put a big green leaf on "
    "it.|{h} blew on "
    "it and told {f.him} a joke.] Soon it did not hurt anymore.",
    "Then they [looked for|picked up] {find.s}. {h} found {one}, and {f} found {two}. Together "
    "they had {sum}!",
    "{h} saw {one} {animal.s}, and {f} saw {two} {animal2.s}. `I saw more than you,` said {more}.",
    "A strong wind blew {f}'s {color} hat away. {h} ran after it and caught it. [`Thank you!` said "
    "{f}.|{f} put "
    "it on again and held it with one hand.]",
    "An old [man|woman] sat {spot2} and played music. [They danced to it.|{h} sang, and {f} "
    "danced.|They "
    "listened for a long time and clapped their hands.]",
    "Then they played tag. {h} ran, and {f} tried to catch {h.him}. [{F.he} was very fast. `I got "
    "you!` {f.he} "
    "shouted.|But {h.he} was too fast. At last they both sat down and could not run anymore.]",
    "{h} found {a color} stone {spot3}. [`This is for you,` {h.he} said to {f}.|{f} wanted one "
    "too, so they looked "
    "until they found a second one.|{H.he} put it in {h.his} pocket.]",
    "Then it began to rain. They ran under a big tree and waited. [Soon the rain stopped, and the "
    "sun came out "
    "again.|The rain was over soon, and they saw a rainbow.]",
    "They made a small boat from a leaf and put it on the water of a puddle. [{h} blew, and the "
    "boat moved.|It "
    "went from one side to the other.]"};

constexpr Text kFinds[] = {"leaf", "stone", "feather", "flower", "stick", "nut"};
constexpr Text kSeen[] = {"butterfly", "bird", "squirrel", "frog", "cat", "duck", "rabbit", "bee"};

void set_day_words(Scene& s) {
  Writer& words = s.words;
  const Text animal = words.pick(kSeen);
  Text other = words.pick(kSeen);
  while (other == animal) other = words.pick(kSeen);
  const int64_t one = words.number(2, 5);
  int64_t two = words.number(2, 5);
  while (two == one) two = words.number(2, 5);
  words.set("animal", animal);
  words.set("animal2", other);
  words.set("find", words.pick(kFinds));
  words.set("snack", words.pick(kSnacks));
  words.set("color", words.pick(kBrightColors));
  words.set("one", kNumbers[one]);
  words.set("two", kNumbers[two]);
  words.set("sum", kNumbers[one + two]);
  words.set("more", words.get(one > two ? "h" : "f").text);
}

// A day out with three or four small events.
void day_out(Scene& s) {
  s.cast_children();
  s.choose_place();
  set_day_words(s);
  s.open();
  s.day();
  s.say(
      "{day}, {h} and {f} [went|walked|ran] {place.to}. [They wanted to play together.|The sky was "
      "blue.|"
      "They were happy to be together.|{h} wore {a color} shirt.|] First, they {place.doing}.");
  std::vector<Text> events(std::begin(kEvents), std::end(kEvents));
  s.words.shuffle(events);
  const int64_t count = s.words.number(2, 4);
  for (int64_t i = 0; i < count; i++) s.say(events[static_cast<size_t>(i)]);
  s.say(
      "[When the sun went down, they went home.|In the evening, {h}'s {m} called them home.|Then "
      "it was time to "
      "go home.|At last they were tired and went home.]");
  s.say(
      "[`What did you do today?` asked {h.his} {m}. `We had a lot of fun,` said {h}.|`Let us go "
      "again "
      "tomorrow,` said {f}.|`This was a good day,` said {h}.|`Can we go again soon?` asked {f}. "
      "`Yes!` said {h}.|]");
  s.close_home();
}

struct Help {
  Text trouble, help;  // of {y}, who is helped by {x}
};
constexpr Help kHelps[] = {
    {"{y} could not reach the top shelf", "{x} got a chair and took the book down for {y.him}"},
    {"{y} dropped a bag of apples", "{x} picked up the apples, one by one"},
    {"{y} had no umbrella in the rain", "{x} held {x.his} own umbrella over both of them"},
    {"{y} was carrying a heavy box", "{x} took one side of the box"},
    {"{y} had lost a glove", "{x} found it in the snow"},
    {"{y} was hungry and had no lunch", "{x} gave {y.him} half of a sandwich"},
    {"{y} could not open the gate", "{x} pushed with {y.him}, and the gate opened"},
    {"{y} was sitting all alone", "{x} sat down and told {y.him} a funny story"},
    {"{y} had fallen off {y.his} bike", "{x} helped {y.him} up and cleaned {y.his} knee"},
    {"{y} did not know the way to school", "{x} walked there with {y.him}"},
    {"{y} could not tie {y.his} shoes", "{x} showed {y.him} how to do it"}};

// One helps the next, and the last one helps the first.
void kindness(Scene& s) {
  s.cast_children();
  s.open();
  s.day();
  Writer& words = s.words;
  std::vector<Value> people = {words.get("h"), words.get("f")};
  while (people.size() < 3) {
    const bool girl = people[0].gender == Gender::she;
    Value third{std::string(girl ? words.pick(kGirls) : words.pick(kBoys)), people[0].gender, ""};
    if (third.text != people[0].text) people.push_back(third);
  }
  std::vector<Help> helps(std::begin(kHelps), std::end(kHelps));
  words.shuffle(helps);
  for (size_t i = 0; i < people.size(); i++) {
    words.set("x", people[i]);
    words.set("y", people[(i + 1) % people.size()]);
    words.set("trouble", words.write(helps[i].trouble));
    words.set("help", words.write(helps[i].help));
    if (i == 0)
      s.say("{day}, {h} [saw {a f.kind}. {F.his} name was {f}.|met {f} on the way to school.]");
    if (i == 1) s.say("[Later that day|The next day|In the afternoon], {f} met {y}.");
    if (i == 2) s.say("[A few days later|The next week|On the way home], {x} saw {h}.");
    s.say("{trouble}. [So {help}.|{help}.]");
    if (i == 0)
      s.say(
          "`Thank you,` said {f}. `What can I do for you?` `[Just be kind to someone else|Help "
          "someone else one day],` said {h}.");
    if (i == 1)
      s.say(
          "[{f} remembered what {h} had said.|`How can I thank you?` asked {y}.] `[Now it is your "
          "turn to "
          "help someone|Be kind to someone else],` said {f}.");
  }
  words.set("last", people[2]);
  s.happy("h");
  s.say(
      "`{f} helped me, and now I help you,` said {last}. {h} [laughed|smiled]. `[That was "
      "me|I told {f} the same],` {h.he} said.");
  s.say(
      "[A kind act always comes back.|So the kindness came back to {h}.|From that day on, all "
      "three were friends.]");
}

}  // namespace

std::span<const Plot> day_plots() {
  // The same ones several times: they have more to say than the others.
  static constexpr Plot kPlots[] = {day_out, day_out,  day_out, day_out,
                                    day_out, kindness, kindness};
  return kPlots;
}

}  // namespace llm::synth
