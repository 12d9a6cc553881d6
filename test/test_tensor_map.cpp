#include <gtest/gtest.h>

#include <map>

#include "cpu_ref/cpu_backend.h"
#include "support/small_model.h"
#include "weights/tensor_map.h"

namespace llm {
namespace {

std::map<std::string, FileTensor> tensors_of(const ModelConfig& config, Naming naming) {
  const auto backend = make_cpu_backend();
  const Gpt model(*backend, config, {});
  std::map<std::string, FileTensor> by_name;
  for (const FileTensor& tensor : file_tensors(model.parameters(), naming)) {
    EXPECT_TRUE(by_name.emplace(tensor.name, tensor).second) << tensor.name;
  }
  return by_name;
}

using Shape = std::vector<int64_t>;

TEST(TensorMap, HuggingFaceNames) {
  const auto tensors = tensors_of(test::golden_config(), Naming::hugging_face);
  EXPECT_EQ(tensors.size(), 2u + 2 * 12 + 2);
  const FileTensor& qkv = tensors.at("transformer.h.1.attn.c_attn.weight");
  EXPECT_EQ(qkv.bare_name, "h.1.attn.c_attn.weight");
  EXPECT_EQ(qkv.shape, (Shape{48, 144}));
  EXPECT_TRUE(qkv.transposed);
  EXPECT_EQ(qkv.rows(), 144);
  EXPECT_EQ(qkv.columns(), 48);
  EXPECT_EQ(alias_in_files("lm_head.weight", Naming::hugging_face), "lm_head.weight");
}

TEST(TensorMap, BookNames) {
  ModelConfig config = test::golden_config();
  config.tied = false;
  const auto tensors = tensors_of(config, Naming::book);
  EXPECT_EQ(tensors.size(), 2u + 2 * 16 + 2 + 1);
  const std::map<std::string, Shape> expected = {
      {"tok_emb.weight", {65, 48}},
      {"pos_emb.weight", {32, 48}},
      {"trf_blocks.1.att.W_query.weight", {48, 48}},
      {"trf_blocks.1.att.W_key.bias", {48}},
      {"trf_blocks.0.att.out_proj.weight", {48, 48}},
      {"trf_blocks.0.att.out_proj.bias", {48}},
      {"trf_blocks.0.ff.layers.0.weight", {192, 48}},
      {"trf_blocks.0.ff.layers.0.bias", {192}},
      {"trf_blocks.0.ff.layers.2.weight", {48, 192}},
      {"trf_blocks.0.ff.layers.2.bias", {48}},
      {"trf_blocks.0.norm1.scale", {48}},
      {"trf_blocks.0.norm1.shift", {48}},
      {"trf_blocks.0.norm2.scale", {48}},
      {"trf_blocks.0.norm2.shift", {48}},
      {"final_norm.scale", {48}},
      {"final_norm.shift", {48}},
      {"out_head.weight", {65, 48}},
  };
  for (const auto& [name, shape] : expected) {
    ASSERT_TRUE(tensors.contains(name)) << name;
    EXPECT_EQ(tensors.at(name).shape, shape) << name;
    EXPECT_FALSE(tensors.at(name).transposed) << name;
  }
  const FileTensor& key = tensors.at("trf_blocks.1.att.W_key.weight");
  EXPECT_EQ(key.row_begin, 48);
  EXPECT_EQ(tensors.at("trf_blocks.1.att.W_value.weight").row_begin, 96);
  EXPECT_EQ(tensors.at("trf_blocks.1.att.W_query.weight").parameter, key.parameter);
  EXPECT_EQ(alias_in_files("lm_head.weight", Naming::book), "out_head.weight");
}

TEST(TensorMap, LeftOutBiasesAreZerosButTheBooksQkvHasNone) {
  ModelConfig config = test::golden_config();
  config.bias = config.qkv_bias = false;
  for (const Naming naming : {Naming::hugging_face, Naming::book, Naming::llm_c}) {
    size_t zeros = 0;
    for (const auto& [name, tensor] : tensors_of(config, naming)) zeros += tensor.parameter < 0;
    EXPECT_EQ(zeros, naming == Naming::book ? 2u * 5 + 1 : 2u * 6 + 1);
  }
}

TEST(TensorMap, MaskBuffers) {
  for (const char* name :
       {"transformer.h.0.attn.bias", "h.3.attn.masked_bias", "trf_blocks.0.att.mask"}) {
    EXPECT_TRUE(is_mask_buffer(name)) << name;
  }
  for (const char* name : {"h.0.attn.c_attn.bias", "h.0.attn.c_proj.bias", "attn.bias.x"}) {
    EXPECT_FALSE(is_mask_buffer(name)) << name;
  }
}

}  // namespace
}  // namespace llm
