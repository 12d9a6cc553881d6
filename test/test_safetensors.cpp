#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstring>
#include <ctime>
#include <fstream>

#include "base/error.h"
#include "support/temporary_directory.h"
#include "weights/safetensors.h"

namespace llm {
namespace {

using test::TemporaryDirectory;

std::string with_length(uint64_t length, const std::string& rest) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + rest;
}
std::string file_of(const std::string& header, size_t data_bytes) {
  return with_length(header.size(), header + std::string(data_bytes, '\x01'));
}
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
         offsets + "}";
}
std::string repeat(const std::string& text, int64_t count) {
  std::string result;
  for (int64_t i = 0; i < count; ++i) result += text;
  return result;
}

SafetensorsHeader parse_header(const std::string& bytes) {
  return parse_safetensors(as_bytes(bytes), "F");
}

std::string refusal(const std::string& bytes) {
  try {
    parse_header(bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "accepted";
}

struct HostileHeader {
  const char* name;
  std::string bytes;
  const char* message;  // part of it
};

std::vector<HostileHeader> hostile_files() {
  const std::string good = entry("a", "F32", "[2]", "[0,8]");
  const std::string many_values = "{\"a\":{\"dtype\":\"F32\",\"shape\":[" + repeat("1,", 200'000) +
                                  "1],\"data_offsets\":[0,4]}}";
  return {
      {"empty", "", "header length"},
      {"seven bytes", "1234567", "header length"},
      {"length only", with_length(10, ""), "header"},
      {"giant length", with_length(UINT64_MAX, "{}"), "above 100,000,000"},
      {"length above the limit", with_length(100'000'001, "{}"), "above 100,000,000"},
      {"length beyond the file", with_length(99'999'999, "{}"), "header"},
      {"empty header", with_length(0, ""), "does not start with '{'"},
      {"leading space", file_of(" {}", 0), "does not start with '{'"},
      {"a list", file_of("[]", 0), "does not start with '{'"},
      {"no end", file_of("{", 0), "not valid JSON"},
      {"text after the end", file_of("{}x", 0), "not valid JSON"},
      {"two objects", file_of("{}{}", 0), "not valid JSON"},
      {"trailing comma", file_of("{" + good + ",}", 8), "not valid JSON"},
      {"comment", file_of("{/**/" + good + "}", 8), "not valid JSON"},
      {"invalid UTF-8", file_of("{\"\xff\":1}", 0), "not valid JSON"},
      {"zero byte", file_of(std::string("{\0}", 3), 0), "not valid JSON"},
      {"deep lists", file_of("{\"a\":" + repeat("[", 1'000'000), 0), "a list"},
      {"deep objects", file_of(repeat("{\"a\":", 1'000'000), 0), "\"a\""},
      {"deep in shape", file_of(R"({"a":{"shape":)" + repeat("[", 1'000'000), 0), "\"a\""},
      {"hole at the start", file_of("{" + entry("a", "F32", "[2]", "[4,12]") + "}", 12), "hole"},
      {"hole", file_of("{" + good + "," + entry("b", "F32", "[1]", "[12,16]") + "}", 16), "\"b\""},
      {"overlap", file_of("{" + good + "," + entry("b", "F32", "[1]", "[4,8]") + "}", 8),
       "overlaps"},
      {"same bytes twice", file_of("{" + good + "," + entry("b", "F32", "[2]", "[0,8]") + "}", 8),
       "overlaps"},
      {"trailing bytes", file_of("{" + good + "}", 9), "1 bytes after the last tensor"},
      {"data but no tensor", file_of("{}", 4), "4 bytes after the last tensor"},
      {"data cut off", file_of("{" + good + "}", 7), "truncated"},
      {"data missing",
       file_of("{" + entry("a", "F32", "[1000000000000]", "[0,4000000000000]") + "}", 0),
       "4,000,000,000,000"},
      {"shape overflows",
       file_of("{" + entry("a", "F32", "[4294967296,4294967296,4]", "[0,0]") + "}", 0),
       "too large"},
      {"shape overflows by dtype",
       file_of("{" + entry("a", "F32", "[4611686018427387904]", "[0,0]") + "}", 0), "too large"},
      {"shape above int64",
       file_of("{" + entry("a", "U8", "[9223372036854775808]", "[0,0]") + "}", 0), "too large"},
      {"shape above uint64",
       file_of("{" + entry("a", "U8", "[99999999999999999999]", "[0,0]") + "}", 0),
       "not a whole number"},
      {"negative shape", file_of("{" + entry("a", "F32", "[-2]", "[0,8]") + "}", 8), "negative"},
      {"two negative sizes", file_of("{" + entry("a", "F32", "[-1,-2]", "[0,8]") + "}", 8),
       "negative"},
      {"fractional shape", file_of("{" + entry("a", "F32", "[2.0]", "[0,8]") + "}", 8),
       "not a whole number"},
      {"shape is a number", file_of("{" + entry("a", "F32", "2", "[0,8]") + "}", 8), "shape"},
      {"shape of text", file_of("{" + entry("a", "F32", "[\"2\"]", "[0,8]") + "}", 8), "text"},
      {"rank of 200,001", file_of(many_values, 4), "too many numbers"},
      {"wrong size for dtype", file_of("{" + entry("a", "BF16", "[2]", "[0,8]") + "}", 8),
       "needs 4 bytes, data_offsets give 8"},
      {"unknown dtype", file_of("{" + entry("a", "F4", "[2]", "[0,8]") + "}", 8), "\"F4\""},
      {"dtype is a number", file_of(R"({"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}})", 8),
       "number"},
      {"dtype is a list", file_of(R"({"a":{"dtype":["F32"],"shape":[2],"data_offsets":[0,8]}})", 8),
       "a list"},
      {"negative offset", file_of("{" + entry("a", "F32", "[2]", "[-8,0]") + "}", 8), "negative"},
      {"offsets reversed", file_of("{" + entry("a", "F32", "[2]", "[8,0]") + "}", 8), "before"},
      {"offset overflow",
       file_of("{" + entry("a", "F32", "[2]", "[0,18446744073709551615]") + "}", 8), "too large"},
      {"one offset", file_of("{" + entry("a", "F32", "[2]", "[0]") + "}", 8), "two numbers"},
      {"three offsets", file_of("{" + entry("a", "F32", "[2]", "[0,8,8]") + "}", 8), "too many"},
      {"same tensor twice",
       file_of("{" + good + "," + entry("a", "F32", "[1]", "[8,12]") + "}", 12), "appears twice"},
      {"same field twice",
       file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8),
       "appears twice"},
      {"unknown field",
       file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"stride":[1]}})", 8),
       "\"stride\""},
      {"no dtype", file_of(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8),
       "\"dtype\" is missing"},
      {"no shape", file_of(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8),
       "\"shape\" is missing"},
      {"no offsets", file_of(R"({"a":{"dtype":"F32","shape":[2]}})", 8),
       "\"data_offsets\" is missing"},
      {"tensor is null", file_of(R"({"a":null})", 0), "null"},
      {"tensor is a list", file_of(R"({"a":[]})", 0), "a list"},
      {"metadata is text", file_of(R"({"__metadata__":"pt"})", 0), "__metadata__"},
      {"metadata of numbers", file_of(R"({"__metadata__":{"a":1}})", 0), "__metadata__"},
      {"metadata nested", file_of(R"({"__metadata__":{"a":{}}})", 0), "__metadata__"},
      {"metadata twice", file_of(R"({"__metadata__":{},"__metadata__":{}})", 0), "appears twice"},
      {"metadata key twice", file_of(R"({"__metadata__":{"a":"b","a":"c"}})", 0), "appears twice"},
  };
}

TEST(Safetensors, HostileFilesAreRefusedByName) {
  for (const HostileHeader& file : hostile_files()) {
    const std::string message = refusal(file.bytes);
    EXPECT_TRUE(message.starts_with("F")) << file.name << ": " << message;
    EXPECT_NE(message.find(file.message), std::string::npos) << file.name << ": " << message;
    EXPECT_LT(message.size(), 500u) << file.name;
  }
}

TEST(Safetensors, ErrorsInATensorNameIt) {
  EXPECT_NE(
      refusal(file_of("{" + entry("h.0.bad", "F32", "[3]", "[0,8]") + "}", 8)).find("\"h.0.bad\""),
      std::string::npos);
  // Neither a long name nor one with control characters spoils the terminal.
  const std::string message = refusal(
      file_of("{" + entry("\\u001b[2J" + repeat("x", 100'000), "F4", "[1]", "[0,4]") + "}", 4));
  EXPECT_LT(message.size(), 400u);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

TEST(Safetensors, HostileFilesTakeLittleTimeAndMemory) {
  const std::vector<HostileHeader> files = hostile_files();
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const std::clock_t start = std::clock();  // processor time: the machine may be busy
  for (const HostileHeader& file : files) refusal(file.bytes);
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(seconds, 1);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 100 << 10);  // KiB
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string bytes =
      file_of(R"({"__metadata__":{"format":"pt"},)" + entry("a", "F32", "[2]", "[0,8]") + "," +
                  entry("b", "BF16", "[3,1]", "[8,14]") + "}  ",
              14);
  EXPECT_EQ(parse_header(bytes).tensors.size(), 2u);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_NE(refusal(bytes.substr(0, size)), "accepted") << size;
  }
}

TEST(Safetensors, EveryWrongBitInTheLengthIsRefused) {
  const std::string bytes = file_of("{" + entry("a", "F32", "[2]", "[0,8]") + "}", 8);
  for (size_t bit = 0; bit < 64; ++bit) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(refusal(changed), "accepted") << bit;
  }
}

TEST(Safetensors, AHeaderOfManyTensorsIsReadInLinearTime) {
  std::string header = "{";
  const int count = 100'000;
  for (int i = 0; i < count; ++i) {
    if (i > 0) header += ',';
    header += entry("t" + std::to_string(i), "U8", "[1]",
                    "[" + std::to_string(i) + "," + std::to_string(i + 1) + "]");
  }
  const std::string bytes = file_of(header + "}", count);
  const std::clock_t start = std::clock();
  EXPECT_EQ(parse_header(bytes).tensors.size(), static_cast<size_t>(count));
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 5);
}

TEST(Safetensors, AcceptsWhatTheFormatAllows) {
  EXPECT_TRUE(parse_header(file_of("{}", 0)).tensors.empty());
  EXPECT_TRUE(parse_header(file_of("{}      ", 0)).tensors.empty());
  // Empty tensors, scalars, any order of entries and fields, escapes in names.
  const SafetensorsHeader header = parse_header(
      file_of(R"({"last":{"data_offsets":[8,12],"shape":[],"dtype":"F32"},)" +
                  entry("empty", "F32", "[0,9223372036854775807]", "[8,8]") + "," +
                  entry("fi\\u0072st", "I64", "[1]", "[0,8]") + R"(,"__metadata__":{"k":"v"}})",
              12));
  ASSERT_EQ(header.tensors.size(), 3u);
  EXPECT_EQ(header.tensors[0].name, "first");
  EXPECT_EQ(header.tensors[0].dtype, DType::i64);
  EXPECT_EQ(header.tensors[1].elements(), 0);
  EXPECT_EQ(header.tensors[2].name, "last");
  EXPECT_EQ(header.tensors[2].elements(), 1);
  EXPECT_EQ(header.metadata.at("k"), "v");
}

class SafetensorsFileTest : public testing::Test {
 protected:
  fs::path write(const std::string& bytes) {
    const fs::path path = directory_ / "file.safetensors";
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  std::string contents(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  TemporaryDirectory directory_;
};

TEST_F(SafetensorsFileTest, WhatIsWrittenIsRead) {
  const fs::path path = directory_ / "file.safetensors";
  const std::vector<float> a = {1, -2, 3.5, 0, 5e-39f, 6};
  const std::vector<int64_t> b = {7, -8};
  SafetensorsWriter writer(path, {{"a", DType::f32, {2, 3}},
                                  {"empty", DType::f32, {0, 4}},
                                  {"q\"\n\xc3\xa9", DType::i64, {2}}});
  writer.write(std::as_bytes(std::span(a).first(1)));
  writer.write(std::as_bytes(std::span(a).subspan(1)));
  writer.write(std::as_bytes(std::span(b)));
  writer.finish();

  const SafetensorsFile file(path);
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  const TensorInfo* info = file.find("a");
  ASSERT_NE(info, nullptr);
  EXPECT_EQ(info->shape, (std::vector<int64_t>{2, 3}));
  std::vector<float> read(6);
  file.read_f32(*info, read);
  EXPECT_EQ(read, a);
  const TensorInfo* numbers = file.find("q\"\n\xc3\xa9");
  ASSERT_NE(numbers, nullptr);
  EXPECT_EQ(std::memcmp(file.bytes(*numbers).data(), b.data(), 16), 0);
  EXPECT_EQ(file.find("b"), nullptr);
  EXPECT_THROW(
      {
        std::vector<float> into(2);
        file.read_f32(*numbers, into);
      },
      Error);
}

TEST_F(SafetensorsFileTest, WrittenBytesAreExactlyThese) {
  const fs::path path = directory_ / "file.safetensors";
  const std::vector<float> values = {1, 2};
  SafetensorsWriter writer(path, {{"w", DType::f32, {2}}});
  writer.write(std::as_bytes(std::span(values)));
  writer.finish();
  std::string header =
      R"({"__metadata__":{"format":"pt"},)" + entry("w", "F32", "[2]", "[0,8]") + "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  const std::string data("\0\0\x80\x3f\0\0\0\x40", 8);
  EXPECT_EQ(contents(path), with_length(header.size(), header + data));
}

TEST_F(SafetensorsFileTest, HalfTypesAreReadFromUnalignedData) {
  // The odd byte in front puts every value at an odd address of the file.
  const std::string header = "{" + entry("odd", "U8", "[1]", "[0,1]") + "," +
                             entry("bf", "BF16", "[2]", "[1,5]") + "," +
                             entry("half", "F16", "[3]", "[5,11]") + "}";
  const std::string data("\x01\x80\x3f\x00\xc0\x00\x3c\x01\x00\x00\xfc", 11);
  const SafetensorsFile file(write(with_length(header.size(), header + data)));
  std::vector<float> bf(2), half(3);
  file.read_f32(*file.find("bf"), bf);
  file.read_f32(*file.find("half"), half);
  EXPECT_EQ(bf, (std::vector<float>{1, -2}));
  EXPECT_EQ(half, (std::vector<float>{1, 5.9604644775390625e-8f, -INFINITY}));
}

TEST_F(SafetensorsFileTest, ReadsAFileOfThePythonLibrary) {  // scripts/golden_weights.py
  const fs::path golden = fs::path(LLM_SOURCE_DIR) / "test" / "golden";
  const SafetensorsFile file(golden / "weights.safetensors");
  const Json expected = read_json_file(golden / "weights.json");
  ASSERT_EQ(file.tensors().size(), expected.size());
  for (const auto& [name, tensor] : expected.items()) {
    const TensorInfo* info = file.find(name);
    ASSERT_NE(info, nullptr) << name;
    EXPECT_EQ(info->shape, tensor["shape"].get<std::vector<int64_t>>()) << name;
    EXPECT_EQ(std::string(dtype_name(info->dtype)), tensor["dtype"].get<std::string>()) << name;
    if (info->dtype == DType::i64) continue;
    std::vector<float> values(static_cast<size_t>(info->elements()));
    file.read_f32(*info, values);
    EXPECT_EQ(values, tensor["values"].get<std::vector<float>>()) << name;
  }
}

TEST_F(SafetensorsFileTest, FilesThatCannotBeReadAreInputErrors) {
  for (const fs::path& path : {directory_ / "absent", directory_.path()}) {
    try {
      SafetensorsFile file(path);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace llm
