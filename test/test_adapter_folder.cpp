#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "model/lora.h"
#include "support/expect_error.h"
#include "support/small_model.h"
#include "support/subprocess.h"
#include "support/temporary_directory.h"
#include "text/tokenizer.h"
#include "weights/adapter_folder.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

LoraConfig every_layer(bool apart) {
  LoraConfig lora;
  lora.rank = 3;
  lora.alpha = 7.5f;
  lora.dropout = 0.05f;
  lora.projection = lora.up = lora.down = true;
  lora.qkv = !apart;
  lora.q = lora.v = apart;
  return lora;
}

class AdapterFolder : public testing::Test {
 protected:
  std::unique_ptr<Gpt> make(const ModelConfig& config, float center) {
    auto model = std::make_unique<Gpt>(*backend_, config, StoreOptions{});
    ParameterStore& store = model->parameters();
    store.initialize(5);
    for (size_t i = 0; i < store.parameters().size(); ++i) {
      const Parameter& parameter = store.parameters()[i];
      if (!parameter.adapter) continue;
      std::vector<float> values(static_cast<size_t>(parameter.size()), 0.0f);
      const int64_t columns = parameter.shape[1];
      for (int64_t at = 0; at < parameter.size(); ++at) {
        if (!parameter.is_free(at)) continue;
        values[static_cast<size_t>(at)] = center + static_cast<float>(at % columns) / 8;
      }
      store.write(static_cast<int>(i), store.values(), values);
    }
    return model;
  }
  static void expect_equal_adapters(const Gpt& a, const Gpt& b) {
    const ParameterStore& store = a.parameters();
    for (int i = 0; i < static_cast<int>(store.parameters().size()); ++i) {
      if (!store.parameters()[static_cast<size_t>(i)].adapter) continue;
      EXPECT_EQ(test::read_all(a, store.values(), i), test::read_all(b, b.parameters().values(), i))
          << store.parameters()[static_cast<size_t>(i)].name;
    }
  }
  static int score_of(const Gpt& model) { return model.parameters().find("score.weight"); }
  void change_config(const std::string& key, const Json& value) {
    Json json = read_json_file(folder_ / kAdapterConfigFile);
    json[key] = value;
    std::ofstream(folder_ / kAdapterConfigFile) << json;
  }

  test::TemporaryDirectory directory_;
  fs::path folder_ = directory_ / "adapters";
  std::unique_ptr<Backend> backend_ = make_cpu_backend();
};

TEST_F(AdapterFolder, RoundTrips) {
  for (const bool apart : {false, true}) {
    for (const bool classifier : {false, true}) {
      ModelConfig config = test::golden_config();
      if (classifier) config.labels = {"a", "b", "c"};
      const ModelConfig base = config;
      config.lora = every_layer(apart);
      config.lora.score = classifier;
      const auto written = make(config, 1);
      write_adapter_folder(folder_, *written, {"base", ""}, false);

      config.lora = read_lora_config(folder_, base);
      EXPECT_EQ(config.lora.rank, 3);
      EXPECT_EQ(config.lora.alpha, 7.5f);
      EXPECT_EQ(config.lora.dropout, 0.05f);
      EXPECT_EQ(config.lora.qkv, !apart);
      EXPECT_EQ(config.lora.v, apart);
      EXPECT_FALSE(config.lora.k);
      EXPECT_EQ(config.lora.score, classifier);
      const auto read = make(config, 2);
      read_adapter_weights(folder_, *read);
      expect_equal_adapters(*written, *read);
    }
  }
}

TEST_F(AdapterFolder, IsWhatPeftReads) {
  ModelConfig config = test::golden_config();
  config.lora = every_layer(true);
  write_adapter_folder(folder_, *make(config, 1), {"some/base", "0f"}, false);
  const Json json = read_json_file(folder_ / kAdapterConfigFile);
  EXPECT_EQ(json["peft_type"], "LORA");
  EXPECT_EQ(json["task_type"], "CAUSAL_LM");
  EXPECT_EQ(json["base_model_name_or_path"], "some/base");
  EXPECT_EQ(json["r"], 3);
  EXPECT_EQ(json["fan_in_fan_out"], true);
  EXPECT_EQ(json["target_modules"].dump(), R"(["c_attn","attn.c_proj","c_fc","mlp.c_proj"])");
  EXPECT_EQ(json["rank_pattern"].dump(), R"({"c_attn":6})");
  EXPECT_EQ(json["alpha_pattern"].dump(), R"({"c_attn":15.0})");

  const SafetensorsFile file(folder_ / kAdapterWeightsFile);
  EXPECT_EQ(std::ssize(file.tensors()), 2 * 2 * 4);
  const std::map<std::string, std::string> metadata = {
      {"format", "pt"}, {"lora_targets", "q,v"}, {"base_hash", "0f"}};
  EXPECT_EQ(file.metadata(), metadata);
  const std::string layer = "base_model.model.transformer.h.1.attn.c_attn.";
  EXPECT_EQ(file.find(layer + "lora_A.weight")->shape, (std::vector<int64_t>{6, 48}));
  const TensorInfo* b = file.find(layer + "lora_B.weight");
  ASSERT_EQ(b->shape, (std::vector<int64_t>{144, 6}));
  std::vector<float> values(144 * 6);
  file.read_f32(*b, values);
  for (size_t i = 0; i < values.size(); ++i) {  // q, nothing of k, v; each its own half of the rank
    const size_t part = i / 6 / 48, half = i % 6 / 3;
    EXPECT_EQ(values[i] != 0, (part == 0 && half == 0) || (part == 2 && half == 1)) << i;
  }
}

TEST_F(AdapterFolder, TheWholeOutputLayerMayComeAlong) {
  ModelConfig config = test::golden_config();
  config.labels = {"a", "b"};
  config.lora = every_layer(false);
  const auto written = make(config, 1);
  write_adapter_folder(folder_, *written, {"base", ""}, true);
  const Json json = read_json_file(folder_ / kAdapterConfigFile);
  EXPECT_EQ(json["task_type"], "SEQ_CLS");
  EXPECT_EQ(json["modules_to_save"].dump(), R"(["score"])");
  const auto read = make(config, 2);
  ParameterStore& store = read->parameters();
  const int score = store.find("score.weight");
  backend_->fill(store.value(score), 0);
  read_adapter_weights(folder_, *read);
  EXPECT_EQ(test::read_all(*read, store.values(), score),
            test::read_all(*written, written->parameters().values(), score));
}

// PEFT knows no adapter of a layer that comes along whole: it is in the layer, and training goes on
// with the two apart.
TEST_F(AdapterFolder, AnAdapterOfTheWholeOutputLayerIsMergedIntoIt) {
  for (const bool alone : {false, true}) {
    ModelConfig config = test::golden_config();
    const ModelConfig base = config;
    config.labels = {"a", "b"};
    config.lora = every_layer(false);
    if (alone) config.lora.qkv = config.lora.projection = config.lora.up = config.lora.down = false;
    config.lora.score = true;
    const auto written = make(config, 1);
    write_adapter_folder(folder_, *written, {"base", ""}, true);
    const Json json = read_json_file(folder_ / kAdapterConfigFile);
    EXPECT_EQ(json["target_modules"].size(), alone ? 0u : 4u);
    EXPECT_EQ(json["target_modules"].dump().find("score"), std::string::npos);
    EXPECT_EQ(json["modules_to_save"].dump(), R"(["score"])");

    // In use: no adapter there, and the sum as weights.
    ModelConfig whole = read_adapted_config(folder_, base);
    EXPECT_EQ(whole.labels, config.labels);
    EXPECT_FALSE(whole.lora.score);
    EXPECT_EQ(whole.lora.rank, alone ? 0 : 3);
    const auto read = make(whole, 2);
    read_adapter_weights(folder_, *read);
    const auto values = [&](const Gpt& model) {
      return test::read_all(model, model.parameters().values(), score_of(model));
    };
    ModelConfig plain = config;
    plain.lora = {};
    Gpt merged(*backend_, plain, {});
    merge_adapters(*written, merged);
    EXPECT_EQ(values(*read), values(merged));
    EXPECT_NE(values(*read), values(*written));

    // To train on: the weights stay as they are, which the folder does not tell.
    const auto resumed = make(config, 2);
    backend_->fill(resumed->parameters().value(score_of(*resumed)), 0);
    read_adapter_weights(folder_, *resumed);
    expect_equal_adapters(*written, *resumed);
    EXPECT_EQ(values(*resumed), std::vector<float>(2 * 48, 0.0f));
  }
}

// Former versions wrote the adapter beside the layer without it, and named it as a target.
TEST_F(AdapterFolder, AnOutputLayerBothWholeAndATargetIsRefused) {
  ModelConfig config = test::golden_config();
  const ModelConfig base = config;
  config.labels = {"a", "b"};
  config.lora = every_layer(true);
  write_adapter_folder(folder_, *make(config, 1), {"base", ""}, true);
  EXPECT_NO_THROW(read_adapted_config(folder_, base));
  Json json = read_json_file(folder_ / kAdapterConfigFile);
  json["target_modules"].push_back("score");
  write_file_atomically(folder_ / kAdapterConfigFile, to_line(json));
  test::expect_error(ErrorKind::input, "whole and a target",
                     [&] { read_adapted_config(folder_, base); });
}

TEST_F(AdapterFolder, RefusesWhatItDoesNotKnow) {
  ModelConfig config = test::golden_config();
  const ModelConfig base = config;
  config.lora = every_layer(false);
  const auto model = make(config, 1);
  const std::pair<const char*, Json> bad[] = {
      {"peft_type", "IA3"},
      {"use_dora", true},
      {"use_rslora", true},
      {"bias", "all"},
      {"r", 0},
      {"lora_alpha", -1},
      {"lora_dropout", 2},
      {"layers_to_transform", 1},
      {"rank_pattern", {{"c_fc", 8}}},
      {"alpha_pattern", {{"c_fc", 0}}},
  };
  for (const auto& [key, value] : bad) {
    write_adapter_folder(folder_, *model, {"base", ""}, false);
    change_config(key, value);
    test::expect_error(ErrorKind::input, "adapter_", [&] { read_lora_config(folder_, base); });
  }
}

TEST_F(AdapterFolder, NamesTheTensorThatIsWrong) {
  ModelConfig config = test::golden_config();
  config.lora = every_layer(false);
  const auto model = make(config, 1);
  write_adapter_folder(folder_, *model, {"base", ""}, false);
  const auto refuses = [&](const LoraConfig& lora, const char* message) {
    ModelConfig other = test::golden_config();
    other.lora = lora;
    const auto into = make(other, 2);
    const auto untouched = make(other, 2);
    test::expect_error(ErrorKind::input, message, [&] { read_adapter_weights(folder_, *into); });
    expect_equal_adapters(*into, *untouched);
  };
  LoraConfig lora = config.lora;
  lora.rank = 4;
  refuses(lora, "rank 3, the model's have 4");
  lora = config.lora;
  lora.down = false;
  refuses(lora, "does not belong");
  // Three parts of rank 1 have the shape of one of rank 3, but zeros where this has none.
  lora = config.lora;
  lora.qkv = false;
  lora.q = lora.k = lora.v = true;
  lora.projection = lora.up = lora.down = false;
  lora.rank = 1;
  fs::remove_all(folder_);
  LoraConfig only_qkv = config.lora;
  only_qkv.projection = only_qkv.up = only_qkv.down = false;
  config.lora = only_qkv;
  write_adapter_folder(folder_, *make(config, 1), {"base", ""}, false);
  refuses(lora, "not zero between the parts");

  fs::remove(folder_ / kAdapterWeightsFile);
  test::expect_error(ErrorKind::input, kAdapterWeightsFile,
                     [&] { read_lora_config(folder_, test::golden_config()); });
}

TEST(ClassifierFolder, IsRefusedWhereWordsAreWanted) {
  const test::TemporaryDirectory directory;
  const auto backend = make_cpu_backend();
  ModelConfig config = test::golden_config();
  config.vocab_size = 257;
  config.labels = {"a", "b"};
  Gpt classifier(*backend, config, {});
  classifier.parameters().initialize(1);
  const std::string folder = directory / "classifier", out = directory / "out";
  write_model_folder(folder, classifier, make_byte_tokenizer().get());
  const std::vector<std::vector<std::string>> commands = {
      {"generate", folder, "-p", "a", "-n", "1"},
      {"chat", folder},
      {"eval", folder, "--data", folder},
      {"pretrain", "--data", folder, "--init", folder, "-o", out},
      {"export", folder, "-o", out, "--format", "book"},
      {"export", folder, "-o", out, "--format", "llm.c"},
  };
  for (const std::vector<std::string>& command : commands) {
    const test::ProcessResult result = test::run_llm(command);
    EXPECT_EQ(result.exit_code, 3) << command[0] << result.err;
    EXPECT_NE(result.err.find("a classifier of 2 labels"), std::string::npos) << result.err;
  }
  EXPECT_EQ(test::run_llm({"inspect", folder}).exit_code, 0);
  const test::ProcessResult copied = test::run_llm({"export", folder, "-o", out});
  EXPECT_EQ(copied.exit_code, 0) << copied.err;
  EXPECT_EQ(read_model_config(out).labels, config.labels);
}

TEST(ClassifierFolder, RoundTripsAndBeginsFromALanguageModel) {
  const auto backend = make_cpu_backend();
  for (const bool tied : {true, false}) {
    const test::TemporaryDirectory directory;
    ModelConfig plain = test::golden_config();
    plain.tied = tied;
    Gpt language(*backend, plain, {});
    language.parameters().initialize(3);
    write_model_folder(directory / "language", language, nullptr);

    ModelConfig config = language.config();
    config.labels = {"a", "b"};
    config.lora.rank = 2;
    config.lora.qkv = config.lora.score = true;
    Gpt classifier(*backend, config, {});
    ParameterStore& store = classifier.parameters();
    store.initialize(7);
    const int score = store.find("score.weight");
    const std::vector<float> initial = test::read_all(classifier, store.values(), score);
    // Only where it is said that the output layer is a new one.
    EXPECT_THROW(read_model_weights(directory / "language", classifier), Error);
    read_model_weights(directory / "language", classifier, OutputLayer::new_one);
    EXPECT_EQ(test::read_all(classifier, store.values(), score), initial);
    const int table = store.find("wte.weight");
    EXPECT_EQ(test::read_all(classifier, store.values(), table),
              test::read_all(language, language.parameters().values(),
                             language.parameters().find("wte.weight")));

    write_model_folder(directory / "classifier", classifier, nullptr);
    const SafetensorsFile file(directory / "classifier/model.safetensors");
    EXPECT_NE(file.find("score.weight"), nullptr);
    EXPECT_EQ(file.find("lm_head.weight"), nullptr);
    for (const TensorInfo& tensor : file.tensors()) {
      EXPECT_EQ(tensor.name.find("lora"), std::string::npos) << tensor.name;
    }
    const auto again = load_model(*backend, directory / "classifier");
    EXPECT_EQ(again->config().labels, config.labels);
    EXPECT_EQ(test::read_all(*again, again->parameters().values(),
                             again->parameters().find("score.weight")),
              initial);
  }
}

}  // namespace
}  // namespace llm
