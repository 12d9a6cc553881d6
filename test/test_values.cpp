#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "support/expect_error.h"
#include "weights/values.h"

namespace llm {
namespace {

// Numbers that all three types hold exactly, in bytes of a type, behind one odd byte.
std::vector<std::byte> bytes_of(int64_t count, DType dtype) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(i % 251 - 100) / 4);
  std::vector<std::byte> buffer;
  const Bytes bytes = narrow(buffer, values, dtype, "x");
  std::vector<std::byte> result(1);
  result.insert(result.end(), bytes.begin(), bytes.end());
  return result;
}

float value_at(int64_t index) { return static_cast<float>(index % 251 - 100) / 4; }

TEST(ReadBlock, EveryBlockOfEveryLayout) {
  struct Layout {
    int64_t rows, columns, row_stride, column_stride;
  };
  const Layout layouts[] = {{37, 41, 41, 1}, {37, 41, 1, 37}, {5, 70, 80, 1},   {70, 5, 1, 90},
                            {37, 1, 1, 1},   {6, 7, 21, 3},   {1, 100, 100, 1}, {100, 1, 3, 1}};
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const auto bytes = bytes_of(4000, dtype);
    for (const Layout& layout : layouts) {
      const MatrixView view{bytes.data() + 1,  dtype,
                            layout.rows,       layout.columns,
                            layout.row_stride, layout.column_stride};
      for (const int64_t row : {int64_t{0}, layout.rows / 2}) {
        for (const int64_t column : {int64_t{0}, layout.columns / 3}) {
          const int64_t rows = layout.rows - row, columns = layout.columns - column;
          std::vector<float> into(static_cast<size_t>(rows * columns), NAN);
          read_block(into, view, row, rows, column, columns);
          for (int64_t r = 0; r < rows; ++r) {
            for (int64_t c = 0; c < columns; ++c) {
              const int64_t at =
                  (row + r) * layout.row_stride + (column + c) * layout.column_stride;
              ASSERT_EQ(into[static_cast<size_t>(r * columns + c)], value_at(at))
                  << dtype_name(dtype) << " " << layout.rows << " x " << layout.columns;
            }
          }
        }
      }
    }
  }
}

TEST(Narrow, RoundsToNearestEvenAndKeepsWhatIsNotFinite) {
  const std::vector<float> values = {1.00390625f, 1.01171875f, -0.0f, INFINITY, NAN, 65504};
  std::vector<std::byte> buffer;
  const Bytes bytes = narrow(buffer, values, DType::bf16, "x");
  std::vector<uint16_t> bits(values.size());
  ASSERT_EQ(bytes.size(), bits.size() * 2);
  std::memcpy(bits.data(), bytes.data(), bytes.size());
  EXPECT_EQ(bits[0], 0x3f80);  // halfway: to even
  EXPECT_EQ(bits[1], 0x3f82);
  EXPECT_EQ(bits[2], 0x8000);
  EXPECT_EQ(bits[3], 0x7f80);
  EXPECT_TRUE(std::isnan(bf16_to_f32(bits[4])));
  const Bytes half = narrow(buffer, values, DType::f16, "x");
  std::memcpy(bits.data(), half.data(), half.size());
  EXPECT_EQ(bits[3], 0x7c00);
  EXPECT_EQ(bits[5], 0x7bff);
}

TEST(Narrow, AFiniteValueThatDoesNotFitIsRefused) {
  std::vector<std::byte> buffer;
  const std::vector<float> large = {1, -65520};
  EXPECT_NO_THROW(narrow(buffer, large, DType::bf16, "tensor \"a\""));
  test::expect_error(ErrorKind::input, "tensor \"a\": -65520 is too large for f16",
                     [&] { narrow(buffer, large, DType::f16, "tensor \"a\""); });
  const std::vector<float> largest = {std::numeric_limits<float>::max()};
  EXPECT_THROW(narrow(buffer, largest, DType::bf16, "x"), Error);
}

}  // namespace
}  // namespace llm
