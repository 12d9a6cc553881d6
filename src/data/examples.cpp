#include "data/examples.h"

#include <algorithm>
#include <exception>
#include <functional>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/parallel.h"

namespace llm {
namespace {

// What is wrong with one row; thrown where it is seen, and told by the row's file and line.
struct RowProblem {
  std::string what, hint;
};

struct Ids {
  std::vector<TokenId> ids;
  std::vector<bool> target;  // by id
};

// The k-th answer that is text belongs to the k-th message of the assistant, and the marker behind
// it to the same one.
Ids encode_conversation(const Tokenizer& tokenizer, const Conversation& conversation,
                        const ConversationOptions& options) {
  std::vector<bool> learned;  // by message of the assistant
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const bool answer = conversation.messages[i].role == ChatRole::assistant;
    if (answer) learned.push_back(conversation.learned[i]);
  }
  Ids result;
  size_t answers = 0;
  bool ends_with_marker = false;
  for (const ChatSegment& segment : chat_segments(options.format, conversation.messages, "")) {
    if (segment.answer && !segment.marker) ++answers;
    const ChatTokens tokens = encode_chat(tokenizer, {&segment, 1});
    const bool target = segment.answer ? learned[answers - 1] : !options.mask_prompt;
    result.ids.insert(result.ids.end(), tokens.ids.begin(), tokens.ids.end());
    result.target.resize(result.ids.size(), target);
    if (segment.answer) ends_with_marker = segment.marker;
  }
  if (const auto end = tokenizer.end_of_text(); end && !ends_with_marker) {
    result.ids.push_back(*end);
    result.target.push_back(learned.back());
  }
  return result;
}

// Cuts the example to max_length tokens, or says that it is too long.
void fit(TokenizedExample& example, ExampleFigures& figures, int64_t max_length, TooLong too_long) {
  const auto length = static_cast<int64_t>(example.tokens.size());
  figures.longest = std::max(figures.longest, length);
  if (length <= max_length) return;
  if (too_long == TooLong::refuse) {
    throw RowProblem{fmt::format("{} tokens, at most {} are possible", with_commas(length),
                                 with_commas(max_length)),
                     "--max-length"};
  }
  example.tokens.resize(static_cast<size_t>(max_length));
  if (!example.targets.empty()) example.targets.resize(static_cast<size_t>(max_length));
  ++figures.truncated;
}

int64_t count_targets(const TokenizedExample& example) {
  const auto ignored = std::count(example.targets.begin(), example.targets.end(), Batch::kIgnored);
  return static_cast<int64_t>(example.targets.size()) - ignored;
}

// Makes `count` examples on all threads, then looks at them one after the other: finish() fits an
// example and returns whether it is kept. line_of(i): where row i is in the file.
TokenizedExamples make_all(size_t count, const std::string& name, BadRows& bad,
                           const std::function<int64_t(size_t)>& line_of,
                           const std::function<TokenizedExample(size_t)>& make,
                           const std::function<bool(TokenizedExample&, ExampleFigures&)>& finish) {
  struct Made {
    TokenizedExample example;
    std::optional<RowProblem> problem;
  };
  std::vector<Made> made(count);
  parallel_for(static_cast<int64_t>(count), thread_count(), [&](int64_t number) {
    const auto i = static_cast<size_t>(number);
    try {
      made[i].example = make(i);
      made[i].example.line = line_of(i);
    } catch (const RowProblem& problem) {
      made[i].problem = problem;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::input) throw;
      made[i].problem = RowProblem{error.problem(), error.hint()};
    }
  });
  TokenizedExamples result;
  for (size_t i = 0; i < count; ++i) {
    TokenizedExample& example = made[i].example;
    bool kept = false;
    try {
      if (made[i].problem) throw RowProblem(*made[i].problem);
      kept = finish(example, result.figures);
    } catch (const RowProblem& problem) {
      bad.add(text_place(name, line_of(i)), problem.what, problem.hint);
    }
    if (!kept) continue;
    result.figures.tokens += static_cast<int64_t>(example.tokens.size());
    result.figures.targets += count_targets(example);
    result.examples.push_back(std::move(example));
  }
  return result;
}

}  // namespace

TokenizedExamples tokenize_conversations(const Tokenizer& tokenizer,
                                         std::span<const Conversation> conversations,
                                         const ConversationOptions& options,
                                         const std::string& name, BadRows& bad) {
  LLM_ASSERT(options.max_length > 0);
  const auto make = [&](size_t i) {
    Ids ids = encode_conversation(tokenizer, conversations[i], options);
    TokenizedExample example;
    for (size_t at = 1; at < ids.ids.size(); ++at) {
      example.targets.push_back(ids.target[at] ? ids.ids[at] : Batch::kIgnored);
    }
    if (!ids.ids.empty()) ids.ids.pop_back();
    example.tokens = std::move(ids.ids);
    return example;
  };
  const auto finish = [&](TokenizedExample& example, ExampleFigures& figures) {
    fit(example, figures, options.max_length, options.too_long);
    const bool kept = count_targets(example) > 0;
    if (!kept) ++figures.without_target;
    return kept;
  };
  TokenizedExamples result = make_all(
      conversations.size(), name, bad, [&](size_t i) { return conversations[i].line; }, make,
      finish);
  if (result.examples.empty() && result.figures.without_target > 0) {
    fail_input(name,
               fmt::format("no example has an answer among its first {} tokens",
                           with_commas(options.max_length)),
               "a larger --max-length");
  }
  require_rows(name, static_cast<int64_t>(result.examples.size()), bad);
  return result;
}

TokenizedExamples tokenize_texts(const Tokenizer& tokenizer, std::span<const LabeledText> texts,
                                 const LabelSet& labels, int64_t max_length, TooLong too_long,
                                 const std::string& name, BadRows& bad) {
  LLM_ASSERT(max_length > 0);
  const auto make = [&](size_t i) {
    TokenizedExample example;
    if (!texts[i].label.empty()) {
      const std::optional<int32_t> label = labels.find(texts[i].label);
      if (!label) {
        throw RowProblem{fmt::format("the label \"{}\" is not known", texts[i].label.substr(0, 60)),
                         fmt::format("those are known: {}", labels.joined())};
      }
      example.label = *label;
    }
    tokenizer.encode(texts[i].text, example.tokens);
    if (example.tokens.empty()) throw RowProblem{"the text has no tokens", ""};
    return example;
  };
  const auto finish = [&](TokenizedExample& example, ExampleFigures& figures) {
    fit(example, figures, max_length, too_long);
    return true;
  };
  TokenizedExamples result = make_all(
      texts.size(), name, bad, [&](size_t i) { return texts[i].line; }, make, finish);
  require_rows(name, static_cast<int64_t>(result.examples.size()), bad);
  return result;
}

}  // namespace llm
