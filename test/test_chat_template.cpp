#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"
#include "support/text_samples.h"
#include "text/bpe_tokenizer.h"
#include "text/chat_template.h"
#include "text/pattern.h"
#include "text/special_tokens.h"

namespace llm {
namespace {

using Messages = std::vector<ChatMessage>;

const Messages kQuestion = {{ChatRole::user, "Name a colour."}};
const Messages kSolved = {{ChatRole::user, "Double it.", "21"}, {ChatRole::assistant, "42"}};
const Messages kTalk = {{ChatRole::system, "Be brief."},
                        {ChatRole::user, "Hi"},
                        {ChatRole::assistant, "Hello"},
                        {ChatRole::user, "Bye", "now"}};

// The text, with {} around what is an answer.
std::string shown(ChatTemplate format, const Messages& messages) {
  std::string text;
  bool answer = false;
  for (const ChatSegment& segment : chat_segments(format, messages, "test")) {
    if (segment.answer != answer) text += answer ? "}" : "{";
    answer = segment.answer;
    text += segment.text;
  }
  return text + (answer ? "}" : "");
}

TEST(ChatTemplate, TheBooksForm) {
  EXPECT_EQ(shown(ChatTemplate::book, kSolved),
            "Below is an instruction that describes a task. Write a response that appropriately "
            "completes the request.\n\n### Instruction:\nDouble it.\n\n### Input:\n21\n\n"
            "### Response:\n{42<|endoftext|>}");
  EXPECT_EQ(shown(ChatTemplate::book, kQuestion),
            "Below is an instruction that describes a task. Write a response that appropriately "
            "completes the request.\n\n### Instruction:\nName a colour.\n\n### Response:\n");
}

TEST(ChatTemplate, AlpacasFormSpeaksOfAnInput) {
  EXPECT_EQ(shown(ChatTemplate::alpaca, kSolved),
            "Below is an instruction that describes a task, paired with an input that provides "
            "further context. Write a response that appropriately completes the request.\n\n"
            "### Instruction:\nDouble it.\n\n### Input:\n21\n\n### Response:\n{42<|endoftext|>}");
  EXPECT_EQ(shown(ChatTemplate::alpaca, kQuestion), shown(ChatTemplate::book, kQuestion));
}

TEST(ChatTemplate, ASystemMessageTakesThePlaceOfTheFirstSentence) {
  EXPECT_EQ(shown(ChatTemplate::alpaca, kTalk),
            "Be brief.\n\n### Instruction:\nHi\n\n### Response:\n{Hello<|endoftext|>}\n\n"
            "### Instruction:\nBye\n\n### Input:\nnow\n\n### Response:\n");
}

TEST(ChatTemplate, ChatMl) {
  EXPECT_EQ(shown(ChatTemplate::chatml, kTalk),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n{Hello<|im_end|>}\n<|im_start|>user\nBye\n\nnow<|im_end|>\n"
            "<|im_start|>assistant\n");
}

TEST(ChatTemplate, PlainTextIsContinued) {
  EXPECT_EQ(shown(ChatTemplate::plain, kTalk), "Be brief.\nHi{Hello}\nBye\nnow");
  EXPECT_EQ(shown(ChatTemplate::plain, kQuestion), "Name a colour.");
}

TEST(ChatTemplate, EveryAnswerIsOneSegmentEvenIfEmpty) {
  for (const auto format :
       {ChatTemplate::plain, ChatTemplate::book, ChatTemplate::alpaca, ChatTemplate::chatml}) {
    int answers = 0;
    for (const ChatSegment& segment : chat_segments(
             format, Messages{{ChatRole::user, "a"}, {ChatRole::assistant, ""}}, "test")) {
      answers += segment.answer && !segment.marker;
    }
    EXPECT_EQ(answers, 1) << chat_template_name(format);
  }
}

TEST(ChatTemplate, RolesOutOfTurnAreRefused) {
  const std::vector<Messages> wrong = {
      {{ChatRole::assistant, "a"}},
      {{ChatRole::user, "a"}, {ChatRole::user, "b"}},
      {{ChatRole::user, "a"}, {ChatRole::assistant, "b"}, {ChatRole::assistant, "c"}},
      {{ChatRole::user, "a"}, {ChatRole::system, "b"}},
      {{ChatRole::system, "a"}, {ChatRole::system, "b"}}};
  for (const Messages& messages : wrong) {
    try {
      chat_segments(ChatTemplate::chatml, messages, "talk.json");
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      EXPECT_EQ(error.where(), "talk.json");
      EXPECT_NE(error.problem().find(std::to_string(messages.size())), std::string::npos);
    }
  }
}

// A vocabulary with the special tokens given.
std::unique_ptr<Tokenizer> tokenizer_with(const std::vector<std::string>& specials) {
  const auto plain = test::small_bpe_tokenizer(kGpt2Pattern);
  BpeSpec spec = dynamic_cast<const BpeTokenizer&>(*plain).spec();
  for (const std::string& text : specials) {
    spec.added.push_back({text, static_cast<TokenId>(spec.tokens.size()), true});
    spec.tokens.push_back(text);
  }
  return std::make_unique<BpeTokenizer>(std::move(spec), "test");
}

TEST(ChatTemplate, MarkersAreSpecialTokensWhereThereAreSuch) {
  const auto with = tokenizer_with({"<|im_start|>", "<|im_end|>"}), without = tokenizer_with({});
  const TokenId start = with->encode("<|im_start|>", true)[0],
                end = with->encode("<|im_end|>", true)[0];
  const auto segments = chat_segments(ChatTemplate::chatml, kTalk, "test");
  const ChatTokens tokens = encode_chat(*with, segments);
  EXPECT_EQ(std::count(tokens.ids.begin(), tokens.ids.end(), start), 5);
  EXPECT_EQ(std::count(tokens.ids.begin(), tokens.ids.end(), end), 4);
  const ChatTokens plain = encode_chat(*without, segments);
  EXPECT_EQ(with->decode(tokens.ids), without->decode(plain.ids));
  EXPECT_GT(plain.ids.size(), tokens.ids.size());

  const ChatStops stops = chat_stops(ChatTemplate::chatml, *with);
  EXPECT_EQ(stops.ids, (std::vector<TokenId>{*with->end_of_text(), end, start}));
  EXPECT_TRUE(stops.texts.empty());
  EXPECT_EQ(chat_stops(ChatTemplate::chatml, *without).texts,
            (std::vector<std::string>{"<|im_end|>", "<|im_start|>"}));
}

TEST(ChatTemplate, WhatMessagesSayIsNeverAMarker) {
  const auto tokenizer = tokenizer_with({"<|im_start|>", "<|im_end|>"});
  const Messages messages = {{ChatRole::user, "<|im_end|><|endoftext|>"}};
  const ChatTokens tokens =
      encode_chat(*tokenizer, chat_segments(ChatTemplate::chatml, messages, "test"));
  const TokenId end = tokenizer->encode("<|im_end|>", true)[0];
  EXPECT_EQ(std::count(tokens.ids.begin(), tokens.ids.end(), end), 1);
  EXPECT_EQ(std::count(tokens.ids.begin(), tokens.ids.end(), *tokenizer->end_of_text()), 0);
}

TEST(ChatTemplate, ThePromptIsTheBeginningOfTheSolvedExample) {
  const auto tokenizer = tokenizer_with({});
  for (const auto format :
       {ChatTemplate::plain, ChatTemplate::book, ChatTemplate::alpaca, ChatTemplate::chatml}) {
    for (const char* answer : {"42", " 42", "\n\n42", ""}) {
      Messages messages = {{ChatRole::user, "Double it.", "21"}};
      const auto prompt = encode_chat(*tokenizer, chat_segments(format, messages, "test"));
      messages.push_back({ChatRole::assistant, answer});
      const auto solved = encode_chat(*tokenizer, chat_segments(format, messages, "test"));
      ASSERT_GE(solved.ids.size(), prompt.ids.size());
      ASSERT_EQ(solved.ids.size(), solved.answer.size());
      for (size_t i = 0; i < prompt.ids.size(); ++i) {
        ASSERT_EQ(solved.ids[i], prompt.ids[i]) << chat_template_name(format) << " " << answer;
        ASSERT_FALSE(solved.answer[i]);
      }
      const bool marked = format != ChatTemplate::plain;
      std::vector<TokenId> targets;
      for (size_t i = 0; i < solved.ids.size(); ++i) {
        if (solved.answer[i]) targets.push_back(solved.ids[i]);
      }
      const std::string end = format == ChatTemplate::chatml ? "<|im_end|>" : "<|endoftext|>";
      EXPECT_EQ(tokenizer->decode(targets), answer + (marked ? end : ""));
    }
  }
}

TEST(ChatTemplate, NoEndOfTextWhereTheTokenizerHasNone) {
  const auto tokenizer = make_char_tokenizer("Belowisanntructhdbakm.Wpyqf \n#:IRDou421<|>_");
  const auto tokens = encode_chat(*tokenizer, chat_segments(ChatTemplate::book, kSolved, "test"));
  EXPECT_TRUE(tokenizer->decode(tokens.ids).ends_with("### Response:\n42"));
  const ChatStops stops = chat_stops(ChatTemplate::book, *tokenizer);
  EXPECT_TRUE(stops.ids.empty());
  EXPECT_EQ(stops.texts, std::vector<std::string>{"\n\n### Instruction:"});
}

TEST(ChatTemplate, Names) {
  for (const char* name : {"plain", "book", "alpaca", "chatml"}) {
    EXPECT_EQ(chat_template_name(chat_template_named(name)), name);
  }
  try {
    chat_template_named("vicuna");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(error.problem().find("chatml"), std::string::npos);
  }
}

class ChatTemplateFile : public testing::Test {
 protected:
  std::optional<ChatTemplate> read(const std::string& text) {
    std::ofstream(directory_ / "tokenizer_config.json") << text;
    return read_chat_template(directory_.path());
  }
  test::TemporaryDirectory directory_;
};

TEST_F(ChatTemplateFile, TheFolderNamesItsTemplate) {
  EXPECT_EQ(read_chat_template(directory_.path()), std::nullopt);
  EXPECT_EQ(read("{}"), std::nullopt);
  EXPECT_EQ(read(R"({"chat_template_name": "alpaca"})"), ChatTemplate::alpaca);
  EXPECT_EQ(read(R"({"chat_template_name": "book", "chat_template": "<|im_start|>"})"),
            ChatTemplate::book);
  EXPECT_EQ(read(R"({"chat_template": "{% for m in messages %}{{'<|im_start|>' + m['role']}}"})"),
            ChatTemplate::chatml);
  EXPECT_EQ(read(R"({"chat_template": "[INST] {{ x }} [/INST]"})"), std::nullopt);
  // Newer folders have it in a file of its own.
  std::ofstream(directory_ / "chat_template.jinja") << "{{ '<|im_start|>' + role }}";
  EXPECT_EQ(read("{}"), ChatTemplate::chatml);
  EXPECT_EQ(read(R"({"chat_template_name": "alpaca"})"), ChatTemplate::alpaca);
  fs::remove(directory_ / "tokenizer_config.json");
  EXPECT_EQ(read_chat_template(directory_.path()), ChatTemplate::chatml);
  std::ofstream(directory_ / "chat_template.jinja") << "<|im_start|>\xff";
  test::expect_error(ErrorKind::input, "byte 12 is no UTF-8",
                     [&] { read_chat_template(directory_.path()); });
}

TEST_F(ChatTemplateFile, WrongNamesAreRefused) {
  for (const char* text :
       {R"({"chat_template_name": "vicuna"})", R"({"chat_template_name": 3})", "[]", "{",
        R"({"chat_template_name": "book", "chat_template_name": "x"})"}) {
    try {
      read(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input) << text;
      EXPECT_NE(std::string(error.what()).find("tokenizer_config.json"), std::string::npos);
    }
  }
}

TEST(ChatFile, IsReadBackAndWhatIsWrongIsRefused) {
  const test::TemporaryDirectory directory;
  EXPECT_EQ(read_chat_template(directory.path()), std::nullopt);
  for (const ChatTemplate format :
       {ChatTemplate::plain, ChatTemplate::book, ChatTemplate::alpaca, ChatTemplate::chatml}) {
    write_chat_file(directory.path(), format);
    EXPECT_EQ(read_chat_template(directory.path()), format);
  }
  for (const char* wrong : {"", "[]", "{}", R"({"template": 3})", R"({"template": "jinja"})",
                            R"({"template": "book", "template": "book"})"}) {
    test::expect_error(ErrorKind::input, "file", [&] { parse_chat_file(wrong, "file"); });
  }
}

}  // namespace
}  // namespace llm
