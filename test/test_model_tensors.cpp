#include <gtest/gtest.h>

#include "cpu_ref/cpu_backend.h"
#include "support/expect_error.h"
#include "support/small_model.h"
#include "weights/model_tensors.h"

namespace llm {
namespace {

using test::expect_error;

// The tensors of a small model under the names of a form, in memory, to be spoiled.
class ModelTensorsTest : public testing::Test {
 protected:
  explicit ModelTensorsTest(Naming naming = Naming::book) : naming_(naming) {
    test::fill_golden_weights(model_);
    const ReadParameter read = [&](std::span<float> into, const ParameterBlock& block) {
      const std::vector<float> all =
          test::read_all(model_, model_.parameters().values(), block.index);
      const Parameter& parameter =
          model_.parameters().parameters()[static_cast<size_t>(block.index)];
      const int64_t columns = parameter.shape.size() == 1 ? 1 : parameter.shape[1];
      read_block(into,
                 {reinterpret_cast<const std::byte*>(all.data()), DType::f32, parameter.shape[0],
                  columns, columns, 1},
                 block.row, block.rows, block.column, block.columns);
    };
    for (const FileTensor& tensor : file_tensors(model_.parameters(), naming)) {
      std::vector<std::byte>& data = data_.emplace_back();
      stream_tensor(tensor, read, DType::f32,
                    [&](Bytes bytes) { data.insert(data.end(), bytes.begin(), bytes.end()); });
      tensors_.push_back(
          {tensor.name, "F", DType::f32, tensor.shape, contiguous_strides(tensor.shape), data});
    }
  }
  SourceTensor& at(const std::string& name) {
    for (SourceTensor& tensor : tensors_) {
      if (tensor.name == name) return tensor;
    }
    throw std::out_of_range(name);
  }
  void match() {
    const TensorSource source("F", {}, tensors_);
    ModelTensors(source, model_.parameters(), naming_);
  }
  void expect_refusal(const std::string& message) {
    expect_error(ErrorKind::input, message, [&] { match(); });
  }

  Naming naming_;
  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  Gpt model_{*backend_, test::golden_config(), {}};
  std::vector<std::vector<std::byte>> data_;
  std::vector<SourceTensor> tensors_;
};

TEST_F(ModelTensorsTest, PartsAreReadAsOneParameterInBlocks) {
  const TensorSource source("F", {}, tensors_);
  const ModelTensors tensors(source, model_.parameters(), naming_);
  EXPECT_EQ(tensors.dtype(), DType::f32);
  const int index = model_.parameters().find("h.1.attn.c_attn.weight");
  const auto all = test::read_all(model_, model_.parameters().values(), index);
  // Blocks within q, across q and k, across all three.
  for (const auto& [row, rows] : {std::pair{3, 7}, {40, 20}, {47, 50}, {0, 144}}) {
    for (const auto& [column, columns] : {std::pair{0, 48}, {5, 9}}) {
      std::vector<float> block(static_cast<size_t>(rows * columns), NAN);
      tensors.read(block, {index, row, rows, column, columns});
      for (int r = 0; r < rows; ++r) {
        for (int c = 0; c < columns; ++c) {
          ASSERT_EQ(block[static_cast<size_t>(r * columns + c)],
                    all[static_cast<size_t>((row + r) * 48 + column + c)]);
        }
      }
    }
  }
  Gpt copy(*backend_, test::golden_config(), {});
  copy_to_store(copy.parameters(), tensors);
  for (size_t i = 0; i < copy.parameters().parameters().size(); ++i) {
    EXPECT_EQ(test::read_all(copy, copy.parameters().values(), static_cast<int>(i)),
              test::read_all(model_, model_.parameters().values(), static_cast<int>(i)));
  }
}

TEST_F(ModelTensorsTest, AllThatDoesNotFitIsNamedAtOnce) {
  at("trf_blocks.0.att.W_key.weight").name = "trf_blocks.0.att.W_kay.weight";
  at("trf_blocks.1.norm2.shift").shape = {6, 8};
  at("trf_blocks.1.ff.layers.2.bias").dtype = DType::i32;
  for (const char* part :
       {"F: 4 problems: ", "\"trf_blocks.0.att.W_key.weight\" (48, 48) is missing",
        "\"trf_blocks.0.att.W_kay.weight\" (48, 48) does not belong",
        "\"trf_blocks.1.norm2.shift\" has shape (6, 8), the model's is (48)",
        "\"trf_blocks.1.ff.layers.2.bias\" holds i32, not floating point"}) {
    expect_refusal(part);
  }
}

TEST_F(ModelTensorsTest, ManyProblemsAreCountedAndSomeShown) {
  tensors_.clear();
  expect_refusal("36 problems: tensor \"tok_emb.weight\" (65, 48) is missing; ");
  expect_refusal("; and 16 more");
}

TEST_F(ModelTensorsTest, TheFileOfATensorInPartsIsNamed) {
  at("pos_emb.weight").where = "other.safetensors";
  at("pos_emb.weight").shape = {3, 512};
  expect_refusal("tensor \"pos_emb.weight\" in other.safetensors has shape (3, 512)");
}

TEST_F(ModelTensorsTest, TiedTensorsMustBeEqualToTheBit) {
  SourceTensor head = at("tok_emb.weight");
  head.name = "out_head.weight";
  tensors_.push_back(head);
  EXPECT_NO_THROW(match());
  std::vector<std::byte> changed = data_[0];
  changed[100] ^= std::byte{1};
  tensors_.back().data = changed;
  expect_refusal("\"out_head.weight\" differs from \"tok_emb.weight\"");
}

}  // namespace
}  // namespace llm
