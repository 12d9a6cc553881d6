// Conversations to learn from, in the forms that people have them:
//
//   {"instruction": "...", "input": "...", "output": "..."}   input may be missing or empty
//   {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
//
// the second one with a system message in front or without, over any number of turns, and with
// "weight": 0 on the answers that are not to be learned (OpenAI's form for fine-tuning). Other keys
// are ignored. A file is a JSON list of such objects or JSONL, one object per line; both forms may
// be in one file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/bad_rows.h"
#include "data/text_input.h"
#include "text/chat_template.h"

namespace llm {

// A system message or none, then those of user and assistant in turns; the last is an assistant's.
struct Conversation {
  std::vector<ChatMessage> messages;
  std::vector<bool> learned;  // by message: an answer that is a target of training
  int64_t line = 0;           // in the file, from 1

  // What leads to the last answer.
  std::span<const ChatMessage> prompt() const {
    return std::span(messages).first(messages.size() - 1);
  }
  const std::string& answer() const { return messages.back().text; }
};

struct Conversations {
  std::vector<Conversation> all;  // in file order
  BadRows bad;
};

// Bad rows: no JSON, none of the forms, an empty instruction or answer, messages in another order,
// nothing to learn. Throws Error{input} for the first of them with file and line, or counts them;
// and where no usable one is in the file. A list that is no JSON is an error in any case.
Conversations read_conversations(const fs::path& path, bool skip_bad_rows = false);
Conversations read_conversations(ByteSource source, const std::string& name,
                                 bool skip_bad_rows = false);

// In the first form if it can be said in it, else in the second: what is read back as the same.
Json conversation_json(const Conversation& conversation);

}  // namespace llm
