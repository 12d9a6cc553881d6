// Spam of the synthetic messages.
#include "data/synth_messages.h"

namespace llm::synth {

std::span<const std::string_view> spam_patterns() {
  static constexpr std::string_view kPatterns[] = {
      // Prizes.
      "[Congratulations!|CONGRATS!|WINNER!] You have [won|been chosen to get] a [{amount} cash "
      "prize|"
      "new phone|holiday for two]. Call {phone} [now|today] to claim. Code {code}.",
      "Your number was [picked|drawn] in our weekly draw. [To get your prize|To claim {amount}], "
      "text WIN to "
      "{short}.",
      "URGENT! We tried to reach you {few} times. Your {amount} prize is waiting. Call {phone}.",
      "Last chance! Your [gift card|voucher] worth {price} from {shop} runs out {day}. Claim it at "
      "{link}.",
      "You are visitor number {amount}! [Pick your free gift|Get your free tablet] at {link}.",
      "{shop}: you have {number} bonus points left. Swap them for a [free phone|gift] before "
      "{day}: {link}",
      "Answer one easy question and win {amount}! What color is the sky? Text your answer to "
      "{short}.",
      // Phones and tones.
      "Get the [newest|hottest] ringtones [free|for only 1.50 a week]! Text TONE to {short}.",
      "[Your phone can be upgraded|You can have a new phone] [today|this week] at no cost. Reply "
      "YES or call {phone}.",
      "FREE entry to our {shop} quiz! Send PLAY to {short}. Each text costs 1.50.",
      "{few} months of half price calls with {shop}. Reply CALL or ring {phone}.",
      "Your friend sent you a song. To listen, dial {phone}. Calls cost 2.00 a minute.",
      // Money.
      "Need [cash|money] [fast|today]? Loans up to {amount} with no checks. Apply at {link}.",
      "[Bad credit? No problem!|Bills too high?] Borrow {amount} in {minutes} minutes. Text CASH "
      "to {short}.",
      "[Earn|Make] {price} an hour from home. No experience needed. [Write to|Start here:] {link}",
      "You may be owed {amount} after your accident. [It is free to check.|Claim now.] Reply CLAIM "
      "or STOP.",
      "Our records show you can get {amount} back from your loan. Reply YES for details.",
      "Double your money in {few} days. {name} did it, and so can you: {link}",
      "Hot stock tip! It will go up {number} percent by {day}. Join our group at {link}.",
      "Dear friend, my uncle left {amount} thousand and I need your help to move it. Please answer "
      "to {link}.",
      // Banks, parcels and accounts that are none.
      "{bank}: your account has been locked. Please confirm your details at {link}.",
      "We saw a [strange|new] login to your account at {clock}. If it was not you, sign in at "
      "{link}.",
      "Your card ends in {code} and will be blocked {day}. Call {phone} to keep it.",
      "Your parcel could not be delivered. Please pay a fee of {few}.99 at {link}.",
      "Delivery note: your package is waiting. Choose a [new time|new day] here: {link}",
      "You have {few} unread messages. Sign in with your password to read them: {link}",
      "Your tax refund of {amount} is ready. Send your card number to {link}.",
      "Mom, I lost my phone, this is my new number. Can you send {amount} to a friend for me "
      "today? I will explain "
      "later.",
      "Your mailbox is full. Confirm your password within {few} hours at {link}.",
      // Chats, pills, clubs.
      "{name} [likes your picture|wants to meet you]! See who it is at {link}.",
      "Someone near you has a secret crush on you. Find out who: call {phone}.",
      "Hi, I saw your profile and I think you are nice. Write to me at {link}.",
      "Lonely tonight? {number} people in your town want to chat. Text CHAT to {short}.",
      "Lose {few} kilos in {few} weeks without sport. [Order the pills|Try it] at {link}.",
      "Cheap [pills|medicine], no doctor needed, sent in a plain box. {link}",
      "[Exclusive|Special] offer for you: {few} for the price of 1 at {shop}. [Only this "
      "{day}!|Show code {code}.]",
      "Play at {shop} and get {number} free spins. New players only. {link}",
      "Your subscription to {shop} starts {day} at {few}.99 a week. To stop it, call {phone}.",
      // Short and polite ones.
      "Please call {phone} about your recent order.",
      "[Good news|Good morning], your [request|loan|order] was approved. See {link}",
      "Is this you in this video? {link}",
      "Kindly check the attached bill and pay {price} by {day}: {link}",
      "Sorry we missed you. Ring {phone} before {clock} to hear your message.",
      "Hello, do you have a minute? We pay {price} for a short survey. {link}",
      "We noticed you left something in your cart. Take {number} percent off with code {code}: "
      "{link}",
      "Could you do me a quick favor? Buy {few} gift cards and send me the codes. I am in a "
      "meeting. {name}",
      "Reminder: your free trial ends today. You will pay {price} unless you reply NO to {short}.",
      "Dear customer, your points expire at {clock}. Use them now at {link}.",
      "I am a doctor in a far country and I would like to be your friend. Please write to me soon.",
      "[Do you want|Would you like] to work from home for {price} a day? Answer with your name and "
      "age.",
      "You have a rich uncle you never knew. Send your name and your bank details to {name} today.",
      "[Our team|The lottery office] has good news for you, {name}. Reply with your address to get "
      "{amount}.",
      "Boss here, my phone is broken. Send {amount} to our new supplier before {clock} and tell "
      "nobody.",
      "It's {name}. I am stuck at the airport without money. Please send {amount}, I will pay you "
      "back.",
      "We can make your site number 1. Are you free for a call on {day}? Prices from {price}.",
      "Your [brother|sister|friend] gave us your number. Only today, our [windows|solar "
      "panels|doors] are half "
      "price. Reply YES.",
      "Your car warranty is about to end. Please call {phone}.",
      "Thank you for your order of {price}. If you did not order, cancel at {link}."};
  return kPatterns;
}

}  // namespace llm::synth
