// llm export, llm import and the commands that run a model, with LoRA adapters.
#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "support/convert_test.h"
#include "weights/adapter_folder.h"
#include "weights/model_folder.h"
#include "weights/weights_hash.h"

namespace llm {
namespace {

using test::ProcessResult;

class ConvertAdapters : public test::ConvertTest {
 protected:
  // Adapters for the model of this test, with values that matter.
  std::string write_adapters(const std::string& name, bool classifier,
                             Pooling pooling = Pooling::last_token, bool with_hash = true) {
    ModelConfig config = read_model_config(model_);
    config.lora.rank = 2;
    config.lora.q = config.lora.v = config.lora.down = true;
    if (classifier) config.labels = {"ham", "spam"};
    config.pooling = pooling;
    const auto backend = make_cpu_backend();
    Gpt model(*backend, config, {});
    ParameterStore& store = model.parameters();
    store.initialize(3);
    for (size_t i = 0; i < store.parameters().size(); ++i) {
      const Parameter& parameter = store.parameters()[i];
      if (!parameter.name.ends_with("lora_B")) continue;
      std::vector<float> values(static_cast<size_t>(parameter.size()));
      for (int64_t at = 0; at < parameter.size(); ++at) {
        if (parameter.is_free(at)) values[static_cast<size_t>(at)] = 0.1f * (at % 7 - 3);
      }
      store.write(static_cast<int>(i), store.values(), values);
    }
    write_adapter_folder(directory_ / name, model,
                         {model_.string(), with_hash ? hash_of_weights(model_) : ""}, classifier);
    return path(name);
  }
  // The log-probabilities of the likeliest first tokens.
  Json logprobs(const std::string& model, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"generate", model, "-p", "ab", "-n", "1", "--temperature", "0",
                               "--no-echo", "--logprobs", "20"});
    return figures(more)["logprobs"][0]["top"];
  }
  static void expect_close(const Json& a, const Json& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i]["id"], b[i]["id"]);
      EXPECT_NEAR(a[i]["logprob"].get<double>(), b[i]["logprob"].get<double>(), 1e-5);
    }
  }
};

TEST_F(ConvertAdapters, GoOutComeBackAndMerge) {
  const std::string adapters = write_adapters("adapters", false);
  const Json expected = logprobs(adapters);
  EXPECT_NE(expected, logprobs(model_.string()));
  const Json out = figures({"export", adapters, "-o", path("out")});
  EXPECT_EQ(out["weights"], path("out/adapter_model.safetensors"));
  EXPECT_EQ(out["parameters"], 2 * (2 * 2 * 48 + 2 * 2 * 48 + 2 * (4 * 48 + 48)));
  EXPECT_EQ(read_json_file(path("out/adapter_config.json"))["base_model_name_or_path"],
            fs::canonical(model_).string());
  EXPECT_TRUE(read_text_file(path("out/adapter_model.safetensors")) ==
              read_text_file(path("adapters/adapter_model.safetensors")));
  figures({"import", path("out"), "-o", path("in"), "--tokenizer", "none"});
  EXPECT_FALSE(fs::exists(path("in/tokenizer.json")));
  expect_close(logprobs(path("in")), expected);  // with the tokenizer of the base
  const Json merged = figures({"export", adapters, "--merge", "-o", path("merged")});
  EXPECT_EQ(merged["parameters"], parameter_count(read_model_config(model_)));
  EXPECT_FALSE(fs::exists(path("merged/adapter_config.json")));
  expect_close(logprobs(path("merged")), expected);
  figures({"export", adapters, "--merge", "-o", path("book"), "--format", "book"});
  figures({"import", path("book"), "-o", path("from-book")});
  EXPECT_TRUE(weights(path("from-book")) == weights(path("merged")));
}

TEST_F(ConvertAdapters, AreShownAndEvaluated) {
  const std::string adapters = write_adapters("adapters", false);
  const Json shown = figures({"inspect", adapters});
  EXPECT_EQ(shown["format"], "LoRA adapters of PEFT");
  EXPECT_EQ(shown["base"], model_.string());
  EXPECT_EQ(shown["base_hash"], hash_of_weights(model_));
  EXPECT_EQ(shown["rank"], 2);
  EXPECT_EQ(shown["rank_pattern"]["c_attn"], 4);
  EXPECT_EQ(shown["tensors"].size(), 8u);
  EXPECT_NE(llm({"inspect", adapters}).out.find("\"c_attn\":4"), std::string::npos);
  std::ofstream(directory_ / "text.txt") << "abcabcabcabcabc";
  const double adapted = figures({"eval", adapters, "--data", path("text.txt")})["loss"];
  const double plain = figures({"eval", model_.string(), "--data", path("text.txt")})["loss"];
  EXPECT_NE(adapted, plain);
  fs::rename(model_, directory_ / "moved");
  expect_exit(3, "is not there", {"eval", adapters, "--data", path("text.txt")});
  EXPECT_EQ(
      figures({"eval", adapters, "--base", path("moved"), "--data", path("text.txt")})["loss"],
      adapted);
  EXPECT_EQ(figures({"inspect", adapters})["base"], model_.string());
}

TEST_F(ConvertAdapters, GetTheHashOfTheirBaseAndAreRefusedForAnother) {
  const std::string adapters = write_adapters("adapters", false, Pooling::last_token, false);
  EXPECT_FALSE(figures({"inspect", adapters}).contains("base_hash"));
  figures({"import", adapters, "-o", path("in")});
  EXPECT_EQ(read_base_hash(path("in")), hash_of_weights(model_));

  test::write_byte_model(path("other"));
  std::fstream file(path("other/model.safetensors"), std::ios::in | std::ios::out);
  file.seekp(-1, std::ios::end).put('\x40');  // the last weight is 2 or more
  file.close();
  const auto with_base = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--base", path("other")});
    return arguments;
  };
  const std::vector<std::vector<std::string>> commands = {
      {"generate", path("in"), "-p", "a", "-n", "1"},
      {"export", path("in"), "-o", path("out")},
      {"export", path("in"), "-o", path("out"), "--merge"}};
  for (const std::vector<std::string>& command : commands) {
    expect_exit(3, "the adapters are for the weights of", with_base(command));
  }
  EXPECT_FALSE(fs::exists(path("out")));
  EXPECT_EQ(llm(with_base({"generate", adapters, "-p", "a", "-n", "1"})).exit_code, 0);
}

TEST_F(ConvertAdapters, OfAClassifierKeepItsOutputLayerAndLabels) {
  const std::string adapters = write_adapters("adapters", true);
  const Json expected = figures({"classify", adapters, "ab"});
  EXPECT_TRUE(expected["probabilities"].contains("spam"));
  figures({"export", adapters, "-o", path("out")});
  EXPECT_EQ(figures({"classify", path("out"), "ab"}), expected);
  figures({"export", adapters, "--merge", "-o", path("merged")});
  EXPECT_EQ(read_model_config(path("merged")).labels, (std::vector<std::string>{"ham", "spam"}));
  EXPECT_NEAR(figures({"classify", path("merged"), "ab"})["probability"].get<double>(),
              expected["probability"].get<double>(), 1e-5);
  expect_exit(3, "a classifier of 2 labels", {"generate", adapters, "-p", "a", "-n", "1"});
  // What transformers would compute otherwise stays here.
  const std::string mean = write_adapters("mean", true, Pooling::mean);
  expect_exit(2, "pools by \"mean\"", {"export", mean, "-o", path("x")});
  expect_exit(2, "pools by \"mean\"", {"export", mean, "--merge", "-o", path("x")});
  EXPECT_EQ(llm({"classify", mean, "ab"}).exit_code, 0);
}

TEST_F(ConvertAdapters, WrongWishesAreRefused) {
  const std::string adapters = write_adapters("adapters", false), model = model_.string();
  expect_exit(2, "--merge", {"export", model, "--merge", "-o", path("x")});
  expect_exit(2, "--base", {"export", model, "--base", model, "-o", path("x")});
  expect_exit(2, "--merge puts them", {"export", adapters, "--format", "book", "-o", path("x")});
  expect_exit(2, "--dtype", {"export", adapters, "--dtype", "bf16", "-o", path("x")});
  expect_exit(2, "whose base has a config.json",
              {"import", adapters, "--heads", "3", "-o", path("x")});
  expect_exit(3, "holds adapters", {"generate", adapters, "--base", adapters, "-p", "a"});
  EXPECT_FALSE(fs::exists(path("x")));
}

}  // namespace
}  // namespace llm
