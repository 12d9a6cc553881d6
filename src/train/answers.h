// What a model that is taught to follow instructions answers by now.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "data/instructions.h"
#include "infer/engine.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/trainer.h"
#include "train/workspace.h"

namespace llm {

class Answerer {
 public:
  // Both must outlive it. at_once: sequences that run together.
  Answerer(Workspace& workspace, const Tokenizer& tokenizer, ChatTemplate format,
           int64_t most_tokens, int64_t at_once);

  // The most likely answers to the last messages, in order, without white space around them. Empty
  // where a conversation leaves no room for an answer.
  std::vector<std::string> answer(std::span<const Conversation> conversations);

 private:
  Engine engine_;
  const Tokenizer& tokenizer_;
  ChatTemplate format_;
  int64_t context_;
  GenerateOptions generate_;
};

// What was asked, the answer that was wanted and that of the model, for people.
std::vector<TextSample> answer_samples(std::span<const Conversation> conversations,
                                       std::span<const std::string> answers);
// A JSON list of the conversations with "model_response", for a judge. Throws Error{disk}.
void write_responses(const fs::path& path, std::span<const Conversation> conversations,
                     std::span<const std::string> answers);

}  // namespace llm
