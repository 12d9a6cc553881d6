// Multiple-choice questions: a context and endings, of which the model is to find the right one the
// most likely. Zero- and few-shot.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "text/tokenizer.h"
#include "train/token_scorer.h"

namespace llm {

struct ChoiceItem {
  std::string context;
  std::vector<std::string> endings;  // at least two, none empty
  int64_t label = 0;                 // which is right
  std::string where;                 // "FILE: line 12", for messages
};

// One JSON object per line: "ctx", "endings" and "label", the number of the right ending, from 0
// (also as text, "0"). More keys are ignored, empty lines skipped. Throws Error{input} with file
// and line.
std::vector<ChoiceItem> read_choice_items(const fs::path& path);
std::vector<ChoiceItem> parse_choice_items(std::string_view text, const std::string& name);

struct ShotOptions {
  int64_t shots = 0;
  uint64_t seed = 42;  // which items are examples, and their order
};

// Puts solved examples before the questions. The same first `shots` items of the pool, in an order
// that the seed decides, stand before every question; where one of them is the question itself, the
// next item takes its place.
class ShotPrompts {
 public:
  // The pool must outlive this. Both throw Error{usage} if it cannot give that many examples.
  ShotPrompts(std::span<const ChoiceItem> pool, const ShotOptions& options);
  // The examples for a question, each with its right ending and a blank line behind it.
  std::string examples(const ChoiceItem& question) const;

 private:
  std::span<const ChoiceItem> pool_;
  int64_t shots_;
  std::vector<size_t> order_;  // of the pool; empty without shots
};

// The two texts of a question with one of its endings. A space goes between them unless one of them
// brings white space along; spaces at the end of the context belong to the ending, whose first word
// is then the token that the model knows.
struct ChoiceText {
  std::string context, ending;
};
ChoiceText choice_text(const ChoiceItem& item, size_t ending);

struct ChoiceScore {
  int64_t items = 0, endings = 0;
  int64_t right = 0;             // by the sum of the log-probabilities of an ending's tokens
  int64_t right_normalized = 0;  // by that sum divided by the ending's bytes
  int64_t truncated = 0;         // endings whose examples or context lost their beginning
  double accuracy() const;
  double accuracy_normalized() const;
};

// Scores all endings of all items; those of one length in tokens together, with the first of equal
// scores as the answer. What does not fit into scorer.length() loses its beginning. An empty
// context is end-of-text. Throws Error{input} naming the item where the tokenizer cannot express a
// text, where an ending alone does not fit, or where there is nothing before it.
ChoiceScore score_choices(TokenScorer& scorer, const Tokenizer& tokenizer,
                          std::span<const ChoiceItem> items, const ShotPrompts& prompts,
                          const std::function<void(int64_t endings_done)>& progress = {});

}  // namespace llm
