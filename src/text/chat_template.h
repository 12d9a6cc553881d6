// Conversations as one text: the templates that chat and instruction tuning share, so that a model
// is asked in the very form it was taught in.
//
//   plain    no marks: the model goes on with what is said; lines between the turns
//   book     "Below is an instruction that describes a task. Write a response that appropriately
//            completes the request." and the sections "### Instruction:", "### Input:" where there
//            is one, and "### Response:"
//   alpaca   the same sections; the first sentence speaks of the input where there is one (Taori
//            et al., "Stanford Alpaca", 2023)
//   chatml   <|im_start|>ROLE, newline, text, <|im_end|>, newline
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "text/tokenizer.h"

namespace llm {

enum class ChatTemplate { plain, book, alpaca, chatml };

// Throws Error{usage} at --template, with the names there are.
ChatTemplate chat_template_named(const std::string& name);
std::string_view chat_template_name(ChatTemplate format);

enum class ChatRole { system, user, assistant };

struct ChatMessage {
  ChatRole role = ChatRole::user;
  std::string text;
  std::string input = {};  // of a user: what the instruction is about; may be empty
};

// A piece of the text. Pieces are encoded each on its own, so that the tokens of a prompt are the
// beginning of the tokens of the prompt with its answer.
struct ChatSegment {
  std::string text;
  bool marker = false;  // the special token of this text, where the tokenizer has it
  bool answer = false;  // what the model writes: the text of an assistant and what ends it
};

// Messages: a system message or none, then those of user and assistant in turns, from a user on;
// Error{input} at `where` for another order. After a user's message at the end comes what leads to
// the answer. A system message takes the place of the first sentence of `book` and `alpaca`. Every
// message of an assistant is one segment that is no marker, even if it is empty.
std::vector<ChatSegment> chat_segments(ChatTemplate format, std::span<const ChatMessage> messages,
                                       const std::string& where);

struct ChatTokens {
  std::vector<TokenId> ids;
  std::vector<bool> answer;  // by id: what the model writes, the targets of training
};
// Text of messages is ordinary text, whatever it says. Markers that the tokenizer does not have are
// encoded as text, but end-of-text is left out.
ChatTokens encode_chat(const Tokenizer& tokenizer, std::span<const ChatSegment> segments);

// What ends an answer.
struct ChatStops {
  std::vector<std::string> texts;
  std::vector<TokenId> ids;
};
ChatStops chat_stops(ChatTemplate format, const Tokenizer& tokenizer);

// In a model folder: {"template": "alpaca"}, the template that the model was taught in.
inline constexpr const char* kChatFile = "llm_chat.json";

// The template that a model folder names: in llm_chat.json, else in its tokenizer_config.json as
// "chat_template_name", or ChatML where "chat_template" there or chat_template.jinja (Jinja, of
// transformers) writes <|im_start|>. Nothing where there is none; a Jinja template that this
// program does not know is a warning. Throws Error{input} for an unknown name.
std::optional<ChatTemplate> read_chat_template(const fs::path& directory);
// What llm_chat.json says, by itself.
ChatTemplate parse_chat_file(std::string_view text, const std::string& where);
void write_chat_file(const fs::path& directory, ChatTemplate format);

}  // namespace llm
