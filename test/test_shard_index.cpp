// Models in several safetensors files, and their index.
#include <gtest/gtest.h>

#include <fstream>

#include "support/expect_error.h"
#include "support/hostile_files.h"
#include "support/temporary_directory.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

using test::expect_error;

std::string index_of(const std::string& map) { return "{\"weight_map\":{" + map + "}}"; }
std::string in_shard(const std::string& shard) { return index_of("\"a\":\"" + shard + "\""); }

TEST(ShardIndex, ListsTheTensorsOfEachShard) {
  const ShardIndex index = parse_shard_index(
      R"({"metadata":{"total_size":12},"weight_map":
         {"b":"x.safetensors","a":"y.safetensors","c":"x.safetensors"}})",
      "I");
  ASSERT_EQ(index.size(), 2u);
  EXPECT_EQ(index.at("x.safetensors"), (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(index.at("y.safetensors"), (std::vector<std::string>{"a"}));
}

TEST(ShardIndex, HostileIndexesAreRefused) {
  std::string deep, many = "\"a\":\"a.safetensors\"";
  for (int i = 0; i < 1'000'000; ++i) deep += "{\"a\":";
  for (int i = 0; i < 10'001; ++i) {
    many += ",\"t" + std::to_string(i) + "\":\"" + std::to_string(i) + ".safetensors\"";
  }
  const char* outside = "no name of a .safetensors file in this folder";
  test::expect_refused(
      {
          {"empty", "", "I"},
          {"no JSON", "{", "I"},
          {"a list", "[]", "I"},
          {"no map", "{}", "weight_map"},
          {"a map of another kind", R"({"weight_map":[]})", "weight_map"},
          {"empty map", index_of(""), "empty"},
          {"number", index_of("\"a\":1"), outside},
          {"null", index_of("\"a\":null"), outside},
          {"object", index_of("\"a\":{}"), outside},
          {"folder above", in_shard("../a.safetensors"), outside},
          {"folder below", in_shard("b/a.safetensors"), outside},
          {"absolute", in_shard("/etc/a.safetensors"), outside},
          {"backslash", in_shard("..\\\\a.safetensors"), outside},
          {"dots", in_shard(".."), outside},
          {"hidden", in_shard(".safetensors"), outside},
          {"no name", in_shard(""), outside},
          {"other file", in_shard("passwd"), outside},
          {"pickle", in_shard("model.bin"), outside},
          {"zero byte", in_shard("a\\u0000.safetensors"), outside},
          {"newline", in_shard("a\\n.safetensors"), outside},
          {"long name", in_shard(std::string(100'000, 'a') + ".safetensors"), outside},
          {"tensor twice", index_of(R"("a":"x.safetensors","a":"y.safetensors")"), "a"},
          {"deep", deep, "I"},
          {"many shards", index_of(many), "more than 10,000 files"},
      },
      "I", [](const std::string& text) { parse_shard_index(text, "I"); });
}

class ShardedFiles : public testing::Test {
 protected:
  ShardedFiles() {
    write_shard("one.safetensors", {"a", "b"}, 1);
    write_shard("two.safetensors", {"c"}, 3);
    write_index(R"("a":"one.safetensors","b":"one.safetensors","c":"two.safetensors")");
  }
  void write_shard(const std::string& name, const std::vector<std::string>& tensors, float first) {
    std::vector<TensorInfo> infos;
    for (const std::string& tensor : tensors) infos.push_back({tensor, DType::f32, {1}});
    SafetensorsWriter writer(directory_ / name, infos);
    for (size_t i = 0; i < tensors.size(); ++i) {
      const float value = first + static_cast<float>(i);
      writer.write(std::as_bytes(std::span(&value, 1)));
    }
    writer.finish();
  }
  void write_index(const std::string& map) {
    std::ofstream(index_, std::ios::trunc) << index_of(map);
  }
  TensorSource open() { return open_sharded_safetensors(index_); }

  test::TemporaryDirectory directory_;
  fs::path index_ = directory_ / "model.safetensors.index.json";
};

TEST_F(ShardedFiles, AreReadAsOne) {
  const TensorSource source = open();
  ASSERT_EQ(source.tensors().size(), 3u);
  for (const auto& [name, value] : {std::pair{"a", 1.0f}, {"b", 2.0f}, {"c", 3.0f}}) {
    const SourceTensor* tensor = source.find(name);
    ASSERT_NE(tensor, nullptr);
    float read = 0;
    read_block(std::span(&read, 1), matrix_of(*tensor, false), 0, 1, 0, 1);
    EXPECT_EQ(read, value);
  }
  EXPECT_EQ(source.find("c")->where, (directory_ / "two.safetensors").string());
}

TEST_F(ShardedFiles, IndexAndShardsMustAgree) {
  write_index(R"("a":"one.safetensors","c":"two.safetensors")");
  expect_error(ErrorKind::input, "tensor \"b\" of \"one.safetensors\" is not listed there",
               [&] { open(); });
  write_index(R"("a":"one.safetensors","b":"one.safetensors","c":"two.safetensors",
                 "d":"two.safetensors")");
  expect_error(ErrorKind::input, "tensor \"d\" is not in \"two.safetensors\"", [&] { open(); });
  write_index(R"("a":"one.safetensors","b":"two.safetensors","c":"two.safetensors")");
  expect_error(ErrorKind::input, "\"b\"", [&] { open(); });
}

TEST_F(ShardedFiles, MissingAndDamagedShardsAreNamed) {
  const std::string path = (directory_ / "two.safetensors").string();
  fs::resize_file(path, fs::file_size(path) - 1);
  expect_error(ErrorKind::input, path, [&] { open(); });
  fs::remove(path);
  expect_error(ErrorKind::input, path, [&] { open(); });
  fs::create_directory(path);
  expect_error(ErrorKind::input, path, [&] { open(); });
  fs::remove(index_);
  expect_error(ErrorKind::input, index_.string(), [&] { open(); });
}

TEST_F(ShardedFiles, OneTensorInTwoShardsIsRefused) {
  write_shard("two.safetensors", {"a"}, 3);
  write_index(R"("a":"one.safetensors","b":"one.safetensors")");
  EXPECT_NO_THROW(open());  // the other file is no part of the model
  write_index(R"("b":"one.safetensors","a":"two.safetensors")");
  expect_error(ErrorKind::input, "\"a\"", [&] { open(); });
}

}  // namespace
}  // namespace llm
