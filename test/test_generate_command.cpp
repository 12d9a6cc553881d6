// llm generate and llm inspect as people and scripts call them.
#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "infer/engine.h"
#include "support/small_model.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"
#include "support/terminal.h"
#include "text/unicode.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

using test::ProcessOptions;
using test::ProcessResult;
using test::run_llm;

class GenerateCommand : public testing::Test {
 protected:
  GenerateCommand() { test::write_byte_model(model_); }
  ProcessResult generate(std::vector<std::string> arguments, const std::string& input = {}) {
    arguments.insert(arguments.begin(), {"generate", model_.string()});
    ProcessOptions options;
    options.input = input;
    return run_llm(arguments, options);
  }
  static Json last_line(const std::string& out) {
    const size_t begin = out.rfind('\n', out.size() - 2);
    return parse_json(out.substr(begin == std::string::npos ? 0 : begin + 1), "stdout");
  }

  test::TemporaryDirectory directory_;
  fs::path model_ = directory_ / "model";
};

TEST_F(GenerateCommand, PrintsThePromptAndItsContinuation) {
  const ProcessResult result = generate({"-p", "ab", "-n", "5", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(result.out.starts_with("ab"));
  EXPECT_NE(result.err.find("tok/s"), std::string::npos);
  const Json json = last_line(result.out);
  EXPECT_EQ(json["prompt_ids"], Json({'a', 'b'}));
  EXPECT_EQ(json["ids"].size(), 5u);
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_NE(result.err.find("prefill 2 tokens"), std::string::npos) << result.err;
  const std::string one = generate({"-p", "a", "-n", "2"}).err;
  EXPECT_NE(one.find("prefill 1 token, "), std::string::npos) << one;
  EXPECT_GT(json["prefill_tokens_per_second"].get<double>(), 0);
  EXPECT_GT(json["decode_tokens_per_second"].get<double>(), 0);
}

TEST_F(GenerateCommand, AnotherTokenizerThanTheModelsIsAWarning) {
  const auto warned = [&](const std::string& tokenizer) {
    const ProcessResult result = generate({"-p", "ab", "-n", "1", "--tokenizer", tokenizer});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.err.find("warning: --tokenizer differs from the tokenizer in " +
                           model_.string()) != std::string::npos;
  };
  EXPECT_FALSE(warned("bytes")) << "the model's own by another way";
  make_char_tokenizer("abcdefgh")->save(directory_ / "chars");
  EXPECT_TRUE(warned(directory_ / "chars"));
  std::ofstream(model_ / "tokenizer.json") << "damaged";
  EXPECT_FALSE(warned(directory_ / "chars")) << "one that cannot be read is there to be replaced";
  fs::remove(model_ / "tokenizer.json");
  EXPECT_FALSE(warned(directory_ / "chars"));
}

TEST_F(GenerateCommand, WeightsMayBeBf16) {
  const auto ids = [&](const std::string& dtype) {
    const ProcessResult result =
        generate({"-p", "ab", "-n", "20", "--temperature", "0", "--dtype", dtype, "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return last_line(result.out)["ids"];
  };
  const auto backend = make_cpu_backend();
  for (const auto& [name, dtype] : {std::pair{"f32", DType::f32}, {"bf16", DType::bf16}}) {
    const auto model = load_model(*backend, model_, {.dtype = dtype});
    const auto tokenizer = make_byte_tokenizer();
    Engine engine(*model, *tokenizer);
    const std::vector<std::vector<TokenId>> prompts = {{'a', 'b'}};
    const GenerateOptions options{.sampler = {.temperature = 0}, .max_tokens = 20, .stop = {}};
    EXPECT_EQ(ids(name), Json(engine.generate(prompts, options)[0].ids)) << name;
  }
}

TEST_F(GenerateCommand, TheSameTextFromEveryWayToGiveThePrompt) {
  std::ofstream(directory_ / "prompt.txt") << "some prompt";
  const std::vector<std::string> common = {"-n", "12", "--seed", "9", "--temperature", "1"};
  const auto with = [&](std::vector<std::string> arguments, const std::string& input = {}) {
    arguments.insert(arguments.end(), common.begin(), common.end());
    const ProcessResult result = generate(arguments, input);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  const std::string text = with({"-p", "some prompt"});
  EXPECT_GT(text.size(), 11u);
  EXPECT_EQ(with({"--prompt-file", (directory_ / "prompt.txt").string()}), text);
  EXPECT_EQ(with({"--prompt-file", "-"}, "some prompt"), text);
  EXPECT_EQ(with({"-p", "some prompt", "--no-echo"}), text.substr(11));
}

// The bytes of random weights are hardly ever UTF-8, and many are control characters.
TEST_F(GenerateCommand, TheTextIsUtf8WhateverTheModelWrites) {
  const ProcessResult result =
      generate({"-p", "a\x1b[2Jb", "-n", "150", "--temperature", "1", "--context-overflow", "slide",
                "--ignore-end-of-text", "--no-echo", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(valid_utf8_prefix(result.out), result.out.size());
  const Json json = last_line(result.out);
  const std::string text = json["text"];
  EXPECT_NE(text.find("\xEF\xBF\xBD"), std::string::npos) << "nothing was replaced";
  EXPECT_TRUE(result.out.starts_with(text + "\n")) << "two forms of one text";
  EXPECT_EQ(json["ids"].size(), 150u);
}

TEST_F(GenerateCommand, NothingThatSteersATerminalGoesToIt) {
  test::Terminal terminal({"generate", model_.string(), "-p", "a\x1b[2Jb", "-n", "150",
                           "--temperature", "1", "--context-overflow", "slide"});
  EXPECT_EQ(terminal.wait_for_end(), 0);
  EXPECT_TRUE(terminal.shown().starts_with("a[2Jb")) << terminal.shown();
  for (const unsigned char c : terminal.shown()) {
    EXPECT_TRUE((c >= 0x20 && c != 0x7F) || c == '\n' || c == '\t' || c == '\r') << int{c};
  }
}

TEST_F(GenerateCommand, SeveralSamplesComeOneBehindTheOther) {
  const ProcessResult result =
      generate({"-p", "x", "-n", "6", "--num-samples", "3", "--json", "--logprobs", "2"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const size_t second = result.out.find("--- sample 2 of 3 ---\nx");
  EXPECT_NE(second, std::string::npos);
  EXPECT_LT(second, result.out.find("--- sample 3 of 3 ---\nx"));
  const Json json = last_line(result.out);
  EXPECT_EQ(json["samples"].size(), 3u);
  EXPECT_EQ(json["samples"][0]["ids"], json["ids"]);
  EXPECT_EQ(json["logprobs"].size(), json["ids"].size());
  EXPECT_EQ(json["logprobs"][0]["top"].size(), 2u);
}

TEST_F(GenerateCommand, StopStringsEndTextAndTokens) {
  const std::vector<std::string> common = {"-p",     "x",        "-n", "25", "--ignore-end-of-text",
                                           "--json", "--no-echo"};
  const Json whole = last_line(generate(common).out);
  const std::vector<int> ids = whole["ids"];
  // A byte that is a character of its own and occurs for the first time at its place.
  size_t at = 3;
  while (ids[at] < ' ' || ids[at] > '~' ||
         std::find(ids.begin(), ids.begin() + at, ids[at]) != ids.begin() + at)
    ++at;
  std::vector<std::string> stopped = common;
  stopped.insert(stopped.end(),
                 {"--logprobs", "1", "--stop", std::string(1, static_cast<char>(ids[at]))});
  const Json cut = last_line(generate(stopped).out);
  EXPECT_EQ(cut["finish_reason"], "stop_string");
  EXPECT_EQ(cut["ids"], Json(std::vector<int>(ids.begin(), ids.begin() + at)));
  EXPECT_EQ(cut["logprobs"].size(), at);
  // Also where the first token ends it: with a seed whose first token is a character.
  std::vector<std::string> first = common;
  first.insert(first.end(), {"--logprobs", "1", "--seed", ""});
  int id = 0;
  for (int seed = 0; id < ' ' || id > '~'; ++seed) {
    ASSERT_LT(seed, 200);
    first.back() = std::to_string(seed);
    id = last_line(generate(first).out)["ids"][0];
  }
  first.insert(first.end(), {"--stop", std::string(1, static_cast<char>(id))});
  const Json none = last_line(generate(first).out);
  EXPECT_EQ(none["finish_reason"], "stop_string");
  EXPECT_EQ(none["ids"], Json::array());
  EXPECT_EQ(none["logprobs"], Json::array());
}

TEST_F(GenerateCommand, NumbersAreTheSameWhateverTheBatch) {
  // Sample 0 of one and of eight, to the last bit; and with the option that says so.
  const std::vector<std::string> common = {
      "-p", "some prompt", "-n", "12", "--logprobs", "3", "--json", "--ignore-end-of-text"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), common.begin(), common.end());
    return last_line(generate(more).out);
  };
  const Json alone = with({}), among = with({"--num-samples", "8"});
  EXPECT_EQ(alone["ids"], among["ids"]);
  EXPECT_EQ(alone["logprobs"], among["logprobs"]);
  EXPECT_EQ(with({"--num-samples", "3", "--batch-invariant"})["logprobs"], alone["logprobs"]);
}

TEST_F(GenerateCommand, Bf16RoundsTheWeights) {
  const auto logprob = [&](const std::string& dtype) {
    const ProcessResult result =
        generate({"-p", "ab", "-n", "1", "--logprobs", "1", "--json", "--dtype", dtype});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return last_line(result.out)["logprobs"][0]["top"][0]["logprob"].get<double>();
  };
  EXPECT_NE(logprob("bf16"), logprob("f32"));
  EXPECT_NEAR(logprob("bf16"), logprob("f32"), 0.1);
}

TEST_F(GenerateCommand, AFullContextStopsWithAMessageOrSlides) {
  const std::vector<std::string> common = {"-p", "x", "-n", "50", "--ignore-end-of-text", "--json"};
  ProcessResult result = generate(common);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(last_line(result.out)["finish_reason"], "context");
  EXPECT_NE(result.err.find("--context-overflow slide"), std::string::npos);
  std::vector<std::string> slide = common;
  slide.insert(slide.end(), {"--context-overflow", "slide"});
  result = generate(slide);
  EXPECT_EQ(last_line(result.out)["ids"].size(), 50u);
}

TEST_F(GenerateCommand, WrongCommandLinesAndInputsHaveTheirExitCodes) {
  struct Case {
    int exit_code;
    std::vector<std::string> arguments;
    const char* message;
  };
  const std::string absent = (directory_ / "absent").string();
  const std::string letters(40, 'a');
  const std::vector<Case> cases = {
      {2, {"--temperature", "-1"}, "--temperature"},
      {2, {"--temperature", "nan"}, "--temperature"},
      {2, {"--temperature", "warm"}, "--temperature"},
      {2, {"--top-p", "0"}, "--top-p"},
      {2, {"--temperature", ""}, "--temperature: is empty"},
      {2, {"--prompt-file", ""}, "--prompt-file: is empty"},
      {2, {"--top-k", "-1"}, "--top-k"},
      {2, {"--min-p", "2"}, "--min-p"},
      {2, {"--repetition-penalty", "0"}, "--repetition-penalty"},
      {2, {"-n", "0"}, "--tokens"},
      {2, {"-n", "99999999999999999999"}, "--tokens"},
      {2, {"--num-samples", "0"}, "--num-samples"},
      {2, {"--seed", "-1"}, "--seed"},
      {2, {"--context-overflow", "wrap"}, "--context-overflow"},
      {2, {"--device", "tpu"}, "--device"},
      {2, {"--dtype", "f8"}, "--dtype"},
      {2, {"--dtype", "tf32", "--device", "cpu"}, "--dtype"},
      {6, {"--device", "cuda:0"}, "--device cpu"},
      {2, {"-p", letters}, "40 tokens"},
      {2, {"-p", "a", "--prompt-file", "b"}, "--prompt"},
      {2, {"--no-such-option"}, "--no-such-option"},
      {2, {"-p", "a", "--logprobs", "2"}, "--json"},
      {2, {"-p", "a", "--stop", ""}, "--stop: the text is empty"},
      {3, {"--prompt-file", absent}, "absent"},
      {2, {"--tokenizer", absent}, "absent"},
  };
  for (const Case& wrong : cases) {
    const ProcessResult result = generate(wrong.arguments);
    EXPECT_EQ(result.exit_code, wrong.exit_code) << wrong.arguments[0] << ": " << result.err;
    EXPECT_NE(result.err.find(wrong.message), std::string::npos) << result.err;
    EXPECT_EQ(result.out, "") << wrong.arguments[0];
  }
  EXPECT_EQ(generate({"--prompt-file", "-"}, letters).exit_code, 3);
}

TEST_F(GenerateCommand, InspectShowsConfigAndTensors) {
  const ProcessResult text = run_llm({"inspect", model_.string()});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.out.find("transformer.h.1.attn.c_attn.weight"), std::string::npos);
  const ProcessResult result = run_llm({"inspect", model_.string(), "--json"});
  ASSERT_EQ(result.exit_code, 0);
  const Json json = last_line(result.out);
  EXPECT_EQ(json["parameters"], parameter_count(read_model_config(model_)));
  EXPECT_EQ(json["tensors"].size(), 28u);
  EXPECT_EQ(run_llm({"inspect", (directory_ / "absent").string()}).exit_code, 3);
}

TEST_F(GenerateCommand, AnInstructionIsAskedInTheTemplateOfTheModel) {
  {  // room for a template
    ModelConfig config = test::golden_config();
    config.vocab_size = 257;
    config.context = 400;
    const auto backend = make_cpu_backend();
    Gpt model(*backend, config, {});
    test::fill_golden_weights(model);
    write_model_folder(model_, model, make_byte_tokenizer().get());
  }
  const std::vector<std::string> ask = {"-p", "Say hi.", "-n", "3", "--json"};
  const auto ids_with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), ask.begin(), ask.end());
    const ProcessResult result = generate(more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return last_line(result.out)["prompt_ids"].size();
  };
  EXPECT_EQ(ids_with({}), 7u);
  const size_t alpaca = ids_with({"--template", "alpaca"});
  EXPECT_GT(alpaca, 100u);
  EXPECT_EQ(ids_with({"--template", "alpaca", "--input", "abc"}),
            ids_with({"--template", "alpaca", "--input", "abcd"}) - 1);
  const ProcessResult unknown = generate({"-p", "a", "--instruct"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_NE(unknown.err.find("which template it was taught in"), std::string::npos) << unknown.err;

  std::ofstream(model_ / "llm_chat.json") << R"({"template": "alpaca"})";
  EXPECT_EQ(ids_with({"--instruct"}), alpaca);
  EXPECT_NE(ids_with({"--template", "chatml"}), alpaca);
  EXPECT_EQ(ids_with({}), 7u);  // a text is continued as it is
  EXPECT_NE(generate(ask).err.find("--instruct asks"), std::string::npos);
  const auto starts = [&](std::vector<std::string> more, const char* text) {
    more.insert(more.begin(), {"-p", "Say hi.", "-n", "3"});
    return generate(more).out.starts_with(text);
  };
  EXPECT_TRUE(starts({}, "Say hi."));
  EXPECT_FALSE(starts({"--instruct"}, "Below is an instruction"));
  EXPECT_TRUE(starts({"--instruct", "--echo"}, "Below is an instruction"));
  EXPECT_FALSE(starts({"--no-echo"}, "Say hi."));
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--input", "x"},
                                                {"--instruct", "--allow-special"},
                                                {"--template", "jinja"}}) {
    std::vector<std::string> arguments = {"-p", "a"};
    arguments.insert(arguments.end(), wrong.begin(), wrong.end());
    EXPECT_EQ(generate(arguments).exit_code, 2) << wrong[0];
  }
  EXPECT_EQ(generate({"-p", "", "--instruct"}).exit_code, 2);
}

}  // namespace
}  // namespace llm
