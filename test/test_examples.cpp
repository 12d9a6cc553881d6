#include <gtest/gtest.h>

#include "data/examples.h"
#include "support/expect_error.h"
#include "support/sample_data.h"

namespace llm::test {
namespace {

using Messages = std::vector<ChatMessage>;

const char* const kBookPrompt =
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n";

Conversation conversation(Messages messages, std::vector<bool> learned, int64_t line = 1) {
  Conversation result;
  result.messages = std::move(messages);
  result.learned = std::move(learned);
  result.line = line;
  return result;
}

Conversation asked(const std::string& question, const std::string& answer, int64_t line = 1) {
  return conversation({{ChatRole::user, question}, {ChatRole::assistant, answer}}, {false, true},
                      line);
}

const std::unique_ptr<Tokenizer>& bytes() {
  static const std::unique_ptr<Tokenizer> tokenizer = make_byte_tokenizer();
  return tokenizer;
}

TokenizedExamples tokenized(const std::vector<Conversation>& conversations,
                            const ConversationOptions& options, BadRows& bad,
                            const Tokenizer& tokenizer = *bytes()) {
  return tokenize_conversations(tokenizer, conversations, options, "f.json", bad);
}

// The targets as text, with . for those that do not count and $ for end-of-text.
std::string targets_of(const TokenizedExample& example) {
  std::string text;
  for (const int32_t target : example.targets) {
    text += target == Batch::kIgnored ? '.' : target == 256 ? '$' : static_cast<char>(target);
  }
  return text;
}

std::string targets_of(const Conversation& one, const ConversationOptions& options) {
  BadRows bad;
  return targets_of(tokenized({one}, options, bad).examples.at(0));
}

TEST(TokenizeConversations, TargetsAreTheNextTokens) {
  const std::string text = std::string(kBookPrompt) + "Add.\n\n### Response:\n3";
  BadRows bad;
  ConversationOptions options;
  options.format = ChatTemplate::book;
  const TokenizedExamples some = tokenized({asked("Add.", "3", 7)}, options, bad);
  ASSERT_EQ(some.examples.size(), 1u);
  const TokenizedExample& example = some.examples[0];
  EXPECT_EQ(bytes()->decode(example.tokens), text);
  EXPECT_EQ(targets_of(example), text.substr(1) + "$");
  EXPECT_EQ(example.line, 7);
  EXPECT_EQ(example.label, Batch::kIgnored);
  const auto length = static_cast<int64_t>(text.size());
  EXPECT_EQ(some.figures.longest, length);
  EXPECT_EQ(some.figures.tokens, length);
  EXPECT_EQ(some.figures.targets, length);
  EXPECT_EQ(some.figures.truncated, 0);
}

TEST(TokenizeConversations, MaskedPromptsAndWeights) {
  ConversationOptions options;
  options.format = ChatTemplate::book;
  options.mask_prompt = true;
  const size_t prompt =
      std::string(kBookPrompt).size() + std::string("Add.\n\n### Response:\n").size();
  EXPECT_EQ(targets_of(asked("Add.", "3"), options), std::string(prompt - 1, '.') + "3$");

  // Of two answers the first one has the weight 0: no target, masked prompt or not.
  const Conversation two = conversation({{ChatRole::user, "ab"},
                                         {ChatRole::assistant, "cd"},
                                         {ChatRole::user, "ef"},
                                         {ChatRole::assistant, "gh"}},
                                        {false, false, false, true});
  options.format = ChatTemplate::plain;
  EXPECT_EQ(targets_of(two, options), "......gh$");  // ab cd newline ef gh
  options.mask_prompt = false;
  EXPECT_EQ(targets_of(two, options), "b..\nefgh$");
  Conversation last = two;
  last.learned = {false, true, false, false};
  EXPECT_EQ(targets_of(last, options), "bcd\nef...");
  options.mask_prompt = true;
  EXPECT_EQ(targets_of(last, options), ".cd......");
}

TEST(TokenizeConversations, TheEndOfEachTemplate) {
  ConversationOptions options;
  options.mask_prompt = true;
  const auto end_of = [&](ChatTemplate format) {
    options.format = format;
    const std::string targets = targets_of(asked("Q", "A"), options);
    return targets.substr(targets.find('A'));
  };
  EXPECT_EQ(end_of(ChatTemplate::plain), "A$");
  EXPECT_EQ(end_of(ChatTemplate::book), "A$");
  EXPECT_EQ(end_of(ChatTemplate::alpaca), "A$");
  EXPECT_EQ(end_of(ChatTemplate::chatml), "A<|im_end|>.");
  // A tokenizer without end-of-text.
  const auto characters = make_char_tokenizer("QA");
  BadRows bad;
  options.format = ChatTemplate::plain;
  const TokenizedExamples some = tokenized({asked("Q", "A")}, options, bad, *characters);
  EXPECT_EQ(some.examples[0].tokens.size(), 1u);
  EXPECT_EQ(some.examples[0].targets, (std::vector<int32_t>{characters->encode("A")[0]}));
}

TEST(TokenizeConversations, LongOnesAreTruncatedOrRefused) {
  ConversationOptions options;
  options.format = ChatTemplate::plain;
  options.mask_prompt = true;
  options.max_length = 6;
  const std::vector<Conversation> some = {asked("abc", "xyz", 1), asked("abcd", "xyz", 2),
                                          asked("abcdefgh", "xyz", 3)};
  BadRows bad;
  const TokenizedExamples cut = tokenized(some, options, bad);
  ASSERT_EQ(cut.examples.size(), 2u);
  EXPECT_EQ(targets_of(cut.examples[0]), "..xyz$");
  EXPECT_EQ(targets_of(cut.examples[1]), "...xyz");
  EXPECT_EQ(cut.figures.truncated, 2);
  EXPECT_EQ(cut.figures.without_target, 1);
  EXPECT_EQ(cut.figures.longest, 11);
  EXPECT_EQ(cut.figures.tokens, 12);
  EXPECT_EQ(cut.figures.targets, 7);
  options.too_long = TooLong::refuse;
  expect_error(ErrorKind::input, "f.json: line 2: 7 tokens, at most 6 are possible",
               [&] { tokenized(some, options, bad); });
  BadRows skipped(true);
  EXPECT_EQ(tokenized(some, options, skipped).examples.size(), 1u);
  EXPECT_EQ(skipped.count(), 2);
  options.too_long = TooLong::truncate;
  options.max_length = 1;
  expect_error(ErrorKind::input, "f.json: no example has an answer among its first 1 tokens",
               [&] { tokenized(some, options, bad); });
}

TEST(TokenizeConversations, CharactersThatAreNotKnown) {
  const auto characters = make_char_tokenizer("ab");
  ConversationOptions options;
  options.format = ChatTemplate::plain;
  BadRows bad, skipped(true);
  const std::vector<Conversation> some = {asked("a", "b", 1), asked("a", "c", 9)};
  expect_error(ErrorKind::input,
               "f.json: line 9: ", [&] { tokenized(some, options, bad, *characters); });
  EXPECT_EQ(tokenized(some, options, skipped, *characters).examples.size(), 1u);
}

TEST(TokenizeTexts, TokensAndLabels) {
  const LabelSet labels({"ham", "spam"}, "test");
  const std::vector<LabeledText> texts = {
      {"spam", "win", 3}, {"ham", "hello there", 4}, {"", "x", 5}};
  BadRows bad;
  const TokenizedExamples some =
      tokenize_texts(*bytes(), texts, labels, 5, TooLong::truncate, "f.csv", bad);
  ASSERT_EQ(some.examples.size(), 3u);
  EXPECT_EQ(bytes()->decode(some.examples[0].tokens), "win");
  EXPECT_EQ(bytes()->decode(some.examples[1].tokens), "hello");
  EXPECT_EQ(some.examples[0].label, 1);
  EXPECT_EQ(some.examples[1].label, 0);
  EXPECT_EQ(some.examples[2].label, Batch::kIgnored);
  EXPECT_TRUE(some.examples[0].targets.empty());
  EXPECT_EQ(some.figures.truncated, 1);
  EXPECT_EQ(some.figures.longest, 11);
  expect_error(ErrorKind::input, "f.csv: line 4: 11 tokens, at most 5 are possible",
               [&] { tokenize_texts(*bytes(), texts, labels, 5, TooLong::refuse, "f.csv", bad); });
  const std::vector<LabeledText> unknown = {{"ham", "x", 1}, {"eggs", "y", 2}};
  expect_error(ErrorKind::input, "f.csv: line 2: the label \"eggs\" is not known", [&] {
    tokenize_texts(*bytes(), unknown, labels, 5, TooLong::truncate, "f.csv", bad);
  });
}

// Lengths and sums that Hugging Face's tokenizers gives for these files, in the book's format.
TEST(TokenizeTexts, TheBooksMessagesAndInstructions) {
  const auto messages = sample_data("SMSSpamCollection"),
             instructions = sample_data("instruction-data.json"), gpt2 = sample_data("gpt2");
  if (!messages || !instructions || !gpt2) GTEST_SKIP() << "no sample data";
  const auto tokenizer = load_tokenizer(*gpt2);
  LabeledTextOptions table;
  table.quoting = Quoting::csv;
  const LabeledTexts read = read_labeled_texts(*messages, table);
  BadRows bad;
  const TokenizedExamples texts = tokenize_texts(*tokenizer, read.texts, labels_of(read.texts, "f"),
                                                 1024, TooLong::refuse, "SMSSpamCollection", bad);
  const Conversations talks = read_conversations(*instructions);
  ConversationOptions options;
  options.format = ChatTemplate::book;
  const TokenizedExamples examples =
      tokenize_conversations(*tokenizer, talks.all, options, "instruction-data.json", bad);
  ASSERT_EQ(texts.examples.size(), 5572u);
  ASSERT_EQ(examples.examples.size(), 1100u);
  EXPECT_EQ(texts.figures.longest, 257);
  EXPECT_EQ(texts.figures.tokens, 126'942);
  EXPECT_EQ(examples.figures.longest, 91);
  EXPECT_EQ(examples.figures.tokens, 62'025);
  EXPECT_EQ(examples.figures.targets, examples.figures.tokens);
  options.mask_prompt = true;
  const TokenizedExamples masked =
      tokenize_conversations(*tokenizer, talks.all, options, "instruction-data.json", bad);
  EXPECT_EQ(masked.figures.targets, 14'439);
}

TEST(Select, ElementsInTheOrderOfTheIndices) {
  const std::vector<std::string> all = {"a", "b", "c"};
  const std::vector<int64_t> indices = {2, 0};
  EXPECT_EQ(select(std::span(all), indices), (std::vector<std::string>{"c", "a"}));
}

}  // namespace
}  // namespace llm::test
