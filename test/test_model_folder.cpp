#include <gtest/gtest.h>

#include <fstream>

#include "backend/plan_backend.h"
#include "base/error.h"
#include "cpu_ref/cpu_backend.h"
#include "support/expect_error.h"
#include "support/memory_backend.h"
#include "support/small_model.h"
#include "support/temporary_directory.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

using test::TemporaryDirectory;

ModelConfig config_with(bool bias, bool qkv_bias, bool tied) {
  ModelConfig config = test::golden_config();
  config.bias = bias;
  config.qkv_bias = qkv_bias;
  config.tied = tied;
  return config;
}

std::string contents(const fs::path& path) { return read_text_file(path); }

void overwrite(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

// All tensors of a file with their values, to be changed and written again.
struct Tensors {
  std::vector<TensorInfo> infos;
  std::vector<std::vector<float>> values;

  explicit Tensors(const fs::path& directory) {
    const SafetensorsFile file(directory / "model.safetensors");
    for (const TensorInfo& info : file.tensors()) {
      infos.push_back(info);
      values.emplace_back(static_cast<size_t>(info.elements()));
      file.read_f32(info, values.back());
    }
  }
  size_t at(const std::string& name) const {
    for (size_t i = 0; i < infos.size(); ++i) {
      if (infos[i].name == name) return i;
    }
    throw std::out_of_range(name);
  }
  void add(const std::string& name, std::vector<int64_t> shape, std::vector<float> data) {
    infos.push_back({name, DType::f32, std::move(shape)});
    values.push_back(std::move(data));
  }
  void remove(const std::string& name) {
    const auto index = static_cast<std::ptrdiff_t>(at(name));
    infos.erase(infos.begin() + index);
    values.erase(values.begin() + index);
  }
  void save(const fs::path& directory) const {
    SafetensorsWriter writer(directory / "model.safetensors", infos);
    for (const auto& data : values) writer.write(std::as_bytes(std::span(data)));
    writer.finish();
  }
};

class ModelFolder : public testing::Test {
 protected:
  std::unique_ptr<Gpt> make(const ModelConfig& config, Backend& backend) {
    auto model = std::make_unique<Gpt>(backend, config, StoreOptions{});
    test::fill_golden_weights(*model);
    return model;
  }
  std::unique_ptr<Gpt> make(const ModelConfig& config) { return make(config, *backend_); }

  void expect_equal(const Gpt& a, const Gpt& b) {
    ASSERT_EQ(a.parameters().parameters().size(), b.parameters().parameters().size());
    for (size_t i = 0; i < a.parameters().parameters().size(); ++i) {
      const int index = static_cast<int>(i);
      EXPECT_EQ(test::read_all(a, a.parameters().values(), index),
                test::read_all(b, b.parameters().values(), index))
          << a.parameters().parameters()[i].name;
    }
  }
  std::string refusal(ErrorKind kind = ErrorKind::input) {
    try {
      load_model(*backend_, directory_.path());
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_NE(std::string(error.what()).find(directory_.path().string()), std::string::npos);
      return error.what();
    }
    return "accepted";
  }
  void expect_refusal(const std::string& part) {
    const std::string message = refusal();
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  TemporaryDirectory directory_;
};

TEST_F(ModelFolder, WhatIsWrittenIsRead) {
  for (int variant = 0; variant < 8; ++variant) {
    const ModelConfig config = config_with(variant & 1, variant & 2, variant & 4);
    const auto model = make(config);
    write_model_folder(directory_.path(), *model, nullptr);
    const auto read = load_model(*backend_, directory_.path());
    EXPECT_EQ(to_hugging_face(read->config()), to_hugging_face(config));
    expect_equal(*model, *read);
  }
}

TEST_F(ModelFolder, WithoutTrainingBf16WeightsAreAllThatIsKept) {
  const auto model = make(test::golden_config());
  write_model_folder(directory_.path(), *model, nullptr);
  const auto rounded = load_model(*backend_, directory_.path(), {.dtype = DType::bf16});
  const ParameterStore &wide = model->parameters(), &store = rounded->parameters();
  EXPECT_EQ(store.dtype(), DType::bf16);
  EXPECT_EQ(store.values().data, store.rounded_values().data);
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const int index = static_cast<int>(i);
    std::vector<float> wanted = test::read_all(*model, wide.values(), index);
    for (float& value : wanted) value = bf16_to_f32(f32_to_bf16(value));
    EXPECT_EQ(test::read_all(*rounded, store.values(), index), wanted);
    EXPECT_EQ(store.value(index).dtype, DType::bf16);
  }
  const Tensor table = store.value(0);
  const int64_t vocab = rounded->config().vocab_size;
  for (int64_t i = vocab * table.columns(); i < table.size(); ++i) EXPECT_EQ(table.bf16()[i], 0);

  MemoryByPurpose f32, bf16;
  const auto f32_plan = make_plan_backend(*backend_, f32);
  const auto bf16_plan = make_plan_backend(*backend_, bf16);
  const Gpt in_f32(*f32_plan, model->config(), {});
  const Gpt in_bf16(*bf16_plan, model->config(), {.dtype = DType::bf16});
  EXPECT_EQ(2 * bf16["parameters"], f32["parameters"]);
}

TEST_F(ModelFolder, PaddingIsZeroAfterLoading) {
  const auto model = make(test::golden_config());
  write_model_folder(directory_.path(), *model, nullptr);
  auto read = make(test::golden_config());
  const Tensor table = read->parameters().value(0);
  backend_->fill(table, 7);
  read_model_weights(directory_.path(), *read);
  const int64_t vocab = read->config().vocab_size;
  ASSERT_GT(read->padded_vocab(), vocab);
  for (int64_t i = vocab * table.columns(); i < table.size(); ++i) EXPECT_EQ(table.f32()[i], 0);
}

TEST_F(ModelFolder, FileHasHuggingFaceNamesShapesAndOrientation) {
  const auto model = make(config_with(false, false, false));
  write_model_folder(directory_.path(), *model, nullptr);
  const Tensors tensors(directory_.path());
  EXPECT_EQ(tensors.infos.size(), 2u + 2 * 12 + 2 + 1);
  EXPECT_EQ(tensors.infos[tensors.at("lm_head.weight")].shape, (std::vector<int64_t>{65, 48}));
  EXPECT_EQ(tensors.infos[tensors.at("transformer.wte.weight")].shape,
            (std::vector<int64_t>{65, 48}));
  for (float value : tensors.values[tensors.at("transformer.ln_f.bias")]) EXPECT_EQ(value, 0);
  for (float value : tensors.values[tensors.at("transformer.h.1.mlp.c_fc.bias")]) {
    EXPECT_EQ(value, 0);
  }
  // Also for the square matrix, where a missing transpose has no wrong shape.
  for (const auto& [name, out, in] :
       {std::tuple{"h.0.attn.c_attn.weight", 144, 48}, std::tuple{"h.1.attn.c_proj.weight", 48, 48},
        std::tuple{"h.1.mlp.c_proj.weight", 48, 192}}) {
    const size_t index = tensors.at("transformer." + std::string(name));
    EXPECT_EQ(tensors.infos[index].shape, (std::vector<int64_t>{in, out}));
    const auto memory =
        test::read_all(*model, model->parameters().values(), model->parameters().find(name));
    for (int o = 0; o < out; ++o) {
      for (int i = 0; i < in; ++i) {
        ASSERT_EQ(tensors.values[index][static_cast<size_t>(i * out + o)],
                  memory[static_cast<size_t>(o * in + i)]);
      }
    }
  }
}

TEST_F(ModelFolder, BytesDependOnTheModelOnly) {
  const auto model = make(test::golden_config());
  const TemporaryDirectory other;
  write_model_folder(directory_.path(), *model, nullptr);
  write_model_folder(other.path(), *model, nullptr);
  write_model_folder(other.path(), *model, nullptr);  // over itself
  int files = 0;
  for (const auto& entry : fs::directory_iterator(directory_.path())) {
    EXPECT_EQ(contents(entry.path()), contents(other.path() / entry.path().filename()));
    ++files;
  }
  EXPECT_EQ(files, 3);
  const auto reread = load_model(*backend_, directory_.path());
  write_model_folder(other.path(), *reread, nullptr);
  EXPECT_EQ(contents(directory_ / "model.safetensors"), contents(other / "model.safetensors"));
}

TEST_F(ModelFolder, ADeviceWritesAndReadsTheSameBytes) {
  const TemporaryDirectory other;
  const auto device = test::make_memory_backend(/*host=*/false);
  const auto model = make(config_with(true, false, true));
  const auto on_device = make(config_with(true, false, true), *device);
  write_model_folder(directory_.path(), *model, nullptr);
  write_model_folder(other.path(), *on_device, nullptr);
  EXPECT_EQ(contents(directory_ / "model.safetensors"), contents(other / "model.safetensors"));
  expect_equal(*model, *load_model(*device, directory_.path()));
}

TEST_F(ModelFolder, NamesWithoutPrefixAndMaskBuffersAreRead) {
  const auto model = make(test::golden_config());
  write_model_folder(directory_.path(), *model, nullptr);
  Tensors tensors(directory_.path());
  for (TensorInfo& info : tensors.infos)
    info.name = info.name.substr(std::string("transformer.").size());
  tensors.add("h.0.attn.bias", {1, 1, 32, 32}, std::vector<float>(1024, 1));
  tensors.add("h.1.attn.masked_bias", {}, {-10000});
  tensors.save(directory_.path());
  expect_equal(*model, *load_model(*backend_, directory_.path()));
}

TEST_F(ModelFolder, ATiedOutputLayerMayBeInTheFileIfItIsTheSame) {
  const auto model = make(test::golden_config());
  write_model_folder(directory_.path(), *model, nullptr);
  Tensors tensors(directory_.path());
  const auto table = tensors.values[tensors.at("transformer.wte.weight")];
  tensors.add("lm_head.weight", {65, 48}, table);
  tensors.save(directory_.path());
  expect_equal(*model, *load_model(*backend_, directory_.path()));
  tensors.values.back()[3] += 1;
  tensors.save(directory_.path());
  expect_refusal("\"lm_head.weight\" differs");
}

TEST_F(ModelFolder, LeftOutBiasesMayBeAbsentButMustBeZero) {
  const auto model = make(config_with(false, false, true));
  write_model_folder(directory_.path(), *model, nullptr);
  Tensors tensors(directory_.path());
  tensors.remove("transformer.h.0.ln_1.bias");
  tensors.save(directory_.path());
  expect_equal(*model, *load_model(*backend_, directory_.path()));
  tensors.values[tensors.at("transformer.h.1.attn.c_attn.bias")][5] = 1e-30f;
  tensors.save(directory_.path());
  expect_refusal("\"transformer.h.1.attn.c_attn.bias\" is not zero");
}

TEST_F(ModelFolder, MissingExtraAndMisshapenTensorsAreNamed) {
  const auto model = make(test::golden_config());
  write_model_folder(directory_.path(), *model, nullptr);
  const Tensors good(directory_.path());

  Tensors changed = good;
  changed.remove("transformer.h.1.ln_2.weight");
  changed.save(directory_.path());
  expect_refusal("\"transformer.h.1.ln_2.weight\" (48) is missing");

  changed = good;
  changed.add("transformer.h.2.ln_1.weight", {48}, std::vector<float>(48));
  changed.save(directory_.path());
  expect_refusal("\"transformer.h.2.ln_1.weight\" (48) does not belong");

  changed = good;
  changed.infos[changed.at("transformer.h.0.mlp.c_fc.weight")].shape = {192, 48};
  changed.save(directory_.path());
  expect_refusal("\"transformer.h.0.mlp.c_fc.weight\" has shape (192, 48)");

  changed = good;
  changed.add("ln_f.weight", {48}, std::vector<float>(48));
  changed.save(directory_.path());
  expect_refusal("has both \"transformer.ln_f.weight\" and \"ln_f.weight\"");

  changed = good;
  changed.infos[changed.at("transformer.ln_f.bias")].dtype = DType::i32;
  changed.save(directory_.path());
  expect_refusal("\"transformer.ln_f.bias\" holds i32");
}

TEST_F(ModelFolder, ARefusedFileChangesNoWeight) {
  const auto model = make(test::golden_config());
  write_model_folder(directory_.path(), *model, nullptr);
  Tensors tensors(directory_.path());
  for (auto& data : tensors.values) std::fill(data.begin(), data.end(), 9.0f);
  tensors.remove("transformer.ln_f.weight");
  tensors.save(directory_.path());
  const auto untouched = make(test::golden_config());
  EXPECT_THROW(read_model_weights(directory_.path(), *model), Error);
  expect_equal(*model, *untouched);
}

TEST_F(ModelFolder, AConfigThatClaimsAGiantModelTakesNoMemory) {
  write_model_folder(directory_.path(), *make(test::golden_config()), nullptr);
  ModelConfig giant = test::golden_config();
  giant.layers = 10'000;
  giant.heads = giant.kv_heads = 1 << 16;
  giant.channels = 1 << 20;
  giant.hidden = 4 << 20;
  giant.bias = false;
  overwrite(directory_ / "config.json", to_pretty_text(to_hugging_face(giant)));
  expect_refusal("has shape");
}

TEST_F(ModelFolder, FoldersThatAreNoModelAreRefused) {
  expect_refusal("config.json");
  write_model_folder(directory_.path(), *make(test::golden_config()), nullptr);
  const std::string weights = contents(directory_ / "model.safetensors");
  overwrite(directory_ / "model.safetensors", weights.substr(0, weights.size() - 1));
  expect_refusal("truncated");
  fs::remove(directory_ / "model.safetensors");
  expect_refusal("model.safetensors");
  overwrite(directory_ / "config.json", "{\"n_layer\": 1e9}");
  expect_refusal("config.json");
}

TEST_F(ModelFolder, WhatIsMissingIsNamed) {
  const auto refused = [&](const fs::path& path, const std::string& part) {
    test::expect_error(ErrorKind::input, part, [&] { resolve_model_folder(path.string()); });
  };
  const fs::path folder = directory_.path();
  refused(folder, "neither config.json and model.safetensors");
  std::ofstream(folder / "config.json") << "{}";
  refused(folder, "has config.json, but no weights: neither model.safetensors nor");
  std::ofstream(folder / "pytorch_model.bin") << "x";
  refused(folder, "has pytorch_model.bin, not model.safetensors (`llm import '" + folder.string());
  fs::remove(folder / "config.json");
  refused(folder, "`llm import '" + (folder / "pytorch_model.bin").string() + "' -o DIR`");
  fs::remove(folder / "pytorch_model.bin");
  std::ofstream(folder / "model.safetensors") << "x";
  refused(folder, "has model.safetensors, but no config.json");
  refused(folder / "model.safetensors", "is a file; a model is a folder (if it holds weights");
}

TEST_F(ModelFolder, AFullDiskLeavesTheOldWeights) {
  const auto model = make(test::golden_config());
  write_model_folder(directory_.path(), *model, nullptr);
  const auto other = make(test::golden_config());
  other->parameters().initialize(5);
  int64_t failing = 0;
  for (bool finished = false; !finished; ++failing) {
    set_file_hook([&](int64_t number, FileOperation, const fs::path& path) {
      if (number == failing + 1) fail_disk(path.string(), "cannot write", ENOSPC);
    });
    try {
      write_model_folder(directory_.path(), *other, nullptr);
      finished = true;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::disk);
    }
    set_file_hook({});
    EXPECT_NO_THROW(load_model(*backend_, directory_.path())) << failing;
  }
  EXPECT_GT(failing, 8);
  expect_equal(*other, *load_model(*backend_, directory_.path()));
}

TEST_F(ModelFolder, ResolvesModelRunAndCheckpointFolders) {
  const auto model = make(test::golden_config());
  const fs::path run = directory_ / "run";
  const fs::path first = run / "checkpoints" / "step_00000010",
                 second = run / "checkpoints" / "step_00000020";
  const auto refused = [&] {
    try {
      resolve_model_folder(run.string());
    } catch (const Error& error) {
      return error.kind() == ErrorKind::input;
    }
    return false;
  };
  EXPECT_TRUE(refused());
  write_model_folder(first, *model, nullptr);
  write_model_folder(second, *model, nullptr);
  write_model_folder(run / "checkpoints" / ".tmp-step_00000030", *model, nullptr);
  EXPECT_EQ(resolve_model_folder(run.string()), second);
  EXPECT_EQ(resolve_model_folder(first.string()), first);
  overwrite(second / "model.safetensors", "damaged");
  EXPECT_EQ(resolve_model_folder(run.string()), first);
  write_model_folder(run, *model, nullptr);
  EXPECT_EQ(resolve_model_folder(run.string()), run);
  fs::remove_all(run / "checkpoints");
  fs::remove(run / "config.json");
  EXPECT_TRUE(refused());
}

TEST_F(ModelFolder, TokenizerFilesAreCopied) {
  EXPECT_EQ(read_model_tokenizer(directory_.path()), nullptr);
  const auto tokenizer = make_char_tokenizer("hello world");
  write_model_folder(directory_.path(), *make(test::golden_config()), tokenizer.get());
  const auto read = read_model_tokenizer(directory_.path());
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(read->hash(), tokenizer->hash());
  const Json json = read_json_file(directory_ / "tokenizer_config.json");
  EXPECT_EQ(json["tokenizer_class"], "PreTrainedTokenizerFast");
  EXPECT_FALSE(json.contains("eos_token"));
  write_model_folder(directory_.path(), *make(test::golden_config()), make_byte_tokenizer().get());
  EXPECT_EQ(read_json_file(directory_ / "tokenizer_config.json")["eos_token"], "<|endoftext|>");
}

}  // namespace
}  // namespace llm
