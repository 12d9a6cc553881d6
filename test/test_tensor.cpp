#include <gtest/gtest.h>

#include <vector>

#include "backend/tensor.h"

namespace llm::test {
namespace {

TEST(Tensor, IsRowMajorAndCountsItsElements) {
  float data[24];
  const Tensor tensor(data, DType::f32, {2, 3, 4});
  EXPECT_EQ(tensor.rank, 3);
  EXPECT_EQ(tensor.size(), 24);
  EXPECT_EQ(tensor.bytes(), 96);
  EXPECT_EQ(tensor.rows(), 6);
  EXPECT_EQ(tensor.columns(), 4);
  EXPECT_EQ(tensor.stride[0], 12);
  EXPECT_EQ(tensor.stride[1], 4);
  EXPECT_EQ(tensor.stride[2], 1);
  EXPECT_TRUE(tensor.contiguous());
  EXPECT_EQ(tensor.describe(), "f32 (2, 3, 4)");
}

TEST(Tensor, ADefaultTensorIsNotGiven) {
  const Tensor none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.size(), 0);
  EXPECT_EQ(none.rows(), 0);
  EXPECT_EQ(none.columns(), 0);
}

TEST(Tensor, AVectorIsOneRow) {
  float data[5];
  const Tensor vector(data, DType::f32, {5});
  EXPECT_EQ(vector.rows(), 1);
  EXPECT_EQ(vector.columns(), 5);
}

TEST(Tensor, SlicesShareMemory) {
  std::vector<float> data(2 * 6 * 4);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i);
  const Tensor whole(data.data(), DType::f32, {2, 6, 4});
  const Tensor part = whole.slice(1, 2, 3);
  EXPECT_EQ(part.describe(), "f32 (2, 3, 4)");
  EXPECT_EQ(part.f32()[0], 8);
  EXPECT_EQ(part.f32()[part.stride[0]], 32);
  EXPECT_FALSE(part.contiguous());
  EXPECT_TRUE(whole.slice(0, 1, 1).contiguous());
  EXPECT_EQ(whole.slice(2, 3, 1).f32()[0], 3);
  EXPECT_EQ(whole.slice(1, 6, 0).size(), 0);
}

TEST(Tensor, ViewsKeepTheElements) {
  float data[24];
  const Tensor tensor(data, DType::f32, {2, 12});
  const Tensor view = tensor.view({4, 3, 2});
  EXPECT_EQ(view.data, tensor.data);
  EXPECT_EQ(view.dim(1), 3);
  // An axis of one element does not make a tensor strided, whatever its stride.
  EXPECT_EQ(tensor.slice(0, 1, 1).view({12}).f32(), data + 12);
}

TEST(Tensor, ComparesShapes) {
  float data[6];
  EXPECT_TRUE(same_shape(Tensor(data, DType::f32, {2, 3}), Tensor(data, DType::f32, {2, 3})));
  EXPECT_FALSE(same_shape(Tensor(data, DType::f32, {2, 3}), Tensor(data, DType::f32, {3, 2})));
  EXPECT_FALSE(same_shape(Tensor(data, DType::f32, {6}), Tensor(data, DType::f32, {6, 1})));
}

TEST(TensorDeathTest, AssertsWhatDoesNotFit) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  float data[24];
  const Tensor tensor(data, DType::f32, {2, 3, 4});
  EXPECT_DEATH(tensor.view({5, 5}), "viewed as");
  EXPECT_DEATH(tensor.slice(1, 2, 2), "along axis 1");
  EXPECT_DEATH(tensor.slice(1, 0, 2).view({16}), "view of");
  EXPECT_DEATH(tensor.bf16(), "f32");
  EXPECT_DEATH(Tensor(data, DType::f32, {2, -1}), "has -1 elements");
}

}  // namespace
}  // namespace llm::test
