// Examples for fine-tuning: token ids with what is to be predicted, of conversations and of texts
// with labels.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/bad_rows.h"
#include "data/instructions.h"
#include "data/labeled_texts.h"
#include "data/loader.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace llm {

struct TokenizedExample {
  std::vector<TokenId> tokens;      // at least one
  std::vector<int32_t> targets;     // per token the next one or Batch::kIgnored; or empty
  int32_t label = Batch::kIgnored;  // of a text: its index in the label set
  int64_t line = 0;                 // in the file, from 1
};

// What becomes of an example with more than max_length tokens.
enum class TooLong {
  truncate,  // its beginning is kept
  refuse,    // it is a bad row
};

// What tokenizing found; all in numbers of examples but for `longest` and the sums.
struct ExampleFigures {
  int64_t truncated = 0;
  int64_t without_target = 0;       // left out: no answer among its first max_length tokens
  int64_t longest = 0;              // tokens of the longest example, before it was truncated
  int64_t tokens = 0, targets = 0;  // of what is kept: tokens in all, and targets that count
};

struct TokenizedExamples {
  std::vector<TokenizedExample> examples;  // in the order of what they were made of
  ExampleFigures figures;
};

struct ConversationOptions {
  ChatTemplate format = ChatTemplate::alpaca;
  bool mask_prompt = false;   // only answers are targets
  int64_t max_length = 1024;  // tokens of a row
  TooLong too_long = TooLong::truncate;
};

// Next-token examples: the conversation in its template, to the marker that ends the last answer;
// where the template has none there, end-of-text if the tokenizer knows it. The n ids of an example
// give n - 1 tokens, each with the next id as its target. Answers that are not to be learned are
// never targets. Bad rows are those too long under TooLong::refuse and texts that the tokenizer
// refuses; `name` is what their file is called. Throws Error{input} as BadRows does, and at `name`
// where nothing is left.
TokenizedExamples tokenize_conversations(const Tokenizer& tokenizer,
                                         std::span<const Conversation> conversations,
                                         const ConversationOptions& options,
                                         const std::string& name, BadRows& bad);

// Classification examples: the first max_length tokens of each text, as it is, and the index of its
// label; of texts without a label, Batch::kIgnored. Errors as above, and for an unknown label.
TokenizedExamples tokenize_texts(const Tokenizer& tokenizer, std::span<const LabeledText> texts,
                                 const LabelSet& labels, int64_t max_length, TooLong too_long,
                                 const std::string& name, BadRows& bad);

// The elements at the indices, in their order: a part of a split.
template <typename T>
std::vector<T> select(std::span<const T> all, std::span<const int64_t> indices) {
  std::vector<T> chosen;
  chosen.reserve(indices.size());
  for (const int64_t index : indices) chosen.push_back(all[static_cast<size_t>(index)]);
  return chosen;
}

}  // namespace llm
