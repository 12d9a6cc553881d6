// Bounds-checked reading: values, and everything that runs over the end.
#include <gtest/gtest.h>

#include <bit>
#include <climits>
#include <cstdint>
#include <string>

#include "base/byte_reader.h"
#include "support/expect_error.h"

namespace llm {
namespace {

using test::expect_error;

TEST(ByteReader, ReadsLittleEndianNumbersInOrder) {
  const std::string bytes(
      "\x01\x02\x03\x04\xff\xff\x00\x00\x80\x3f\x05\x06\x07\x08\x09\x0a\x0b\x8c", 18);
  ByteReader reader(as_bytes(bytes), "f");
  EXPECT_EQ(reader.read<uint32_t>("a"), 0x04030201u);
  EXPECT_EQ(reader.read<int16_t>("b"), -1);
  EXPECT_EQ(reader.read<float>("c"), 1.0f);
  EXPECT_EQ(reader.offset(), 10);
  EXPECT_EQ(reader.read<uint64_t>("d"), 0x8c0b0a0908070605u);
  EXPECT_EQ(reader.remaining(), 0);
  EXPECT_EQ(reader.size(), 18);
  EXPECT_EQ(reader.name(), "f");
}

TEST(ByteReader, TakesWithoutCopying) {
  const std::string bytes = "headbody";
  ByteReader reader(as_bytes(bytes), "f");
  EXPECT_EQ(reader.take_text(4, "head"), "head");
  EXPECT_EQ(reinterpret_cast<const char*>(reader.take(4, "body").data()), bytes.data() + 4);
  EXPECT_TRUE(reader.take(0, "nothing").empty());
  reader.seek(2);
  EXPECT_EQ(reader.take_text(3, "x"), "adb");
  reader.seek(8);
  EXPECT_EQ(reader.remaining(), 0);
}

TEST(ByteReader, RefusesWhatRunsOverTheEnd) {
  const std::string bytes = "12345";
  const auto reader_at = [&](int64_t offset) {
    ByteReader reader(as_bytes(bytes), "a.bin");
    reader.seek(offset);
    return reader;
  };
  expect_error(ErrorKind::input,
               "a.bin, offset 3: token count needs 4 bytes, 2 remain (truncated?)",
               [&] { reader_at(3).read<uint32_t>("token count"); });
  expect_error(ErrorKind::input, "header needs 6 bytes, 5 remain",
               [&] { reader_at(0).take(6, "header"); });
  expect_error(ErrorKind::input, "needs 9,223,372,036,854,775,807 bytes, 2 remain",
               [&] { reader_at(3).take(INT64_MAX, "names"); });
  expect_error(ErrorKind::input, "needs -1 bytes", [&] { reader_at(3).take(-1, "names"); });
  expect_error(ErrorKind::input, "offset 6 is outside the 5 bytes", [&] { reader_at(6); });
  expect_error(ErrorKind::input, "offset -1 is outside", [&] { reader_at(-1); });
  expect_error(ErrorKind::input, "offset 5: x needs 1 bytes, 0 remain",
               [&] { reader_at(5).read<uint8_t>("x"); });
}

TEST(ByteReader, StaysWhereItIsAfterAnError) {
  ByteReader reader(as_bytes("abc"), "f");
  reader.seek(1);
  EXPECT_THROW(reader.read<uint64_t>("x"), Error);
  EXPECT_EQ(reader.offset(), 1);
  EXPECT_EQ(reader.take_text(2, "rest"), "bc");
}

TEST(ByteReader, WorksOnNothing) {
  ByteReader reader(Bytes(), "empty");
  EXPECT_EQ(reader.remaining(), 0);
  EXPECT_TRUE(reader.take_text(0, "x").empty());
  EXPECT_THROW(reader.read<uint8_t>("x"), Error);
}

TEST(ByteReader, FailNamesFileOffsetAndHint) {
  ByteReader reader(as_bytes("abc"), "f");
  reader.seek(2);
  expect_error(ErrorKind::input, "f, offset 2: wrong magic (is it a shard?)",
               [&] { reader.fail("wrong magic", "is it a shard?"); });
}

TEST(CheckedArithmetic, FindsOverflow) {
  EXPECT_EQ(checked_add(2, 3), 5);
  EXPECT_EQ(checked_add(INT64_MAX - 1, 1), INT64_MAX);
  EXPECT_EQ(checked_add(INT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checked_add(INT64_MIN, -1), std::nullopt);
  EXPECT_EQ(checked_multiply(-4, 5), -20);
  EXPECT_EQ(checked_multiply(int64_t{1} << 31, int64_t{1} << 31), int64_t{1} << 62);
  EXPECT_EQ(checked_multiply(int64_t{1} << 32, int64_t{1} << 31), std::nullopt);
  EXPECT_EQ(checked_multiply(INT64_MIN, -1), std::nullopt);
}

}  // namespace
}  // namespace llm
