// The hash of a model's weights: the same however they are written, another for other weights.
#include <gtest/gtest.h>

#include <set>

#include "base/json.h"
#include "cpu_ref/cpu_backend.h"
#include "support/expect_error.h"
#include "support/small_model.h"
#include "support/temporary_directory.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"
#include "weights/weights_hash.h"

namespace llm {
namespace {

class WeightsHash : public testing::Test {
 protected:
  WeightsHash() {
    write_model("model", [](ParameterStore&) {});
  }

  template <typename Change>
  void write_model(const std::string& name, const Change& change, DType dtype = DType::f32) {
    const ModelConfig config = test::golden_config();
    Gpt model(*backend_, config, {});
    test::fill_golden_weights(model);
    change(model.parameters());
    write_model_folder(directory_ / name,
                       {config, model.parameters(), reader_of(model), dtype, nullptr});
  }
  // The model as transformers may write it: in two files, some names without "transformer.", with
  // the mask of attention and the output layer, which is the token embedding, again.
  void write_in_another_form(const std::string& name) {
    const fs::path folder = directory_ / name;
    make_directories(folder);
    write_model_config(folder, test::golden_config(), DType::f32);
    const SafetensorsFile whole(directory_ / "model" / kWeightsFile);
    std::vector<TensorInfo> shards[2];
    std::vector<Bytes> data[2];
    for (size_t i = whole.tensors().size(); i-- > 0;) {
      TensorInfo info = whole.tensors()[i];
      data[i % 2].push_back(whole.bytes(info));
      if (info.name == "transformer.wte.weight") {
        data[1].push_back(whole.bytes(info));
        shards[1].push_back({"lm_head.weight", info.dtype, info.shape});
      }
      if (i % 2 == 0) info.name.erase(0, std::string("transformer.").size());
      shards[i % 2].push_back(info);
    }
    const std::vector<std::byte> mask(32 * 32, std::byte{1});
    shards[0].push_back({"h.0.attn.bias", DType::u8, {1, 1, 32, 32}});
    data[0].emplace_back(mask);
    Json map;
    for (size_t i = 0; i < 2; ++i) {
      const std::string file = i == 0 ? "a.safetensors" : "b.safetensors";
      SafetensorsWriter writer(folder / file, shards[i]);
      for (const Bytes& bytes : data[i]) writer.write(bytes);
      writer.finish();
      for (const TensorInfo& info : shards[i]) map[info.name] = file;
    }
    write_file_atomically(folder / kIndexFile, to_line(Json{{"weight_map", map}}));
  }
  std::string hash(const std::string& name) { return hash_of_weights(directory_ / name); }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  test::TemporaryDirectory directory_;
};

TEST_F(WeightsHash, IsThatOfTheValuesAndNotOfTheFile) {
  const std::string expected = hash("model");
  EXPECT_EQ(expected.size(), 5 + 64u);
  EXPECT_TRUE(expected.starts_with("bf16:")) << expected;
  write_model(
      "rounded", [](ParameterStore&) {}, DType::bf16);
  EXPECT_EQ(hash("rounded"), expected);
  write_in_another_form("shards");
  EXPECT_NO_THROW(load_model(*backend_, directory_ / "shards"));
  EXPECT_EQ(hash("shards"), expected);
}

TEST_F(WeightsHash, DependsOnEveryTensor) {
  std::set<std::string> hashes = {hash("model")};
  const Gpt outline(*backend_, test::golden_config(), {});
  const int count = static_cast<int>(outline.parameters().parameters().size());
  for (int i = 0; i < count; ++i) {
    write_model("other", [&](ParameterStore& store) {
      std::vector<float> values = store.read(i, store.values());
      values.back() += 0.5f;
      store.write(i, store.values(), values);
    });
    hashes.insert(hash("other"));
  }
  // Nor may two tensors of one shape stand for each other.
  write_model("other", [&](ParameterStore& store) {
    const int a = store.find("h.0.mlp.c_fc.weight"), b = store.find("h.1.mlp.c_fc.weight");
    const std::vector<float> values = store.read(a, store.values());
    store.write(a, store.values(), store.read(b, store.values()));
    store.write(b, store.values(), values);
  });
  hashes.insert(hash("other"));
  EXPECT_EQ(std::ssize(hashes), count + 2);
}

// As the comment of the declaration says: two roundings are not one.
TEST_F(WeightsHash, IsAnotherForWeightsRoundedToF16) {
  write_model(
      "half", [](ParameterStore&) {}, DType::f16);
  EXPECT_NE(hash("half"), hash("model"));
}

// Some write zeros for what such a model does not have.
TEST_F(WeightsHash, DoesNotCountTheBiasesOfAModelWithoutThem) {
  const SafetensorsFile whole(directory_ / "model" / kWeightsFile);
  ModelConfig config = test::golden_config();
  config.bias = false;
  for (const bool with_biases : {true, false}) {
    const fs::path folder = directory_ / (with_biases ? "zeros" : "none");
    make_directories(folder);
    write_model_config(folder, config, DType::f32);
    std::vector<TensorInfo> tensors;
    for (const TensorInfo& info : whole.tensors()) {
      if (with_biases || !info.name.ends_with(".bias")) tensors.push_back(info);
    }
    SafetensorsWriter writer(folder / kWeightsFile, tensors);
    for (const TensorInfo& info : tensors) {
      const std::vector<std::byte> zeros(whole.bytes(info).size());
      writer.write(info.name.ends_with(".bias") ? Bytes(zeros) : whole.bytes(info));
    }
    writer.finish();
    EXPECT_NO_THROW(load_model(*backend_, folder));
  }
  EXPECT_EQ(hash("zeros"), hash("none"));
  EXPECT_NE(hash("none"), hash("model"));
}

TEST_F(WeightsHash, IsComparedWithItsOwnKindOnly) {
  EXPECT_TRUE(are_weights_of(hash("model"), directory_ / "model"));
  std::string other = hash("model");
  other.back() = other.back() == '0' ? '1' : '0';
  EXPECT_FALSE(are_weights_of(other, directory_ / "model"));
  EXPECT_TRUE(are_weights_of(std::string(64, '0'), directory_ / "model"));  // with a warning
}

TEST_F(WeightsHash, NeedsAModel) {
  test::expect_error(ErrorKind::input, "config.json", [&] { hash("nowhere"); });
  fs::remove(directory_ / "model" / kWeightsFile);
  test::expect_error(ErrorKind::input, kWeightsFile, [&] { hash("model"); });
}

}  // namespace
}  // namespace llm
