#include "data/synth_messages.h"

#include <fmt/format.h>

#include "data/synth_world.h"

namespace llm::synth {
namespace {

constexpr Text kMeetingPlaces[] = {"the park",     "the station", "the library",  "school",
                                   "the cafe",     "my place",    "the gym",      "the pool",
                                   "grandma's",    "the market",  "the office",   "the cinema",
                                   "the bus stop", "the beach",   "the hospital", "the bank"};
constexpr Text kFoods[] = {"pizza", "soup",  "rice", "pasta", "fish",    "salad",
                           "curry", "bread", "cake", "eggs",  "noodles", "chicken"};
constexpr Text kThings[] = {"book",   "phone",  "keys",   "bag",  "umbrella", "jacket",
                            "laptop", "ticket", "camera", "bike", "charger",  "wallet"};
constexpr Text kShops[] = {"MegaMart",    "TopShop24",  "EasyBuy",   "QuickDeal",
                           "SuperSave",   "FunPhone",   "TeleWorld", "StarMobile",
                           "HappyCasino", "BestOffers", "PrizeClub", "GreenPharma"};
constexpr Text kBanks[] = {"First Bank", "City Bank", "National Bank",
                           "Your bank",  "PayFast",   "Union Savings"};
constexpr Text kSites[] = {"win-now",      "prize-club", "fast-cash",  "my-parcel",
                           "secure-login", "top-deal",   "love-chat",  "free-tones",
                           "bank-check",   "gift-zone",  "quick-loan", "best-pills"};
// Pages that friends send each other.
constexpr Text kPages[] = {"green-lane", "old-mill",   "river-side", "blue-door",
                           "north-hill", "our-street", "red-kite",   "high-school"};
constexpr Text kDomainEndings[] = {"com", "net", "info", "biz", "co"};

std::string digits(Writer& words, int count) {
  std::string text;
  for (int i = 0; i < count; i++) text += static_cast<char>('0' + words.number(0, 9));
  return text;
}

// One draw per statement: the order in which a compiler evaluates arguments is its own choice.
std::string web_address(Writer& words, Text site) {
  const std::string suffix = words.chance(30) ? digits(words, 2) : "";
  const Text ending = words.pick(kDomainEndings);
  const int64_t page = words.number(10, 999);
  return fmt::format("{}{}.{}/{}", site, suffix, ending, page);
}

void set_message_words(Writer& words) {
  words.set("name", words.chance(50) ? words.pick(kGirls) : words.pick(kBoys));
  const bool girl = words.chance(50);
  words.set("name2", Value{std::string(girl ? words.pick(kGirls) : words.pick(kBoys)),
                           girl ? Gender::she : Gender::he,
                           {}});
  words.set("place", words.pick(kMeetingPlaces));
  words.set("food", words.pick(kFoods));
  words.set("thing", words.pick(kThings));
  words.set("day", words.pick(kWeekdays));
  words.set("shop", words.pick(kShops));
  words.set("bank", words.pick(kBanks));
  const int64_t hour = words.number(1, 12);
  const Text minutes = words.pick({"", ":15", ":30", ":45", ""});
  words.set("time", fmt::format("{}{}", hour, minutes));
  words.set("clock", fmt::format("{}{}", hour, words.chance(50) ? "pm" : "am"));
  words.set("few", std::to_string(words.number(2, 9)));
  words.set("two", std::to_string(words.number(2, 4)));
  words.set("number", std::to_string(words.number(10, 99)));
  words.set("minutes", std::to_string(words.number(1, 12) * 5));
  words.set("price", std::to_string(words.number(1, 40) * 5));
  const int64_t unit = words.chance(50) ? 100 : 500;
  words.set("amount", std::to_string(words.number(1, 20) * unit));
  words.set("phone", "0" + digits(words, 10));
  words.set("short", std::to_string(words.number(80000, 89999)));
  words.set("code", digits(words, 4));
  words.set("page", web_address(words, words.pick(kPages)));
  words.set("link", web_address(words, words.pick(kSites)));
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// How people type in a hurry: everything small, short forms, no full stop.
void type_carelessly(std::string& text, Writer& words) {
  if (words.chance(60)) {
    for (char& letter : text) {
      if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter + 32);
    }
  }
  if (words.chance(50)) {
    replace_all(text, " you ", " u ");
    replace_all(text, " your ", " ur ");
    replace_all(text, " are ", " r ");
    replace_all(text, " tomorrow", " tmrw");
    replace_all(text, " please", " pls");
    replace_all(text, " because ", " cos ");
  }
  if (text.ends_with('.') && words.chance(70)) text.pop_back();
}

}  // namespace

std::string write_message(RandomSequence& random, bool spam) {
  static constexpr std::string_view kGreetings[] = {"Hi {name}! ", "Hey! ",        "Hello {name}. ",
                                                    "Hi! ",        "Hey {name}! ", "Hi {name}. "};
  static constexpr std::string_view kHamEnds[] = {
      " See you!", " Love you.", " Thanks!", " Talk later.", " :)", " x", " Take care.", " Haha."};
  static constexpr std::string_view kSpamEnds[] = {
      " Reply STOP to end.", " 18+ only.",       " Terms apply.",
      " Offer ends {day}.",  " Don't miss out!", " Thank you.",
      " Ref {code}.",        " Hurry!",          " Kind regards, {name}."};
  Writer words(random);
  set_message_words(words);
  std::string pattern(spam ? words.pick(spam_patterns()) : words.pick(ham_patterns()));
  const bool greeted = words.chance(spam ? 15 : 22);
  if (greeted) pattern = std::string(words.pick(kGreetings)) + pattern;
  const bool ended = words.chance(25);
  if (ended) pattern += spam ? words.pick(kSpamEnds) : words.pick(kHamEnds);
  std::string text = words.write(pattern);
  if (words.chance(spam ? 12 : 35)) type_carelessly(text, words);
  return text;
}

}  // namespace llm::synth
