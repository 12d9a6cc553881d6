#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "cpu_ref/cpu_backend.h"
#include "infer/chat.h"
#include "support/small_model.h"

namespace llm {
namespace {

constexpr int64_t kContext = 96;

class ChatTest : public testing::Test {
 protected:
  ChatTest() {
    test::fill_golden_weights(model_);
    options_.generate.max_tokens = 6;
    options_.generate.sampler = {.temperature = 1, .top_k = 0};
  }
  static ModelConfig config() {
    ModelConfig config = test::golden_config();
    config.vocab_size = 257;
    config.context = kContext;
    return config;
  }
  ChatSession session() { return {engine_, *tokenizer_, kContext, options_}; }
  // The same commands to a session that keeps its cache and to one that reads all of the
  // conversation for each answer: the same texts. Returns the share of the prompts' tokens that
  // the first one has not read.
  double compare(const std::vector<std::string>& commands) {
    Engine rereading(model_, *tokenizer_);
    ChatOptions options = options_;
    options.reread = true;
    ChatSession kept = session(), anew(rereading, *tokenizer_, kContext, options);
    for (const std::string& command : commands) {
      for (ChatSession* chat : {&kept, &anew}) {
        if (command == "/clear") {
          chat->clear();
        } else if (command == "/regen") {
          chat->regenerate({});
        } else if (command == "/system") {
          chat->options().system += "S";
        } else {
          chat->ask(command, {});
        }
      }
      EXPECT_EQ(kept.forgotten(), anew.forgotten());
      if (kept.turns().empty()) continue;
      const ChatTurn &turn = kept.turns().back(), &expected = anew.turns().back();
      EXPECT_EQ(turn.answer.ids, expected.answer.ids) << command;
      EXPECT_EQ(turn.answer.text, expected.answer.text) << command;
      EXPECT_EQ(turn.answer.reason, expected.answer.reason) << command;
      EXPECT_EQ(turn.prompt_tokens, expected.prompt_tokens) << command;
      EXPECT_EQ(expected.cached_tokens, 0);
    }
    EXPECT_EQ(anew.figures().cached_tokens, 0);
    EXPECT_EQ(kept.figures().prefill_tokens + kept.figures().cached_tokens,
              anew.figures().prefill_tokens);
    return static_cast<double>(kept.figures().cached_tokens) /
           static_cast<double>(anew.figures().prefill_tokens);
  }
  // The answer of the engine to a text, for answer number `number` of a session.
  Generation expected(const std::string& text, uint64_t number) {
    GenerateOptions generate = options_.generate;
    generate.seed = Random(options_.generate.seed, stream_id("chat")).bits64(number);
    const std::vector<TokenId> ids = tokenizer_->encode(text, /*allow_special=*/true);
    return engine_.generate(std::span(&ids, 1), generate).front();
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  Gpt model_{*backend_, config(), {}};
  std::unique_ptr<Tokenizer> tokenizer_ = make_byte_tokenizer();
  Engine engine_{model_, *tokenizer_};
  ChatOptions options_;
};

TEST_F(ChatTest, AnswersContinueTheWholeConversation) {
  options_.system = "S";
  ChatSession chat = session();
  std::string streamed;
  const std::string first =
      chat.ask("ab", [&](std::string_view text) { streamed += text; }).answer.text;
  EXPECT_EQ(first, expected("S\nab", 0).text);
  EXPECT_EQ(streamed, first);
  EXPECT_EQ(chat.turns()[0].prompt_tokens, 4);
  // Answers of random bytes: what was written is kept as its tokens.
  const std::string second = chat.ask("cd", {}).answer.text;
  EXPECT_EQ(second, expected("S\nab" + first + "\ncd", 1).text);
  EXPECT_EQ(chat.answers(), 2);
  EXPECT_EQ(chat.figures().decode_tokens, 12);
}

TEST_F(ChatTest, TemplatesWrapMessages) {
  options_.format = ChatTemplate::chatml;
  ChatSession chat = session();
  const std::string answer = chat.ask("ab", {}).answer.text;
  EXPECT_EQ(answer, expected("<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n", 0).text);
}

TEST_F(ChatTest, StopsOfTheTemplateAndTheUserEndAnswers) {
  options_.generate.max_tokens = 40;
  options_.generate.sampler.temperature = 0;
  ChatSession chat = session();
  const std::string whole = chat.ask("ab", {}).answer.text;
  ASSERT_GT(whole.size(), 3u);
  options_.generate.stop = {whole.substr(2, 1)};
  ChatSession stopped = session();
  const ChatTurn& turn = stopped.ask("ab", {});
  EXPECT_EQ(turn.answer.reason, FinishReason::stop_string);
  EXPECT_EQ(turn.answer.text, whole.substr(0, whole.find(whole[2])));
}

TEST_F(ChatTest, RegenerateReplacesTheLastAnswer) {
  ChatSession chat = session();
  EXPECT_THROW(chat.regenerate({}), Error);
  EXPECT_THROW(chat.ask("", {}), Error);  // nothing to continue
  const std::string first = chat.ask("ab", {}).answer.text;
  const std::string second = chat.regenerate({}).answer.text;
  EXPECT_NE(second, first);
  EXPECT_EQ(second, expected("ab", 1).text);
  ASSERT_EQ(chat.turns().size(), 1u);
  EXPECT_EQ(chat.turns()[0].message, "ab");
}

TEST_F(ChatTest, TheSameSeedGivesTheSameConversation) {
  ChatSession one = session(), two = session();
  for (const char* message : {"a", "b", "c"}) {
    EXPECT_EQ(one.ask(message, {}).answer.ids, two.ask(message, {}).answer.ids);
  }
  options_.generate.seed = 7;
  EXPECT_NE(session().ask("a", {}).answer.ids, one.turns()[0].answer.ids);
}

TEST_F(ChatTest, TheOldestTurnsAreForgottenWhole) {
  options_.system = "Keep me";
  options_.generate.sampler.temperature = 0;
  ChatSession chat = session();
  std::vector<std::string> turns;
  const auto join = [&](size_t first) {
    std::string text = "Keep me\n";
    for (size_t i = first; i < turns.size(); ++i) text += turns[i] + "\n";
    return text;
  };
  for (int i = 0; i < 12; ++i) {
    const std::string message = "message number " + std::to_string(i);
    const ChatTurn& turn = chat.ask(message, {});
    // As many turns as fit beside the room for an answer, and no more.
    const std::string prompt = join(chat.forgotten()) + message;
    EXPECT_EQ(turn.prompt_tokens, static_cast<int64_t>(prompt.size()));
    EXPECT_LE(turn.prompt_tokens + options_.generate.max_tokens, kContext);
    if (chat.forgotten() > 0) {
      EXPECT_GT(static_cast<int64_t>((join(chat.forgotten() - 1) + message).size()) +
                    options_.generate.max_tokens,
                kContext);
    }
    ASSERT_EQ(turn.answer.ids.size(), turn.answer.text.size());
    EXPECT_EQ(turn.answer.ids, expected(prompt, 0).ids);
    turns.push_back(message + turn.answer.text);
  }
  EXPECT_GT(chat.forgotten(), 5u);
  chat.clear();
  EXPECT_EQ(chat.forgotten(), 0u);
  EXPECT_EQ(chat.ask("x", {}).prompt_tokens, 9);
}

TEST_F(ChatTest, AMessageThatDoesNotFitChangesNothing) {
  ChatSession chat = session();
  chat.ask("ab", {});
  const std::vector<TokenId> before = chat.turns()[0].answer.ids;
  try {
    chat.ask(std::string(kContext, 'x'), {});
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("96"), std::string::npos) << error.what();
  }
  ASSERT_EQ(chat.turns().size(), 1u);
  EXPECT_EQ(chat.turns()[0].answer.ids, before);
  // With one token left there is an answer of two, of which the model reads the first.
  const ChatTurn& last = chat.ask(std::string(kContext - 1, 'x'), {});
  EXPECT_EQ(last.answer.ids.size(), 2u);
  EXPECT_EQ(last.answer.reason, FinishReason::context);
  EXPECT_EQ(chat.forgotten(), 1u);
}

TEST_F(ChatTest, AFailedRepetitionKeepsTheAnswer) {
  ChatSession chat = session();
  chat.ask("ab", {});
  const std::vector<TokenId> before = chat.turns()[0].answer.ids;
  chat.options().system = std::string(kContext, 'x');
  EXPECT_THROW(chat.regenerate({}), Error);
  ASSERT_EQ(chat.turns().size(), 1u);
  EXPECT_EQ(chat.turns()[0].answer.ids, before);
}

TEST_F(ChatTest, AnInterruptedAnswerStaysInTheConversation) {
  int asked = 0;
  options_.generate.interrupted = [&] { return ++asked == 3; };
  ChatSession chat = session();
  const std::string cut = chat.ask("ab", {}).answer.text;
  EXPECT_EQ(chat.turns()[0].answer.reason, FinishReason::interrupted);
  EXPECT_EQ(cut.size(), 3u);
  options_.generate.interrupted = {};
  EXPECT_EQ(chat.ask("cd", {}).answer.ids, expected("ab" + cut + "\ncd", 1).ids);
}

TEST_F(ChatTest, ATurnReadsOnlyWhatIsNew) {
  options_.system = "S";
  ChatSession chat = session();
  EXPECT_EQ(chat.ask("ab", {}).cached_tokens, 0);
  // "S\nab" and the answer but for its last token, which was drawn and not read.
  EXPECT_EQ(chat.ask("cd", {}).cached_tokens, 4 + 5);
  EXPECT_EQ(chat.figures().prefill_tokens, 4 + 1 + 3);
  EXPECT_EQ(chat.regenerate({}).cached_tokens, 4 + 6 + 3 - 1);  // all but the last token
  chat.clear();
  EXPECT_EQ(chat.ask("xy", {}).cached_tokens, 2);
  chat.options().reread = true;
  EXPECT_EQ(chat.ask("z", {}).cached_tokens, 0);
}

TEST_F(ChatTest, WhatIsKeptOfAConversationChangesNoAnswer) {
  const std::vector<std::string> commands = {
      "one",    "/regen", "two",    "/regen", "/regen", "three",  "/system", "four",
      "/regen", "five",   "/clear", "one",    "six",    "/regen", "/clear",  "seven"};
  for (const double temperature : {0.0, 1.0}) {
    for (const ChatTemplate format : {ChatTemplate::plain, ChatTemplate::chatml}) {
      options_.generate.sampler.temperature = temperature;
      options_.format = format;
      EXPECT_GT(compare(commands), 0.4) << chat_template_name(format);
    }
  }
}

TEST_F(ChatTest, WhatIsKeptChangesNothingWhereTurnsAreForgotten) {
  options_.system = "Keep me";
  options_.generate.sampler.temperature = 0;
  std::vector<std::string> commands;
  for (int i = 0; i < 12; ++i) {
    commands.push_back("message number " + std::to_string(i));
    if (i % 4 == 3) commands.emplace_back("/regen");
  }
  EXPECT_GT(compare(commands), 0.2);
}

TEST_F(ChatTest, WhatIsKeptOfStoppedAnswersIsWhatTheySay) {
  // Answers that an interruption, a text, and the full context end.
  int asked = 0;
  options_.generate.max_tokens = 40;
  options_.generate.interrupted = [&] { return ++asked % 3 == 0; };
  EXPECT_GT(compare({"ab", "cd", "/regen", "ef"}), 0.5);
  options_.generate.interrupted = {};
  options_.generate.sampler.temperature = 0;
  const std::string whole = session().ask("ab", {}).answer.text;
  ASSERT_GT(whole.size(), 5u);
  options_.generate.stop = {whole.substr(2, 2)};
  EXPECT_GT(compare({"ab", "/regen", "ab", "cd"}), 0.5);
  options_.generate.stop = {};
  options_.generate.max_tokens = 1000;
  compare({"ab", std::string(kContext - 1, 'x'), "/regen", std::string(kContext - 3, 'x'), "c"});
}

TEST_F(ChatTest, UnknownCharactersAreTheFaultOfWhatBringsThem) {
  ModelConfig letters = config();
  letters.vocab_size = 4;
  Gpt model(*backend_, letters, {});
  test::fill_golden_weights(model);
  const auto tokenizer = make_char_tokenizer("abc\n");
  Engine engine(model, *tokenizer);
  ChatSession chat(engine, *tokenizer, kContext, options_);
  EXPECT_EQ(chat.ask("abc", {}).answer.ids.size(), 6u);
  const auto culprit = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.where();
    }
    return "nobody";
  };
  EXPECT_EQ(culprit([&] { chat.ask("xyz", {}); }), "message");
  EXPECT_EQ(culprit([&] { chat.check_options(); }), "nobody");
  chat.options().format = ChatTemplate::alpaca;
  EXPECT_EQ(culprit([&] { chat.check_options(); }), "template alpaca");
  EXPECT_EQ(culprit([&] { chat.ask("abc", {}); }), "template alpaca");
  chat.options().format = ChatTemplate::plain;
  chat.options().system = "Be brief";
  EXPECT_EQ(culprit([&] { chat.check_options(); }), "system message");
  EXPECT_EQ(culprit([&] { chat.ask("abc", {}); }), "system message");
  EXPECT_EQ(chat.turns().size(), 1u);
}

}  // namespace
}  // namespace llm
