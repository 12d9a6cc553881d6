// Models of other programs: what is known of them, and their logits. test/golden/models is by
// scripts/golden_models.py.
#include <gtest/gtest.h>

#include <fstream>

#include "cpu_ref/cpu_backend.h"
#include "support/expect_error.h"
#include "support/small_model.h"
#include "support/temporary_directory.h"
#include "weights/convert.h"
#include "weights/model_folder.h"
#include "weights/model_source.h"
#include "weights/torch_file.h"

namespace llm {
namespace {

using test::expect_error;

const fs::path kSourceModels = fs::path(LLM_SOURCE_DIR) / "test" / "golden" / "models";

struct GoldenModel {
  const char* name;
  const char* file;  // "": the folder
  int64_t layers, heads;
  bool tied, qkv_bias;
};
constexpr GoldenModel kGoldenModels[] = {
    {"sharded_f16", "", 3, 5, false, true},
    {"bare_bf16", "", 2, 1, true, true},
    {"pytorch_model_bin", "", 1, 3, true, true},
    {"pytorch_model_bin", "pytorch_model.bin", 1, 3, true, true},
    {"llm_c_f32", "model.bin", 2, 3, true, true},
    {"llm_c_bf16", "model.bin", 2, 3, true, true},
    {"book", "model.pth", 2, 3, false, false},
    {"book_checkpoint", "model.pth", 2, 5, true, true},
};

fs::path path_of(const GoldenModel& golden) { return kSourceModels / golden.name / golden.file; }

ModelFacts facts_of(const GoldenModel& golden) {
  ModelFacts facts;
  facts.heads = golden.heads;
  return facts;
}

TEST(ModelSource, ConfigsOfAllForms) {
  for (const GoldenModel& golden : kGoldenModels) {
    const ModelSource source = open_model_source(path_of(golden));
    const ModelConfig config = config_of(source, facts_of(golden));
    EXPECT_EQ(config.layers, golden.layers) << golden.name;
    EXPECT_EQ(config.heads, golden.heads) << golden.name;
    EXPECT_EQ(config.kv_heads, golden.heads) << golden.name;
    EXPECT_EQ(config.channels, 15) << golden.name;
    EXPECT_EQ(config.context, 9) << golden.name;
    EXPECT_EQ(config.vocab_size, 23) << golden.name;
    EXPECT_EQ(config.tied, golden.tied) << golden.name;
    EXPECT_EQ(config.qkv_bias, golden.qkv_bias) << golden.name;
    EXPECT_EQ(config.hidden, std::string(golden.name) == "bare_bf16" ? 26 : 60) << golden.name;
  }
}

void expect_logits(const fs::path& folder, const Json& golden, const std::string& name) {
  const auto backend = make_cpu_backend();
  const auto model = load_model(*backend, folder);
  const auto length = static_cast<int64_t>(golden["ids"][0].size());
  test::TokenRows rows{2, length, {}, std::vector<int32_t>(static_cast<size_t>(2 * length), 0)};
  for (const Json& row : golden["ids"]) {
    for (int32_t id : row) rows.tokens.push_back(id);
  }
  const std::vector<float> logits = test::inference_logits(*model, rows);
  const auto expected = golden["logits"].get<std::vector<double>>();
  ASSERT_EQ(logits.size(), expected.size()) << name;
  double largest = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    ASSERT_NEAR(logits[i], expected[i], 2e-5) << name << " " << i;
    largest = std::max(largest, std::abs(expected[i]));
  }
  EXPECT_GT(largest, 0.5) << name;  // there was something to compare
}

TEST(ModelSource, LogitsOfAllFormsEqualPyTorchs) {
  for (const GoldenModel& golden : kGoldenModels) {
    const test::TemporaryDirectory directory;
    const ModelSource source = open_model_source(path_of(golden));
    const auto backend = make_cpu_backend();
    ConversionTarget target;
    target.directory = directory.path();
    convert_model(*backend, source, config_of(source, facts_of(golden)), target);
    expect_logits(directory.path(), read_json_file(kSourceModels / golden.name / "logits.json"),
                  golden.name);
  }
}

TEST(ModelSource, ShardedAndBareFoldersAreModelFolders) {
  for (const char* name : {"sharded_f16", "bare_bf16"}) {
    EXPECT_EQ(resolve_model_folder((kSourceModels / name).string()), kSourceModels / name);
    expect_logits(kSourceModels / name, read_json_file(kSourceModels / name / "logits.json"), name);
  }
}

TEST(ModelSource, HeadsAreAskedForWhereTheFileDoesNotTell) {
  const ModelSource source = open_model_source(kSourceModels / "book" / "model.pth");
  expect_error(ErrorKind::usage, "--heads", [&] { config_of(source, {}); });
  ModelFacts facts;
  facts.heads = 4;
  expect_error(ErrorKind::usage, "15 channels cannot be divided among 4 heads",
               [&] { config_of(source, facts); });
}

TEST(ModelSource, TheHintKnowsTheWidthsOfGpt2) {
  const test::TemporaryDirectory directory;
  const auto zeros = [](int64_t count) {
    return [count](const std::function<void(Bytes)>& write) {
      const std::vector<std::byte> bytes(static_cast<size_t>(count * 2));
      write(bytes);
    };
  };
  write_torch_file(directory / "a.pth",
                   {{"tok_emb.weight", {3, 768}, DType::bf16, -1, zeros(3 * 768)},
                    {"pos_emb.weight", {2, 768}, DType::bf16, -1, zeros(2 * 768)},
                    {"trf_blocks.0.ff.layers.0.weight", {1, 768}, DType::bf16, -1, zeros(768)}});
  expect_error(ErrorKind::usage, "gpt2, as wide, has 12 heads",
               [&] { config_of(open_model_source(directory / "a.pth"), {}); });
}

TEST(ModelSource, AnEqualOutputLayerIsTiedUnlessItIsToBeKept) {
  const ModelSource source = open_model_source(kSourceModels / "book_checkpoint" / "model.pth");
  ModelFacts facts;
  facts.heads = 5;
  EXPECT_TRUE(config_of(source, facts).tied);
  facts.untied = true;
  EXPECT_FALSE(config_of(source, facts).tied);
}

// A state dict with some tensors of one number each, all zero.
ModelSource made(const fs::path& path, const std::vector<TorchTensor>& tensors) {
  std::vector<TorchTensor> filled = tensors;
  for (TorchTensor& tensor : filled) {
    int64_t count = 4;
    for (const int64_t size : tensor.shape) count *= size;
    tensor.stream = [count](const std::function<void(Bytes)>& write) {
      const std::vector<std::byte> bytes(static_cast<size_t>(count));
      write(bytes);
    };
  }
  write_torch_file(path, filled);
  return open_model_source(path);
}

TEST(ModelSource, TensorsOfNoKnownFormAreRefusedByName) {
  const test::TemporaryDirectory directory;
  const fs::path path = directory / "a.pth";
  const auto refused = [&](const std::vector<TorchTensor>& tensors, const std::string& message) {
    const ModelSource source = made(path, tensors);
    ModelFacts facts;
    facts.heads = 1;
    expect_error(ErrorKind::input, message, [&] { config_of(source, facts); });
  };
  refused({}, "no tensors");
  refused({{"fc.weight", {1, 1}}}, "\"fc.weight\"");
  refused({{"tok_emb.weight", {1, 1}}}, "\"trf_blocks.0.ff.layers.0.weight\" is missing");
  refused({{"wte.weight", {1}}}, "\"wte.weight\" has shape (1)");
  const TorchTensor table{"tok_emb.weight", {1, 1}}, up{"trf_blocks.0.ff.layers.0.weight", {4, 1}},
      positions{"pos_emb.weight", {1, 1}};
  refused({table, up}, "\"pos_emb.weight\" is missing");
  refused({table, up, positions, {"trf_blocks.x.a", {1}}}, "\"trf_blocks.x.a\" is in no block");
  refused({table, up, positions, {"trf_blocks.-1.a", {1}}}, "\"trf_blocks.-1.a\"");
  refused({table, up, positions, {"trf_blocks.2147483647.a", {1}}}, "2147483648");
  refused({table, up, positions, {"trf_blocks.99999.a", {1}}}, "number of layers is 100000");
  refused({{"tok_emb.weight", {0, 5}}, up, positions}, "vocabulary size is 0");
}

TEST(ModelSource, FilesThatAreNothingAreInputErrors) {
  const test::TemporaryDirectory directory;
  expect_error(ErrorKind::input, "absent", [&] { open_model_source(directory / "absent"); });
  expect_error(ErrorKind::input, directory.path().string(),
               [&] { open_model_source(directory.path()); });
  std::ofstream(directory / "a.bin") << "hello, this is no model at all";
  expect_error(ErrorKind::input,
               "a.bin: is no file of weights of a known form (safetensors, a state dict of PyTorch "
               "(.pth) and a model file of llm.c (.bin) are read)",
               [&] { open_model_source(directory / "a.bin"); });
  for (const char* name : {"empty.pth", "empty.safetensors"}) {
    std::ofstream(directory / name) << "";
    expect_error(ErrorKind::input, std::string(name) + ": is empty",
                 [&] { open_model_source(directory / name); });
  }
}

}  // namespace
}  // namespace llm
