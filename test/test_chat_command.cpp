// llm chat as people and scripts call it: over a pipe, and on a terminal.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "support/small_model.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"
#include "support/terminal.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

using test::lines_of;
using test::ProcessOptions;
using test::ProcessResult;
using test::run_llm;
using test::Terminal;

void write_model(const fs::path& folder, int64_t context, const Tokenizer& tokenizer) {
  ModelConfig config = test::golden_config();
  config.vocab_size = tokenizer.vocab_size();
  config.context = context;
  const auto backend = make_cpu_backend();
  Gpt model(*backend, config, {});
  test::fill_golden_weights(model);
  write_model_folder(folder, model, &tokenizer);
}

class ChatCommand : public testing::Test {
 protected:
  ChatCommand() { write_model(model_, 256, *make_byte_tokenizer()); }
  ProcessResult chat(const std::string& input, std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), {"chat", model_.string()});
    ProcessOptions options;
    options.input = input;
    return run_llm(arguments, options);
  }
  // The lines of JSON for each answer, and the last line.
  std::vector<Json> answers(const std::string& input, std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.end(), {"--json", "-n", "8"});
    const ProcessResult result = chat(input, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::vector<Json> found;
    const std::vector<std::string> lines = lines_of(result.out);
    const size_t count = parse_json(lines.back(), "last line")["answers"];
    for (size_t i = lines.size() - 1 - count; i < lines.size(); ++i) {
      found.push_back(parse_json(lines[i], "line"));
    }
    return found;
  }

  test::TemporaryDirectory directory_;
  fs::path model_ = directory_ / "model";
};

TEST_F(ChatCommand, AnswersEachLineOfAPipeWithoutPrompts) {
  const ProcessResult result = chat("Hello\n\nAgain\n", {"-n", "8", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  const std::vector<std::string> lines = lines_of(result.out);
  ASSERT_GE(lines.size(), 3u);
  const Json last = parse_json(lines.back(), "last"),
             second = parse_json(lines.end()[-2], "second"),
             first = parse_json(lines.end()[-3], "first");
  EXPECT_EQ(last["answers"], 2);
  EXPECT_GT(last["decode_tokens_per_second"].get<double>(), 0);
  EXPECT_EQ(first["message"], "Hello");
  EXPECT_EQ(first["prompt_tokens"], 5);
  EXPECT_EQ(second["message"], "Again");
  EXPECT_EQ(second["prompt_tokens"], 5 + first["ids"].size() + 1 + 5);
  EXPECT_EQ(second["finish_reason"], "length");
  EXPECT_EQ(first["cached_tokens"], 0);
  EXPECT_EQ(second["cached_tokens"], 5 + first["ids"].size() - 1);
  EXPECT_EQ(last["cached_tokens"], second["cached_tokens"]);
  EXPECT_EQ(last["prefill_tokens"], 5 + 1 + 1 + 5);
}

TEST_F(ChatCommand, RereadingGivesTheSameAnswers) {
  const auto kept = answers("Hello\nAgain\n/regen\n"),
             anew = answers("Hello\nAgain\n/regen\n", {"--reread"});
  ASSERT_EQ(kept.size(), anew.size());
  for (size_t i = 0; i + 1 < kept.size(); ++i) {
    EXPECT_EQ(kept[i]["ids"], anew[i]["ids"]);
    EXPECT_EQ(anew[i]["cached_tokens"], 0);
  }
  EXPECT_GT(kept[2]["cached_tokens"], 10);
  EXPECT_EQ(anew.back()["cached_tokens"], 0);
}

TEST_F(ChatCommand, TheTextIsTheAnswersAndNothingElse) {
  const std::string once = chat("Hello\n", {"-n", "8", "--temperature", "0"}).out;
  EXPECT_TRUE(once.ends_with("\n"));
  EXPECT_EQ(chat("Hello\n/clear\nHello\n", {"-n", "8", "--temperature", "0"}).out, once + once);
  EXPECT_EQ(chat("Hello\n/quit\nAgain\n", {"-n", "8", "--temperature", "0"}).out, once);
  EXPECT_EQ(chat("", {}).out, "");
}

TEST_F(ChatCommand, SettingsAndAnotherAnswer) {
  const auto found = answers(
      "Hi\n/regen\n/set temperature 0\n/regen\n/regen\n/set tokens 3\n/regen\n"
      "/set template chatml\n/set system Be brief.\n/regen\n");
  ASSERT_EQ(found.size(), 7u);
  EXPECT_NE(found[0]["ids"], found[1]["ids"]);
  EXPECT_EQ(found[2]["ids"], found[3]["ids"]);
  EXPECT_EQ(found[4]["ids"].size(), 3u);
  EXPECT_EQ(found[4]["prompt_tokens"], 2);
  const std::string wrapped =
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
      "<|im_start|>assistant\n";
  EXPECT_EQ(found[5]["prompt_tokens"], wrapped.size());
}

TEST_F(ChatCommand, MessagesOfSeveralLinesAndWithASlash) {
  const auto found = answers("one\\\ntwo\n//three\nfour\\");
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0]["message"], "one\ntwo");
  EXPECT_EQ(found[1]["message"], "/three");
  EXPECT_EQ(found[2]["message"], "four\n");
}

TEST_F(ChatCommand, TheModelFolderNamesTheTemplate) {
  const int64_t plain = answers("Hi\n")[0]["prompt_tokens"];
  const int64_t chatml = answers("Hi\n", {"--template", "chatml"})[0]["prompt_tokens"];
  EXPECT_EQ(plain, 2);
  EXPECT_GT(chatml, 40);
  Json config = read_json_file(model_ / "tokenizer_config.json");
  config["chat_template_name"] = "chatml";
  std::ofstream(model_ / "tokenizer_config.json") << config.dump();
  EXPECT_EQ(answers("Hi\n")[0]["prompt_tokens"], chatml);
  EXPECT_EQ(answers("Hi\n", {"--template", "plain"})[0]["prompt_tokens"], plain);
  // Its own file counts more.
  std::ofstream(model_ / "llm_chat.json") << R"({"template": "alpaca"})";
  const int64_t alpaca = answers("Hi\n", {"--template", "alpaca"})[0]["prompt_tokens"];
  EXPECT_NE(alpaca, chatml);
  EXPECT_EQ(answers("Hi\n")[0]["prompt_tokens"], alpaca);
  EXPECT_EQ(answers("Hi\n", {"--template", "chatml"})[0]["prompt_tokens"], chatml);
  std::ofstream(model_ / "llm_chat.json") << R"({"template": "vicuna"})";
  const ProcessResult wrong = chat("Hi\n");
  EXPECT_EQ(wrong.exit_code, 3);
  EXPECT_NE(wrong.err.find("llm_chat.json"), std::string::npos) << wrong.err;
}

TEST_F(ChatCommand, TheSameSeedGivesTheSameConversation) {
  const std::string text = chat("a\nb\n", {"-n", "8", "--seed", "5"}).out;
  EXPECT_EQ(chat("a\nb\n", {"-n", "8", "--seed", "5"}).out, text);
  EXPECT_NE(chat("a\nb\n", {"-n", "8", "--seed", "6"}).out, text);
}

TEST_F(ChatCommand, MistakesInAPipeNameTheirLine) {
  struct Case {
    int exit_code;
    std::string input;
    std::vector<std::string> arguments;
    const char* message;
  };
  const std::vector<Case> cases = {
      {3, "Hi\n/frob\n", {}, "line 2: /frob: is no command"},
      {3, "\n\n/regen\n", {}, "line 3: /regen"},
      {3, "/set\n/set heat 3\n", {}, "line 2: /set: there is no setting \"heat\""},
      {3, "/set temperature warm\n", {}, "\"warm\" is not a number"},
      {3, "/set temperature -1\n", {}, "--temperature: is -1"},
      {3, "/set tokens 0\n", {}, "tokens"},
      {3, "/set template jinja\n", {}, "alpaca"},
      {3, "/quit now\n", {}, "/quit"},
      {3, std::string(300, 'x') + "\n", {}, "line 1: message: 300 tokens"},
      {2, "", {"--template", "jinja"}, "alpaca"},
      {2, "", {"--temperature", "-1"}, "--temperature"},
      {2, "", {"-n", "0"}, "--tokens"},
      {2, "", {"--stop", ""}, "--stop: the text is empty"},
      {2, "", {"--dtype", "f8"}, "--dtype"},
  };
  for (const Case& wrong : cases) {
    const ProcessResult result = chat(wrong.input, wrong.arguments);
    EXPECT_EQ(result.exit_code, wrong.exit_code) << wrong.message << ": " << result.err;
    EXPECT_NE(result.err.find(wrong.message), std::string::npos) << result.err;
  }
}

TEST_F(ChatCommand, AMistakeInAPipeLosesNoAnswer) {
  const ProcessResult result = chat("Hi\nYou\n/frob\nnever\n", {"-n", "4", "--json"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("line 3: /frob"), std::string::npos) << result.err;
  const std::vector<std::string> lines = lines_of(result.out);
  ASSERT_GE(lines.size(), 3u);
  EXPECT_EQ(parse_json(lines.back(), "last")["answers"], 2);
  EXPECT_EQ(parse_json(lines.end()[-2], "second")["message"], "You");
  EXPECT_EQ(parse_json(lines.end()[-3], "first")["message"], "Hi");
}

TEST_F(ChatCommand, APipeIsToldOfForgottenTurns) {
  const std::string message(150, 'x');
  const ProcessResult result = chat(message + "\n" + message + "\n", {"-n", "4"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("the first turn of the conversation is forgotten"), std::string::npos)
      << result.err;
}

TEST_F(ChatCommand, ATemplateThatTheTokenizerCannotExpressIsRefusedAtOnce) {
  const fs::path letters = directory_ / "letters";
  write_model(letters, 64, *make_char_tokenizer("Helo Wrdi"));
  ProcessOptions options;
  options.input = "Hello\n";
  const ProcessResult result =
      run_llm({"chat", letters.string(), "--template", "alpaca", "-n", "4"}, options);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("template alpaca: character U+0042 'B'"), std::string::npos)
      << result.err;
  EXPECT_EQ(result.err.find("message"), std::string::npos) << result.err;
}

constexpr const char* kControlC = "\x03";
constexpr const char* kControlD = "\x04";

TEST_F(ChatCommand, APersonIsPromptedAndMayTryAgain) {
  Terminal terminal({"chat", model_.string(), "-n", "4"});
  terminal.wait_for("> ");
  terminal.type("/frob\n");
  terminal.wait_for("is no command");
  terminal.wait_for("> ");
  terminal.type("/set temperature 0\n");
  terminal.wait_for("temperature 0,");
  terminal.wait_for("> ");
  terminal.type("one\\\n");
  terminal.wait_for(". ");
  terminal.type("two\n");
  terminal.wait_for("stopped after 4 tokens");
  terminal.wait_for("> ");
  terminal.type("/help\n");
  terminal.wait_for("/regen");
  terminal.wait_for("> ");
  terminal.type(kControlD);
  EXPECT_EQ(terminal.wait_for_end(), 0);
}

TEST_F(ChatCommand, ControlCStopsTheAnswerAndNotTheProgram) {
  // Room for an answer that takes far longer than this test, and no token that could end it.
  const fs::path endless = directory_ / "endless";
  write_model(endless, 200'000, *make_char_tokenizer("Helo Wrdi"));
  Terminal terminal({"chat", endless.string(), "-n", "1000000", "--json"});
  terminal.wait_for("> ");
  terminal.type("Hi\n");
  terminal.wait_for("Hi");
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  terminal.type(kControlC);
  terminal.wait_for("(stopped)");
  terminal.wait_for("> ");
  terminal.type("/set tokens 3\n/regen\n");
  terminal.wait_for("stopped after 3 tokens");
  terminal.wait_for("> ");
  terminal.type(kControlD);
  terminal.wait_for("\"finish_reason\":\"interrupted\"");
  terminal.wait_for("\"answers\":2");
  EXPECT_EQ(terminal.wait_for_end(), 0);
}

TEST_F(ChatCommand, ControlCTwiceAtThePromptEndsTheProgram) {
  Terminal terminal({"chat", model_.string(), "-n", "8"});
  terminal.wait_for("> ");
  terminal.type("half a li");
  terminal.wait_for("half a li");
  terminal.type(kControlC);
  terminal.wait_for("once more");
  terminal.wait_for("> ");
  terminal.type("whole\n");  // what was typed before is gone, and so is the first Ctrl-C
  terminal.wait_for("stopped after 8 tokens");
  terminal.wait_for("> ");
  terminal.type(kControlC);
  terminal.wait_for("once more");
  terminal.wait_for("> ");
  terminal.type(kControlC);
  EXPECT_EQ(terminal.wait_for_end(), 0);
}

}  // namespace
}  // namespace llm
