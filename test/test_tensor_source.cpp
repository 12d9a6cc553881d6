#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "weights/tensor_source.h"

namespace llm {
namespace {

TEST(TensorSource, FindsByNameAndRefusesTwins) {
  const SourceTensor a{"a", "F", DType::f32, {2}, {1}, {}}, b{"b", "F", DType::f32, {2}, {1}, {}};
  const TensorSource source("F", {}, {a, b});
  ASSERT_NE(source.find("b"), nullptr);
  EXPECT_EQ(source.find("b")->name, "b");
  EXPECT_EQ(source.find("c"), nullptr);
  test::expect_error(ErrorKind::input, "F: tensor \"a\" appears twice", [&] {
    TensorSource("F", {}, {a, b, a});
  });
}

TEST(TensorSource, ContiguousStrides) {
  EXPECT_EQ(contiguous_strides(std::vector<int64_t>{}), (std::vector<int64_t>{}));
  EXPECT_EQ(contiguous_strides(std::vector<int64_t>{7}), (std::vector<int64_t>{1}));
  EXPECT_EQ(contiguous_strides(std::vector<int64_t>{2, 3, 5}), (std::vector<int64_t>{15, 5, 1}));
  // Nothing overflows where there is no element.
  const std::vector<int64_t> empty = {0, int64_t{1} << 62, int64_t{1} << 62};
  EXPECT_EQ(contiguous_strides(empty).size(), 3u);
}

TEST(TensorSource, QuotedNamesCannotSteerATerminal) {
  EXPECT_EQ(quoted_name("a\x1b[2J"), "\"a\\u001b[2J\"");
  EXPECT_EQ(quoted_name("a\"b"), "\"a\\\"b\"");
  EXPECT_LT(quoted_name(std::string(100'000, 'x')).size(), 100u);
  EXPECT_FALSE(quoted_name("\xff").empty());
}

TEST(TensorSource, MatricesOfVectorsAndTransposedTensors) {
  const float values[6] = {};
  SourceTensor tensor{"a", "F", DType::f32, {2, 3}, {3, 1}, std::as_bytes(std::span(values))};
  const MatrixView plain = matrix_of(tensor, false), turned = matrix_of(tensor, true);
  EXPECT_EQ(plain.rows, 2);
  EXPECT_EQ(plain.column_stride, 1);
  EXPECT_EQ(turned.rows, 3);
  EXPECT_EQ(turned.columns, 2);
  EXPECT_EQ(turned.row_stride, 1);
  EXPECT_EQ(turned.column_stride, 3);
  tensor.shape = {6};
  tensor.strides = {1};
  EXPECT_EQ(matrix_of(tensor, false).rows, 6);
  EXPECT_EQ(matrix_of(tensor, false).columns, 1);
}

}  // namespace
}  // namespace llm
