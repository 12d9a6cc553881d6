#include <gtest/gtest.h>

#include <algorithm>

#include "data/instructions.h"
#include "data/synth.h"
#include "support/byte_source.h"
#include "support/expect_error.h"
#include "support/sample_data.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

using Rows = std::vector<std::string>;

Conversations read_chats(const std::string& text, bool skip = false) {
  return read_conversations(source_of(text), "f.json", skip);
}

// "LINE ROLE[/input]: text" per message; + marks what is learned.
Rows shown(const Conversation& conversation) {
  Rows rows;
  const char* roles[] = {"system", "user", "assistant"};
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const ChatMessage& message = conversation.messages[i];
    rows.push_back(fmt::format("{} {}{}{}: {}", conversation.line,
                               roles[static_cast<int>(message.role)],
                               message.input.empty() ? "" : "/" + message.input,
                               conversation.learned[i] ? "+" : "", message.text));
  }
  return rows;
}

TEST(ReadConversations, Instructions) {
  const std::string first = "{\"instruction\": \"Add.\", \"input\": \"1 2\", \"output\": \"3\"}",
                    second = "{\"output\": \"Red\", \"instruction\": \"A colour?\", \"id\": [7]}",
                    third = "{\"instruction\": \"Go\", \"input\": null, \"output\": \"ok\"}",
                    fourth = "{\"instruction\": \"Go\", \"input\": \" \\n\", \"output\": \" ok\"}";
  for (const std::string& text :
       {"[" + first + ",\n" + second + ",\n" + third + ",\n" + fourth + "]",
        first + "\n" + second + "\n" + third + "\n" + fourth + "\n"}) {
    const Conversations read_back = read_chats(text);
    ASSERT_EQ(read_back.all.size(), 4u);
    EXPECT_EQ(shown(read_back.all[0]), (Rows{"1 user/1 2: Add.", "1 assistant+: 3"}));
    EXPECT_EQ(shown(read_back.all[1]), (Rows{"2 user: A colour?", "2 assistant+: Red"}));
    EXPECT_EQ(shown(read_back.all[2]), (Rows{"3 user: Go", "3 assistant+: ok"}));
    EXPECT_EQ(shown(read_back.all[3]), (Rows{"4 user: Go", "4 assistant+:  ok"}));
    EXPECT_EQ(read_back.all[0].prompt().size(), 1u);
    EXPECT_EQ(read_back.all[0].answer(), "3");
  }
}

std::string message(const std::string& role, const std::string& content,
                    const std::string& more = "") {
  return fmt::format("{{\"role\": \"{}\", \"content\": \"{}\"{}}}", role, content, more);
}

std::string talk(const Rows& messages) {
  return fmt::format("{{\"messages\": [{}]}}", fmt::join(messages, ", "));
}

TEST(ReadConversations, Messages) {
  const std::string user = message("user", "Hi"), answer = message("assistant", "Hello"),
                    system = message("system", "Be brief."),
                    unlearned = message("assistant", "Hm", ", \"weight\": 0"),
                    weighted = message("assistant", "Yes", ", \"weight\": 1");
  const std::string text = talk({user, answer}) + "\n" + talk({system, user, answer}) + "\n" +
                           talk({user, unlearned, user, weighted}) + "\n" +
                           talk({message("developer", "D"), user, weighted, user, unlearned}) +
                           "\n" + talk({message("system", ""), user, answer}) + "\n";
  for (const std::string& file : {text, "[" + [&] {
                                    std::string list = text.substr(0, text.size() - 1);
                                    for (size_t at = 0;
                                         (at = list.find('\n', at)) != std::string::npos; at += 2) {
                                      list.replace(at, 1, ",\n");
                                    }
                                    return list;
                                  }() + "]"}) {
    const Conversations some = read_chats(file);
    ASSERT_EQ(some.all.size(), 5u);
    EXPECT_EQ(shown(some.all[0]), (Rows{"1 user: Hi", "1 assistant+: Hello"}));
    EXPECT_EQ(shown(some.all[1]),
              (Rows{"2 system: Be brief.", "2 user: Hi", "2 assistant+: Hello"}));
    EXPECT_EQ(shown(some.all[2]),
              (Rows{"3 user: Hi", "3 assistant: Hm", "3 user: Hi", "3 assistant+: Yes"}));
    EXPECT_EQ(shown(some.all[3]), (Rows{"4 system: D", "4 user: Hi", "4 assistant+: Yes",
                                        "4 user: Hi", "4 assistant: Hm"}));
    EXPECT_EQ(shown(some.all[4]), (Rows{"5 user: Hi", "5 assistant+: Hello"}));
    for (const Conversation& one : some.all) {
      Conversation again = read_chats(to_line(conversation_json(one))).all[0];
      again.line = one.line;
      EXPECT_EQ(shown(again), shown(one));
    }
  }
}

TEST(ReadConversations, BadRecordsAreNamed) {
  const std::string good = "{\"instruction\": \"Go\", \"output\": \"ok\"}\n";
  const auto refuse = [&](const std::string& record, const std::string& part) {
    expect_error(ErrorKind::input, "f.json: line 2" + part,
                 [&] { read_chats(good + record + "\n"); });
    expect_error(ErrorKind::input, "f.json: line 2" + part,
                 [&] { read_chats("[" + good.substr(0, good.size() - 1) + ",\n" + record + "]"); });
  };
  refuse("{\"instruction\": \"Go\"}", ": \"output\": is missing");
  refuse("{\"instruction\": \"Go\", \"output\": \" \"}", ": \"output\": is empty");
  refuse("{\"instruction\": \"\", \"output\": \"x\"}", ": \"instruction\": is empty");
  refuse("{\"instruction\": 5, \"output\": \"x\"}", ": \"instruction\": expected a string");
  refuse("{\"instruction\": \"a\", \"input\": [], \"output\": \"x\"}",
         ": \"input\": expected a str");
  refuse("{\"output\": \"x\"}", ": neither \"instruction\" nor \"messages\" is there; its keys: o");
  refuse("{}", ": neither \"instruction\" nor \"messages\" is there; its keys: none");
  refuse("\"text\"", ": expected a JSON object, found string");
  const std::string user = message("user", "Hi"), answer = message("assistant", "Hello");
  refuse(talk({}), ": \"messages\": the last one is not of the assistant");
  refuse(talk({user}), ": \"messages\": the last one is not of the assistant");
  refuse(talk({answer}), ": message 1 is of the assistant, expected one of the user");
  refuse(talk({user, user, answer}), ": message 2 is of the user");
  refuse(talk({user, message("tool", "x")}), ": message 2: \"role\": \"tool\" is none of system");
  refuse(talk({user, message("assistant", "")}), ": message 2: \"content\": is empty");
  refuse("{\"messages\": [{\"role\": \"user\"}]}", ": message 1: \"content\": is missing");
  refuse("{\"messages\": [\"Hi\"]}", ": message 1: expected a JSON object");
  refuse("{\"messages\": \"Hi\"}", ": \"messages\": expected an array");
  refuse(talk({user, message("assistant", "x", ", \"weight\": 2")}), ": message 2: \"weight\": 2");
  refuse(talk({user, message("assistant", "x", ", \"weight\": 0")}),
         ": \"messages\": there is no answer to learn");
  refuse("{\"instruction\": \"a\" \"output\": \"x\"}", ", column 28: not valid JSON");
  expect_error(ErrorKind::input, "--skip-bad-rows", [] { read_chats("{}"); });
  expect_error(ErrorKind::input, "f.json: there are no rows in it", [] { read_chats("[]"); });
}

TEST(ReadConversations, BadRecordsCanBeCounted) {
  const std::string good = "{\"instruction\": \"Go\", \"output\": \"ok\"}";
  const Conversations lines = read_chats(good + "\n{broken\n{}\n" + good, true);
  EXPECT_EQ(lines.all.size(), 2u);
  EXPECT_EQ(lines.bad.count(), 2);
  EXPECT_TRUE(lines.bad.first()[0].starts_with("f.json: line 2, column 2: not valid JSON"));
  EXPECT_TRUE(lines.bad.first()[1].starts_with("f.json: line 3: neither"));
  const Conversations list = read_chats("[" + good + ",\n{},\n" + good + "]", true);
  EXPECT_EQ(list.all.size(), 2u);
  EXPECT_EQ(list.bad.count(), 1);
  expect_error(ErrorKind::input, "f.json: line 2, column 2: not valid JSON",
               [&] { read_chats("[" + good + ",\n{broken,\n" + good + "]", true); });
  expect_error(ErrorKind::input, "f.json: all of its 1 rows are bad; f.json: line 1: neither",
               [] { read_chats("{}", true); });
}

TEST(ReadConversations, TheInstructionsOfTheSyntheticCorpus) {
  const TemporaryDirectory folder;
  SynthOptions options;
  options.directory = folder.path();
  options.stories = options.messages = 0;
  options.instructions = 300;
  write_synthetic_corpus(options);
  const Conversations some = read_conversations(folder / "instructions.json");
  EXPECT_EQ(some.all.size(), 300u);
  EXPECT_EQ(some.all[7].line, 9);  // a [ and then one per line
}

TEST(ReadConversations, TheInstructionsOfTheReference) {
  for (const char* name : {"instruction-data.json", "instruction-data-with-preference.json"}) {
    const auto path = sample_data(name);
    if (!path) GTEST_SKIP() << "no sample data";
    const Conversations some = read_conversations(*path);
    EXPECT_EQ(some.all.size(), 1100u);
    EXPECT_EQ(some.bad.count(), 0);
    EXPECT_EQ(std::count_if(some.all.begin(), some.all.end(),
                            [](const Conversation& one) { return !one.messages[0].input.empty(); }),
              325);
    EXPECT_EQ(some.all[0].messages[0].input, "freind --> friend");
    EXPECT_EQ(some.all[0].line, 2);
    const Json whole = read_json_file(*path);
    for (size_t i = 0; i < whole.size(); ++i) {
      Json expected = {{"instruction", whole[i]["instruction"]},
                       {"input", whole[i]["input"]},
                       {"output", whole[i]["output"]}};
      ASSERT_EQ(conversation_json(some.all[i]), expected) << i;
    }
  }
}

}  // namespace
}  // namespace llm::test
