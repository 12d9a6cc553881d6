// Models out and in again, in every form: the same bytes where the form holds them.
#include <gtest/gtest.h>

#include "cpu_ref/cpu_backend.h"
#include "support/expect_error.h"
#include "support/small_model.h"
#include "support/temporary_directory.h"
#include "weights/convert.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

using test::expect_error;

class Convert : public testing::Test {
 protected:
  // A model folder with weights of a type, to convert.
  fs::path make(const ModelConfig& config, DType dtype, const Tokenizer* tokenizer = nullptr) {
    Gpt model(*backend_, config, {});
    test::fill_golden_weights(model);
    const fs::path f32 = directory_ / "f32", folder = directory_ / "model";
    write_model_folder(f32, model, tokenizer);
    convert(f32, folder, ModelFormat::hugging_face, dtype, {}, tokenizer);
    return folder;
  }
  ConversionResult convert(const fs::path& from, const fs::path& to, ModelFormat format,
                           std::optional<DType> dtype, const ModelFacts& facts = {},
                           const Tokenizer* tokenizer = nullptr) {
    const ModelSource source = open_model_source(from);
    ConversionTarget target;
    target.format = format;
    target.directory = to;
    target.dtype = dtype;
    target.tokenizer = tokenizer;
    return convert_model(*backend_, source, config_of(source, facts), target);
  }
  static std::string weights(const fs::path& folder) {
    return read_text_file(folder / "model.safetensors");
  }
  static ModelConfig config_with(bool tied, bool bias = true, bool qkv_bias = true) {
    ModelConfig config = test::golden_config();
    config.tied = tied;
    config.bias = bias;
    config.qkv_bias = qkv_bias;
    return config;
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  test::TemporaryDirectory directory_;
};

TEST_F(Convert, RoundTripsThroughEveryFormAreIdentical) {
  struct Form {
    ModelFormat format;
    DType dtype;
    bool tied;
  };
  std::vector<Form> forms;
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const bool tied : {true, false}) {
      forms.push_back({ModelFormat::hugging_face, dtype, tied});
      forms.push_back({ModelFormat::book, dtype, tied});
    }
    if (dtype != DType::f16) forms.push_back({ModelFormat::llm_c, dtype, true});
  }
  ModelFacts facts;
  facts.heads = 3;
  for (const Form& form : forms) {
    const fs::path model = make(config_with(form.tied), form.dtype);
    const fs::path out = directory_ / "out", back = directory_ / "back";
    const ConversionResult result = convert(model, out, form.format, std::nullopt);
    EXPECT_EQ(result.dtype, form.dtype);
    const fs::path from = form.format == ModelFormat::hugging_face ? out : result.weights;
    EXPECT_EQ(convert(from, back, ModelFormat::hugging_face, std::nullopt, facts).dtype,
              form.dtype);
    EXPECT_TRUE(weights(back) == weights(model)) << static_cast<int>(form.format);
    EXPECT_EQ(read_json_file(back / "config.json"), read_json_file(model / "config.json"));
    // And once more to the form itself.
    const std::string written = read_text_file(result.weights);
    const auto again = convert(back, directory_ / "again", form.format, std::nullopt);
    EXPECT_TRUE(read_text_file(again.weights) == written);
    for (const char* name : {"out", "back", "again"}) fs::remove_all(directory_ / name);
  }
}

TEST_F(Convert, ALargerTypeAndBackIsIdentical) {
  const fs::path model = make(config_with(true), DType::bf16);
  convert(model, directory_ / "wide", ModelFormat::hugging_face, DType::f32);
  EXPECT_NE(weights(directory_ / "wide"), weights(model));
  convert(directory_ / "wide", directory_ / "back", ModelFormat::hugging_face, DType::bf16);
  EXPECT_TRUE(weights(directory_ / "back") == weights(model));
  EXPECT_EQ(read_json_file(directory_ / "back" / "config.json")["torch_dtype"], "bfloat16");
}

TEST_F(Convert, LeftOutBiasesAreZerosElsewhere) {
  ModelFacts facts;
  facts.heads = 3;
  const fs::path model = make(config_with(true, false, false), DType::f32);
  for (const ModelFormat format : {ModelFormat::book, ModelFormat::llm_c}) {
    const fs::path file = convert(model, directory_ / "out", format, std::nullopt).weights;
    convert(file, directory_ / "back", ModelFormat::hugging_face, std::nullopt, facts);
    EXPECT_TRUE(weights(directory_ / "back") == weights(model));
    // A state dict has a config.json beside it, which says that they are left out.
    const ModelConfig config = read_model_config(directory_ / "back");
    EXPECT_EQ(config.bias, format == ModelFormat::llm_c);
    EXPECT_EQ(config.qkv_bias, format == ModelFormat::llm_c);
    fs::remove_all(directory_ / "out");
  }
}

TEST_F(Convert, AMixtureOfTypesBecomesF32) {
  const fs::path model = make(config_with(true), DType::f32);
  const SafetensorsFile file(model / "model.safetensors");
  std::vector<TensorInfo> infos(file.tensors().begin(), file.tensors().end());
  infos[3].dtype = DType::bf16;
  const fs::path mixed = directory_ / "mixed";
  fs::copy(model, mixed);
  SafetensorsWriter writer(mixed / "model.safetensors", infos);
  for (const TensorInfo& info : infos) {
    std::vector<float> values(static_cast<size_t>(file.find(info.name)->elements()));
    file.read_f32(*file.find(info.name), values);
    std::vector<std::byte> buffer;
    writer.write(narrow(buffer, values, info.dtype, "x"));
  }
  writer.finish();
  const auto result = convert(mixed, directory_ / "back", ModelFormat::hugging_face, std::nullopt);
  EXPECT_EQ(result.dtype, DType::f32);
  const SafetensorsFile back(result.weights);
  for (const TensorInfo& info : file.tensors()) {
    std::vector<float> values(static_cast<size_t>(info.elements())), read(values.size());
    file.read_f32(info, values);
    back.read_f32(*back.find(info.name), read);
    if (info.name == infos[3].name) {
      EXPECT_NE(read, values);  // rounded once
      for (float& value : values) value = bf16_to_f32(f32_to_bf16(value));
    }
    EXPECT_TRUE(read == values) << info.name;
  }
}

TEST_F(Convert, WhatAFormatCannotHoldIsRefused) {
  const auto refused = [&](const ModelConfig& config, ModelFormat format, DType dtype,
                           const std::string& message) {
    const fs::path model = make(config, dtype);
    expect_error(ErrorKind::usage, message,
                 [&] { convert(model, directory_ / "out", format, std::nullopt); });
    EXPECT_FALSE(fs::exists(directory_ / "out" / "model.bin"));
    EXPECT_FALSE(fs::exists(directory_ / "out" / "model.bin.tmp"));
  };
  ModelConfig wide = config_with(true);
  wide.hidden = 100;
  refused(wide, ModelFormat::llm_c, DType::f32, "MLP");
  refused(wide, ModelFormat::book, DType::f32, "MLP");
  refused(config_with(false), ModelFormat::llm_c, DType::f32, "tied");
  refused(config_with(true), ModelFormat::llm_c, DType::f16, "f16");
  ModelConfig other = config_with(true);
  other.norm_epsilon = 1e-3f;
  refused(other, ModelFormat::llm_c, DType::f32, "this model's 0.001");
  refused(other, ModelFormat::book, DType::f32, "this model's 0.001");
}

TEST_F(Convert, AValueBeyondTheTypeIsRefusedWithItsTensor) {
  const fs::path folder = directory_ / "large";
  Gpt model(*backend_, config_with(true), {});
  test::fill_golden_weights(model);
  const int index = model.parameters().find("h.1.mlp.c_fc.weight");
  const float large = 1e6f;
  model.parameters().write(index, model.parameters().values(), std::span(&large, 1), 777);
  write_model_folder(folder, model, nullptr);
  for (const ModelFormat format : {ModelFormat::hugging_face, ModelFormat::book}) {
    expect_error(ErrorKind::input, "1000000 is too large for f16",
                 [&] { convert(folder, directory_ / "out", format, DType::f16); });
  }
  EXPECT_TRUE(fs::is_empty(directory_ / "out"));
}

TEST_F(Convert, TheTokenizerComesAlongAndMustFit) {
  ModelConfig config = config_with(true);
  config.vocab_size = 257;
  const auto tokenizer = make_byte_tokenizer();
  const fs::path model = make(config, DType::f32, tokenizer.get());
  for (const ModelFormat format :
       {ModelFormat::hugging_face, ModelFormat::book, ModelFormat::llm_c}) {
    const fs::path out = directory_ / std::to_string(static_cast<int>(format));
    convert(model, out, format, std::nullopt, {}, tokenizer.get());
    EXPECT_EQ(read_model_tokenizer(out)->hash(), tokenizer->hash());
  }
  config.vocab_size = 256;
  const fs::path small = make(config, DType::f32);
  expect_error(ErrorKind::input, "257 tokens, the model a vocabulary of 256", [&] {
    convert(small, directory_ / "x", ModelFormat::hugging_face, std::nullopt, {}, tokenizer.get());
  });
  EXPECT_FALSE(fs::exists(directory_ / "x"));
}

TEST_F(Convert, NamesOfFormatsAndTypes) {
  EXPECT_EQ(parse_model_format("llm.c"), ModelFormat::llm_c);
  expect_error(ErrorKind::usage, "--format", [] { parse_model_format("gguf"); });
  EXPECT_EQ(parse_file_dtype("bf16"), DType::bf16);
  expect_error(ErrorKind::usage, "--dtype", [] { parse_file_dtype("i32"); });
}

}  // namespace
}  // namespace llm
