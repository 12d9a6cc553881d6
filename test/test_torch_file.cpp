// Files of torch.save: those in test/golden/models, by scripts/golden_models.py, and bad ones.
#include <gtest/gtest.h>

#include <fstream>

#include "support/expect_error.h"
#include "support/hostile_files.h"
#include "support/temporary_directory.h"
#include "weights/torch_file.h"
#include "weights/zip_file.h"

namespace llm {
namespace {

using test::expect_error;
using test::HostileFile;

const fs::path kTorchModels = fs::path(LLM_SOURCE_DIR) / "test" / "golden" / "models";

std::string torch_contents(const fs::path& path) { return read_text_file(path); }

std::vector<float> values_of(const SourceTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  const MatrixView view = matrix_of(tensor, false);
  read_block(values, view, 0, view.rows, 0, view.columns);
  return values;
}

TEST(TorchFile, APlainStateDictIsRead) {
  const TensorSource source = open_torch_file(kTorchModels / "book" / "model.pth");
  EXPECT_EQ(source.tensors().size(), 2u + 2 * 14 + 2 + 1);
  ASSERT_NE(source.find("trf_blocks.1.ff.layers.0.weight"), nullptr);
  EXPECT_EQ(source.find("trf_blocks.1.ff.layers.0.weight")->shape, (std::vector<int64_t>{60, 15}));
  const std::vector<float> mask = values_of(*source.find("trf_blocks.0.att.mask"));
  for (size_t i = 0; i < 81; ++i) EXPECT_EQ(mask[i], i % 9 > i / 9 ? 1.0f : 0.0f) << i;
}

TEST(TorchFile, AStateDictBesideAnOptimizersIsReadWithItsStrides) {
  const TensorSource source = open_torch_file(kTorchModels / "book_checkpoint" / "model.pth");
  EXPECT_EQ(source.tensors().size(), 2u + 2 * 17 + 2 + 1);
  const SourceTensor* turned = source.find("trf_blocks.0.att.W_key.weight");
  ASSERT_NE(turned, nullptr);
  EXPECT_EQ(turned->strides, (std::vector<int64_t>{1, 15}));
  EXPECT_EQ(source.find("trf_blocks.0.att.W_query.weight")->strides, (std::vector<int64_t>{15, 1}));
}

TEST(TorchFile, OtherTypesBesideTheWeightsAreRead) {
  const TensorSource source =
      open_torch_file(kTorchModels / "pytorch_model_bin" / "pytorch_model.bin");
  EXPECT_EQ(source.find("transformer.h.0.attn.bias")->dtype, DType::u8);
  EXPECT_EQ(source.find("transformer.h.0.attn.masked_bias")->shape, std::vector<int64_t>{});
  // The tied output layer shares the embedding's storage.
  EXPECT_EQ(source.find("lm_head.weight")->data.data(),
            source.find("transformer.wte.weight")->data.data());
}

TEST(TorchFile, ADamagedWeightIsNoticedByItsChecksum) {
  const test::TemporaryDirectory directory;
  std::string bytes = torch_contents(kTorchModels / "book" / "model.pth");
  bytes[bytes.find("data/3FB") + 200] ^= 1;  // in the data of a storage
  std::ofstream(directory / "a.pth", std::ios::binary) << bytes;
  expect_error(ErrorKind::input, "its checksum is wrong",
               [&] { open_torch_file(directory / "a.pth"); });
}

// Archives around a pickle, with one storage of 16 bytes: data/0.
class MadeFile : public testing::Test {
 protected:
  std::string file(const std::string& pickle, const std::string& byte_order = "little") {
    ZipWriter zip(path_);
    zip.add("m/data.pkl", pickle);
    zip.add("m/byteorder", byte_order);
    zip.add("m/data/0", std::string(16, 'x'));
    zip.finish();
    return torch_contents(path_);
  }
  static std::string text(const std::string& value) {
    return std::string("\x8c") + static_cast<char>(value.size()) + value;
  }
  static std::string number(int64_t value) {
    std::string bytes = "\x8a\x08";
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i));
    return bytes;
  }
  static std::string tuple(const std::vector<int64_t>& values) {
    std::string bytes = "(";
    for (const int64_t value : values) bytes += number(value);
    return bytes + "t";
  }
  static std::string storage(int64_t numbers, const std::string& type = "FloatStorage",
                             const std::string& key = "0") {
    return "(" + text("storage") + "ctorch\n" + type + "\n" + text(key) + text("cpu") +
           number(numbers) + "tQ";
  }
  static std::string tensor(const std::string& storage, int64_t offset,
                            const std::vector<int64_t>& shape,
                            const std::vector<int64_t>& strides) {
    return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + tuple(shape) +
           tuple(strides) + "\x89)tR";
  }
  static std::string dict(const std::string& name, const std::string& value) {
    return "\x80\x02}" + text(name) + value + "s.";
  }
  std::string with(const std::string& tensor) { return file(dict("w", tensor)); }

  test::TemporaryDirectory directory_;
  fs::path path_ = directory_ / "a.pth";
};

std::vector<SourceTensor> parse_torch(const std::string& bytes) {
  return parse_torch_file(as_bytes(bytes), "T");
}

TEST_F(MadeFile, GoodOnesAreRead) {
  const auto tensors = parse_torch(with(tensor(storage(4), 1, {3}, {1})));
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors[0].name, "w");
  EXPECT_EQ(tensors[0].data.size(), 12u);
  EXPECT_EQ(parse_torch(with(tensor(storage(4), 4, {0, 7}, {7, 1})))[0].elements(), 0);
  const std::string parameter =
      "ctorch._utils\n_rebuild_parameter\n(" + tensor(storage(4), 0, {2, 2}, {1, 2}) + "\x89)tR";
  EXPECT_EQ(parse_torch(with(parameter))[0].strides, (std::vector<int64_t>{1, 2}));
}

TEST_F(MadeFile, PrefixesOfWrappersAreTakenOff) {
  for (const char* prefix : {"_orig_mod.", "module.", "_orig_mod.module."}) {
    const auto bytes = file(dict(std::string(prefix) + "w", tensor(storage(4), 0, {4}, {1})));
    EXPECT_EQ(parse_torch(bytes)[0].name, "w");
  }
}

TEST_F(MadeFile, HostileFilesAreRefusedByName) {
  const std::string good = tensor(storage(4), 0, {4}, {1});
  const char* name = "tensor \"w\"";
  const int64_t huge = int64_t{1} << 62;
  const std::vector<HostileFile> files = {
      {"empty", "", "T"},
      {"no archive", std::string(1000, 'x'), "T"},
      {"old form", std::string("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15),
       "PyTorch before 1.6"},
      {"big-endian", file(dict("w", good), "big"), "big-endian"},
      {"os.system", file("cos\nsystem\n" + text("id") + "\x85R."), "\"os.system\""},
      {"no dict", file("N."), "no state dict"},
      {"a name that is a number", file("}K\x01" + good + "s."), "name is no text"},
      {"a value that is a number", with("K\x01"), name},
      {"a value that is a list", with("]"), name},
      {"a parameter of nothing", with("ctorch._utils\n_rebuild_parameter\n)R"), name},
      {"few arguments", with("ctorch._utils\n_rebuild_tensor_v2\n)R"), "wrong arguments"},
      {"storage is a number", with(tensor("K\x01", 0, {4}, {1})), "has no storage"},
      {"storage of a number", with(tensor("K\x01Q", 0, {4}, {1})), "wrong id"},
      {"storage is missing", with(tensor(storage(4, "FloatStorage", "1"), 0, {4}, {1})),
       "storage \"1\" is missing"},
      {"storage elsewhere", with(tensor(storage(4, "FloatStorage", "../data/0"), 0, {4}, {1})),
       "is missing"},
      {"double", with(tensor(storage(2, "DoubleStorage"), 0, {2}, {1})), "DoubleStorage is not"},
      {"no such type", with(tensor(storage(2, "OddStorage"), 0, {2}, {1})), "torch.OddStorage"},
      {"storage of more", with(tensor(storage(5), 0, {4}, {1})), "16 bytes, not 5 f32"},
      {"storage of less", with(tensor(storage(3), 0, {3}, {1})), "16 bytes, not 3 f32"},
      {"storage of half", with(tensor(storage(4, "HalfStorage"), 0, {4}, {1})), "not 4 f16"},
      {"storage overflows", with(tensor(storage(huge), 0, {4}, {1})), name},
      {"negative storage", with(tensor(storage(-4), 0, {4}, {1})), name},
      {"beyond", with(tensor(storage(4), 0, {5}, {1})), "beyond its storage of 4"},
      {"beyond by offset", with(tensor(storage(4), 1, {4}, {1})), "beyond its storage of 4"},
      {"beyond by stride", with(tensor(storage(4), 0, {2, 2}, {3, 1})), "beyond its storage"},
      {"empty beyond", with(tensor(storage(4), 5, {0}, {1})), "beyond its storage"},
      {"same element again and again", with(tensor(storage(4), 0, {1'000'000}, {0})), name},
      {"shape overflows", with(tensor(storage(4), 0, {huge, 4}, {0, 0})), "too large"},
      {"extent overflows", with(tensor(storage(4), 0, {3, 1}, {huge, 1})), "too large"},
      {"negative shape", with(tensor(storage(4), 0, {-1, -4}, {1, 1})), "shape"},
      {"negative stride", with(tensor(storage(4), 3, {4}, {-1})), "stride"},
      {"negative offset", with(tensor(storage(4), -1, {4}, {1})), "offset"},
      {"rank", with(tensor(storage(4), 0, {4}, {1, 1})), "differ in rank"},
      {"rank of 100", with(tensor(storage(4), 0, std::vector<int64_t>(100, 1), {1})), "short"},
      {"shape is text",
       with("ctorch._utils\n_rebuild_tensor_v2\n(" + storage(4) + number(0) + text("4") +
            tuple({1}) + "\x89)tR"),
       name},
  };
  test::expect_refused(files, "T", parse_torch);
}

TEST_F(MadeFile, ArchivesWithoutOneePickleAreRefused) {
  ZipWriter none(path_);
  none.add("m/data/0", "x");
  none.finish();
  expect_error(ErrorKind::input, "without data.pkl", [&] { parse_torch(torch_contents(path_)); });
  ZipWriter two(path_);
  two.add("m/data.pkl", "N.");
  two.add("n/data.pkl", "N.");
  two.finish();
  expect_error(ErrorKind::input, "two files data.pkl", [&] { parse_torch(torch_contents(path_)); });
}

TEST_F(MadeFile, EveryTruncationOfARealFileIsRefused) {
  const std::string bytes =
      torch_contents(kTorchModels / "pytorch_model_bin" / "pytorch_model.bin");
  EXPECT_NO_THROW(parse_torch(bytes));
  for (size_t size = 0; size < bytes.size(); size += 1 + size / 500) {
    EXPECT_THROW(parse_torch(bytes.substr(0, size)), Error) << size;
  }
}

TEST_F(MadeFile, WhatIsWrittenIsRead) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const auto stream = [&](const std::function<void(Bytes)>& write) {
    write(std::as_bytes(std::span(values).first(1)));
    write(std::as_bytes(std::span(values).subspan(1)));
  };
  const std::vector<TorchTensor> tensors = {{"a", {2, 3}, DType::f32, 5, stream},
                                            {"b.c", {6}, DType::f32, -1, stream},
                                            {"same", {6}, DType::f32, 5}};
  write_torch_file(path_, tensors);
  const std::string once = torch_contents(path_);
  const TensorSource source = open_torch_file(path_);
  ASSERT_EQ(source.tensors().size(), 3u);
  EXPECT_EQ(source.find("a")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(values_of(*source.find("b.c")), values);
  EXPECT_EQ(source.find("same")->data.data(), source.find("a")->data.data());
  EXPECT_NE(source.find("b.c")->data.data(), source.find("a")->data.data());
  write_torch_file(path_, tensors);
  EXPECT_EQ(torch_contents(path_), once);
}

}  // namespace
}  // namespace llm
