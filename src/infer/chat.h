// A conversation with a model: messages in, streamed answers out.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "infer/engine.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace llm {

struct ChatOptions {
  ChatTemplate format = ChatTemplate::plain;
  std::string system;  // empty: none
  // max_tokens: of one answer; stops beside those of the template; keep_cache: set by the session
  GenerateOptions generate;
  // Each answer reads the whole conversation, not only what the cache does not hold of it.
  bool reread = false;
};

// A message and the answer to it.
struct ChatTurn {
  std::string message;
  Generation answer;
  int64_t prompt_tokens = 0;  // that the model had before it, the conversation so far included
  int64_t cached_tokens = 0;  // of these, not read for this answer as the cache held them
};

class ChatSession {
 public:
  using TextSink = std::function<void(std::string_view)>;

  // Both must outlive the session. `context`: of the model, in tokens.
  ChatSession(Engine& engine, const Tokenizer& tokenizer, int64_t context, ChatOptions options);

  // Throws Error{usage} for a system message or a template that the tokenizer cannot express.
  void check_options() const;
  // Answers. Where the conversation does not fit into the context with some room for an answer
  // (max_tokens, at most a quarter of the context), its oldest turns are forgotten, as many as have
  // to be; the system message stays. Throws Error{usage} for a message that does not fit on its own
  // or that the tokenizer cannot express; the conversation is then as it was before.
  const ChatTurn& ask(const std::string& message, const TextSink& sink);
  // Another answer to the last message. Throws Error{usage} if there is none.
  const ChatTurn& regenerate(const TextSink& sink);
  void clear();  // forgets all turns

  ChatOptions& options() { return options_; }
  std::span<const ChatTurn> turns() const { return turns_; }
  // How many of the first turns the model does not see any more.
  size_t forgotten() const { return forgotten_; }
  // Of all answers so far, the repeated ones too.
  const GenerateFigures& figures() const { return figures_; }
  int64_t answers() const { return answers_; }

 private:
  std::vector<TokenId> prompt(size_t first, const std::string& message) const;
  const ChatTurn& answer(const std::string& message, const TextSink& sink);

  Engine& engine_;
  const Tokenizer& tokenizer_;
  int64_t context_;
  ChatOptions options_;
  std::vector<ChatTurn> turns_;
  size_t forgotten_ = 0;
  int64_t answers_ = 0;
  GenerateFigures figures_;
};

}  // namespace llm
