// Ham of the synthetic messages.
#include "data/synth_messages.h"

namespace llm::synth {

std::span<const std::string_view> ham_patterns() {
  static constexpr std::string_view kPatterns[] = {
      // Plans.
      "Are you free [on {day}|tomorrow|tonight]? [We could go to {place}.|{name2} wants to see a "
      "film.|I will make "
      "{food}.]",
      "Let us meet at {place} at {time}. [{name2} is coming too.|Don't be late!|I will wait "
      "outside.]",
      "I will be {minutes} minutes late, [the bus did not come|the train is slow|I missed the "
      "bus]. [Sorry!|Please "
      "wait for me.|Start without me.]",
      "Can you pick me up from {place} at {time}? [My bike is broken.|It is raining.|Call me when "
      "you are there.]",
      "We are going to {place} on {day}. [Do you want to come?|There is one free seat in the "
      "car.|Bring your "
      "{thing}.]",
      "Dinner is at {time}. I made {food}. [Come hungry!|Tell {name2} too.|Bring some juice.]",
      "Sorry, I can't come on {day}. [I have to work.|My mom is ill.|I promised to help {name2}.]",
      "What time does it start? [{name2} said {time}.|I thought it was at {time}.|Is it {time} or "
      "later?]",
      "I am at {place} now. [Where are you?|I can't see you.|I am next to the door.|Take your "
      "time.]",
      "The meeting is now at {time} [in room {number}|on {day}]. [Please tell {name2}.|Bring your "
      "notes.]",
      // Calls.
      "Call me when you get [home|this|a minute]. [It is about {name2}.|Nothing bad.|I have good "
      "news!]",
      "I tried to call you {few} times. [Is your phone off?|Is everything ok?|Please call back.]",
      "I can't talk now, I am [in class|at work|on the bus|in a meeting]. I will call you at "
      "{time}.",
      "My new number is {phone}. [Please save it.|The old one does not work anymore. {name2}]",
      "Your mom called. [She wants to know when you come home.|She asked if you won.|Call her "
      "back, please.]",
      // Words that spam likes, in innocent use.
      "We won {few} to 1! {name2} [scored twice|was so good|got a prize for the best player]. [You "
      "should have been "
      "there.|What a game!]",
      "{name2} won the [spelling|drawing|chess] prize at school! [We are so proud.|There will be "
      "cake.]",
      "The museum is free on {day}. [Shall we go?|Kids get in for nothing and we pay {price}.]",
      "[Did we win?|Do you think we can win?|I hope you win!] [The game is on {day}.|{name2} is so "
      "nervous.|Call me "
      "after the game.]",
      "There is an offer on {food} at the market, {two} for the price of 1. Do we need any?",
      "I got the job offer! [I start on {day}.|They pay more than I hoped.|I have to answer by "
      "{day}.]",
      "Can I borrow {price} until {day}? I left my wallet at home.",
      "I sent you the {price} I owe you. [Thanks again.|Did it arrive?|Check your account when you "
      "can.]",
      "Don't forget the bank closes at {time}. You still need to bring the form.",
      "Your parcel came. [I put it on your bed.|The neighbors have it.|It is very heavy, what did "
      "you buy?]",
      "The code for the door is {code}. [Don't lose it!|Press it twice.|The key is under the pot.]",
      "I bought two tickets for {day}, {price} each. [You can pay me later.|We sit in row {few}.]",
      "Is the ringtone on your phone new? [It is so loud.|It made me laugh in class.]",
      "You can claim the money for the train ticket from the office. Ask {name2} for the form.",
      "Congratulations on your [new job|exam|baby|first prize]! [So happy for you.|What great "
      "news!|{name2} told me.]",
      "Please text {name2} that the game on {day} is off.",
      "Urgent: did I leave the stove on? [Please check.|Can you look? The key is with {name2}.]",
      "I need cash for the school trip. {price} I think. [Can dad give it to me?|By {day}.]",
      "The phone shop said the repair costs {price}. [I think I will wait.|A new one would be "
      "{amount}!]",
      "Have you seen this video of {name2}'s cat? [So funny.|I watched it {few} times.]",
      "The doctor said to take the pills {two} times a day. [I feel better already.|Can you remind "
      "me?]",
      "The photos from {day} are here: {page} [My favorite is number {few}.|Look at {name2}'s "
      "face!]",
      "I found the [soup|cake] recipe: {page} [Shall we try it on {day}?|You need {few} eggs.]",
      "[The new bus times|The list of books|The dates of the games] can be found at {page}.",
      "Look at this house! {page} [It has {few} rooms.|Too expensive for us, I know.|Shall we go "
      "and see it?]",
      "Your appointment is on {day} at {clock}. Please call {phone} if you cannot come.",
      "Here is the number of the [doctor|teacher|shop]: {phone}. [Call before {time}.|Ask for "
      "{name2}.]",
      "I have a free hour at {time}. [Coffee?|Shall I call you then?|I could help you with the "
      "homework.]",
      "Thank you for your order from the school cake sale! {name2} brings it on {day}.",
      "Your book is due on {day}. [See you at the library.|I can take it back for you.]",
      // Home and family.
      "Can you buy [milk and {food}|some {food}|eggs and {food}] on the way home? [We have none "
      "left.|I forgot it.]",
      "I made {food}, it is in the fridge. [Warm it up for {few} minutes.|Leave some for {name2}.]",
      "Did you feed the [cat|dog]? [It looks at me with big eyes.|I am not home before {time}.]",
      "{name2} has a [cold|fever] and stays at home today. [Can you send the homework?|{Name2.he} "
      "sleeps a lot.]",
      "I can't find my {thing}. [Did you see it?|Did I leave it at {place}?|I looked everywhere.]",
      "You left your {thing} at {place}. [I will bring it on {day}.|{name2} has it now.]",
      "Happy birthday! [Have a great day.|{number} already? You don't look it.|See you at the "
      "party at {time}.]",
      "Grandma says thank you for the [flowers|card|{food}]. [She was so happy.|She cried a "
      "little.]",
      "Good night, sleep well. [Tomorrow will be better.|I miss you.|Don't forget to set your "
      "clock.]",
      "It is snowing here! [We built a snowman.|School is closed.|The bus does not run.]",
      // School and work.
      "Do you have the answer to question {few}? I got {number}, but {name2} got something else.",
      "The test is on {day}. [Shall we study at {place}?|I don't know anything yet.|It has "
      "{number} questions.]",
      "I finished the report. [It has {number} pages.|Can you read it before {day}?|The boss liked "
      "it.]",
      "Can you send me page {number}? [I lost my {thing}.|I was not in class on {day}.]",
      // Short ones.
      "ok, see you at {time}.",
      "[Yes|No|Maybe], [I think so|ask {name2}|I will tell you on {day}].",
      "lol, {name2} [said the same thing|fell asleep in class|ate all the {food}].",
      "[Where are you?|Are you home yet?|Did you get there?] [It is {time} already.|{name2} is "
      "waiting.|We are at "
      "{place}.]",
      "[Sorry about yesterday.|I am sorry, I was angry.] [Can we talk?|I did not mean it.|Let us "
      "meet on {day}.]",
      "That was a [great|funny|long] day. [Thanks for coming to {place}.|My feet hurt.|Let us do "
      "it again on {day}.]",
      "I am bored. [What are you doing?|Tell me something funny.|{name2} won't answer.]",
      "Just [woke up|got home|landed]. [I need coffee.|So tired.|I will call you at {time}.]"};
  return kPatterns;
}

}  // namespace llm::synth
