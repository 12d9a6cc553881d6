// Adapters and their base as one model: the logits that peft computes, and finding the base.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "support/expect_error.h"
#include "support/small_model.h"
#include "support/temporary_directory.h"
#include "weights/adapted_model.h"
#include "weights/adapter_folder.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"
#include "weights/weights_hash.h"

namespace llm {
namespace {

const fs::path kGolden = fs::path(LLM_SOURCE_DIR) / "test" / "golden" / "fine_tuned";

class AdaptedModel : public testing::Test {
 protected:
  AdaptedModel() {
    for (const char* name : {"base", "adapters", "classifier_lora"}) {
      fs::copy(kGolden / name, directory_ / name, fs::copy_options::recursive);
    }
  }
  std::string path(const std::string& name) const { return (directory_ / name).string(); }
  void change_config(const std::string& folder, const std::string& key, const Json& value) {
    Json json = read_json_file(directory_ / folder / kAdapterConfigFile);
    json[key] = value;
    std::ofstream(directory_ / folder / kAdapterConfigFile) << json;
  }
  void refuses(const std::string& message, const std::string& model, const std::string& base = {}) {
    test::expect_error(ErrorKind::input, message, [&] { locate_model(model, base); });
  }
  // Against the logits of the last tokens that peft computed.
  void expect_logits(Gpt& model) {
    const Json golden = read_json_file(kGolden / "adapters" / "logits.json");
    test::TokenRows rows{2, 16, {}, {}};
    for (const Json& row : golden["ids"]) {
      for (const int32_t id : row) rows.tokens.push_back(id);
    }
    rows.targets.assign(rows.tokens.size(), 0);
    const std::vector<float> logits = test::inference_logits(model, rows);
    const auto expected = golden["logits"].get<std::vector<float>>();
    ASSERT_EQ(expected.size(), 2u * 257);
    for (size_t i = 0; i < expected.size(); ++i) {
      const size_t row = i / 257 * 16 + 15;
      ASSERT_NEAR(logits[row * 257 + i % 257], expected[i], 2e-5) << i;
    }
  }

  test::TemporaryDirectory directory_;
  std::unique_ptr<Backend> backend_ = make_cpu_backend();
};

TEST_F(AdaptedModel, LogitsAreThoseOfPeft) {
  const ModelLocation location = locate_model(path("adapters"));
  EXPECT_TRUE(location.adapted());
  EXPECT_TRUE(fs::equivalent(location.folder, directory_ / "base"));
  EXPECT_EQ(location.named(), path("adapters"));
  const auto model = load_model(*backend_, location);
  EXPECT_EQ(model->config().lora.rank, 4);  // the highest of 1, 2 and 4
  expect_logits(*model);
  const auto merged = load_merged_model(*backend_, location);
  EXPECT_EQ(merged->config().lora.rank, 0);
  expect_logits(*merged);

  // Written again they are all of one rank, and the same.
  write_adapter_folder(directory_ / "again", *model, {"../base", ""}, false);
  expect_logits(*load_model(*backend_, locate_model(path("again"))));
}

TEST_F(AdaptedModel, TheBaseIsWhereTheFolderOrTheUserSays) {
  fs::rename(directory_ / "base", directory_ / "moved");
  refuses("the model that the adapters are for, \"../base\", is not there", path("adapters"));
  refuses("--base", path("adapters"));
  EXPECT_EQ(locate_model(path("adapters"), path("moved")).folder, path("moved"));
  change_config("adapters", "base_model_name_or_path", path("moved"));
  EXPECT_EQ(locate_model(path("adapters")).folder, path("moved"));
  change_config("adapters", "base_model_name_or_path", "gpt2-nowhere");
  refuses("llm download gpt2-nowhere", path("adapters"));
  change_config("adapters", "base_model_name_or_path", nullptr);
  refuses("does not say which model", path("adapters"));
  refuses("a whole model", path("adapters"), path("classifier_lora"));
  fs::copy(directory_ / "moved", directory_ / "adapters", fs::copy_options::recursive);
  refuses("which are meant?", path("adapters"));
  test::expect_error(ErrorKind::usage, "--base",
                     [&] { locate_model(path("moved"), path("moved")); });
  EXPECT_FALSE(locate_model(path("moved")).adapted());
  test::expect_error(ErrorKind::input, "holds adapters, not a whole model",
                     [&] { resolve_model_folder(path("classifier_lora")); });
}

TEST_F(AdaptedModel, AdaptersForAnotherModelAreRefused) {
  ModelConfig other = test::golden_config();
  other.vocab_size = 257;
  Gpt model(*backend_, other, {});
  test::fill_golden_weights(model);
  write_model_folder(directory_ / "other", model, nullptr);
  test::expect_error(ErrorKind::input, "are the adapters for another model?",
                     [&] { load_model(*backend_, locate_model(path("adapters"), path("other"))); });
  change_config("adapters", "r", 3);
  test::expect_error(ErrorKind::input, "which is not of the rank 3",
                     [&] { load_model(*backend_, locate_model(path("adapters"))); });
}

TEST_F(AdaptedModel, OtherWeightsOfTheSameShapesAreRefused) {
  // Without a hash, as peft writes them, adapters are for whatever has their shapes.
  const auto model = load_model(*backend_, locate_model(path("adapters")));
  const std::string hash = hash_of_weights(directory_ / "base");
  EXPECT_EQ(read_base_hash(directory_ / "adapters"), "");
  write_adapter_folder(directory_ / "ours", *model, {"../base", hash}, false);
  EXPECT_EQ(read_base_hash(directory_ / "ours"), hash);
  expect_logits(*load_model(*backend_, locate_model(path("ours"))));

  const auto base = load_model(*backend_, directory_ / "base");
  ParameterStore& store = base->parameters();
  const int gain = store.find("ln_f.weight");
  std::vector<float> values = store.read(gain, store.values());
  values.back() *= 1.01f;
  store.write(gain, store.values(), values);
  write_model_folder(directory_ / "other", *base, nullptr);
  const ModelLocation wrong = locate_model(path("ours"), path("other"));
  for (const std::string& part : {hash.substr(0, 12), path("other"), std::string("\"../base\""),
                                  std::string("--base MODEL")}) {
    test::expect_error(ErrorKind::input, part, [&] { load_model(*backend_, wrong); });
    test::expect_error(ErrorKind::input, part, [&] { load_merged_model(*backend_, wrong); });
  }
  EXPECT_NO_THROW(load_model(*backend_, locate_model(path("adapters"), path("other"))));
}

TEST_F(AdaptedModel, AnOutputLayerMakesAClassifier) {
  const ModelLocation location = locate_model(path("classifier_lora"));
  ModelConfig config = read_config(location);
  EXPECT_EQ(config.labels, (std::vector<std::string>{"LABEL_0", "LABEL_1", "LABEL_2"}));
  const auto model = load_model(*backend_, location);

  // Our own folders tell labels and pooling, for which PEFT has no place.
  config.labels = {"ham", "spam", "un\"sure"};
  config.pooling = Pooling::mean;
  Gpt ours(*backend_, config, {});
  ours.parameters().initialize(1);
  write_adapter_folder(directory_ / "ours", ours, {"../base", ""}, true);
  const ModelConfig read = read_config(locate_model(path("ours")));
  EXPECT_EQ(read.labels, config.labels);
  EXPECT_EQ(read.pooling, Pooling::mean);

  // A base that is a classifier of another number of labels.
  ModelConfig two = read_model_config(directory_ / "base");
  two.labels = {"a", "b"};
  Gpt classifier(*backend_, two, {});
  classifier.parameters().initialize(1);
  write_model_folder(directory_ / "two", classifier, nullptr);
  test::expect_error(ErrorKind::input, "3 labels, the base model 2",
                     [&] { read_config(locate_model(path("classifier_lora"), path("two"))); });
  two.labels = {"a", "b", "c"};
  Gpt three(*backend_, two, {});
  three.parameters().initialize(1);
  write_model_folder(directory_ / "three", three, nullptr);
  EXPECT_EQ(read_config(locate_model(path("classifier_lora"), path("three"))).labels, two.labels);
}

}  // namespace
}  // namespace llm
