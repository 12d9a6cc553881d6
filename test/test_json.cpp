// JSON from outside: what is accepted, what is refused and how, and the typed access.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "base/json.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

using test::expect_error;

void expect_refused(const std::string& text, const std::string& part) {
  expect_error(ErrorKind::input, part, [&] { parse_json(text, "f.json"); });
}

std::string repeated(const std::string& part, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += part;
  return result;
}

TEST(ParseJson, KeepsValuesAndTheirOrder) {
  const Json json = parse_json(
      R"({"z": [1, -2, 2.5, true, null, "a\u00e9\n"], "a": {}, "m": 18446744073709551615})", "f");
  EXPECT_EQ(to_line(json),
            "{\"z\":[1,-2,2.5,true,null,\"a\xc3\xa9\\n\"],\"a\":{},\"m\":18446744073709551615}");
  EXPECT_EQ(json["z"][1].get<int>(), -2);
  EXPECT_EQ(parse_json(" 3 ", "f").get<int>(), 3);
  EXPECT_EQ(parse_json("\"\"", "f").get<std::string>(), "");
  EXPECT_EQ(to_line(parse_json("[[],[[]],{\"a\":{\"b\":[]}}]", "f")),
            "[[],[[]],{\"a\":{\"b\":[]}}]");
}

TEST(ParseJson, SaysWhereItStopped) {
  expect_refused("{\"a\": 1,\n \"b\": oops}", "f.json, line 2, column 7: not valid JSON: ");
  expect_refused("x", "f.json, line 1, column 1: ");
  expect_refused("", "f.json, line 1, column 1: ");
  expect_refused("[1,\n2,\n3", "line 3, column 1: not valid JSON: ");
  expect_refused("[1]\n]", "line 2, column 1: ");
  expect_refused("{\"a\":1,\n\"b\":2,\n \"a\":3}", "line 3, column 4: ");
}

TEST(ParseJson, RefusesWhatIsNoJson) {
  for (const char* text :
       {"{",          "[",           "[1,]",     "{\"a\":}", "{a:1}",    "{\"a\" 1}", "nul",
        "01",         "1.",          "+1",       ".5",       "NaN",      "Infinity",  "'a'",
        "\"\\x\"",    "\"\\ud800\"", "\"a\nb\"", "[1] 2",    "// 1",     "\"abc",     "tru",
        "{\"a\":1,}", "[1 2]",       "--1",      "1e",       "\"\\u12\""}) {
    expect_refused(text, "not valid JSON");
  }
}

TEST(ParseJson, RefusesTextThatIsNoUtf8) {
  for (const char* bytes : {"\"\xff\"", "\"\xc3\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"",
                            "\"\xf5\x80\x80\x80\"", "\xff", "\xef\xbb"}) {
    expect_refused(bytes, "not valid JSON");
  }
  expect_refused(std::string("[1\0]", 4), "not valid JSON");
}

TEST(ParseJson, RefusesNumbersOutOfRange) {
  expect_refused("1e999", "the number \"1e999\" is out of range");
  expect_refused("{\"lr\": -1e400}", "the number \"-1e400\" is out of range");
  expect_refused("1" + std::string(400, '0'), "is out of range");
  EXPECT_EQ(parse_json("1e-999", "f").get<double>(), 0.0);
}

TEST(ParseJson, RefusesKeysThatComeTwice) {
  expect_refused(R"({"a": 1, "b": 2, "a": 3})", "the key \"a\" appears twice");
  expect_refused(R"({"x": [{"a": 1, "\u0061": 2}]})", "the key \"a\" appears twice");
  // In different objects a key may come again.
  EXPECT_EQ(to_line(parse_json(R"([{"a":{"a":1}},{"a":2}])", "f")), R"([{"a":{"a":1}},{"a":2}])");
}

TEST(ParseJson, RefusesWhatIsNestedTooDeep) {
  const std::string deep = repeated("[", 64) + repeated("]", 64);
  EXPECT_TRUE(parse_json(deep, "f").is_array());
  expect_refused("[" + deep + "]", "nested deeper than 64 levels");
  expect_refused(repeated("[", 5'000'000), "line 1, column 65: not valid JSON: nested deeper");
  expect_refused(repeated("{\"a\":", 1'000'000), "nested deeper than 64 levels");
}

TEST(ParseJson, RefusesWhatIsLargerThanTheLimits) {
  JsonLimits limits;
  limits.max_values = 4;
  EXPECT_EQ(parse_json("[1,2,3]", "f", limits).size(), 3u);
  expect_error(ErrorKind::input, "more than 4 values",
               [&] { parse_json("[1,2,3,4]", "f", limits); });
  expect_error(ErrorKind::input, "more than 4 values",
               [&] { parse_json("[[],[],{},[]]", "f", limits); });
  limits = JsonLimits();
  limits.max_bytes = 3;
  EXPECT_EQ(parse_json("[1]", "f", limits).size(), 1u);
  expect_error(ErrorKind::input, "4 bytes of JSON, the limit is 3",
               [&] { parse_json("[12]", "f", limits); });
}

TEST(ParseJson, MessagesAreShortAndWithoutControlCharacters) {
  const std::string huge(1'000'000, 'k');
  const std::string key = "\"\\u001b[31m" + huge + "\"";
  for (const std::string& text :
       {"{" + key + ":1," + key + ":2}", "[\"" + huge, "[" + std::string(500'000, '9') + "e999]",
        "[\"" + huge + "\x1b\"]", "[t\x1b" + huge}) {
    try {
      parse_json(text, "f.json");
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_LT(message.size(), 400u);
      for (const char c : message) EXPECT_GE(c, ' ') << message;
    }
  }
}

// A search for the key before each insertion would take minutes here.
TEST(ParseJson, LargeObjectsTakeLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 300'000; ++i) text += "\"key" + std::to_string(i) + "\":1,";
  text += "\"end\":0}";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(parse_json(text, "f").size(), 300'001u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(ReadJsonFile, NamesTheFile) {
  const test::TemporaryDirectory folder;
  const fs::path path = folder / "config.json";
  write_file_atomically(path, "{\"a\": [1,\n2]}");
  EXPECT_EQ(to_line(read_json_file(path)), "{\"a\":[1,2]}");
  write_file_atomically(path, "{\"a\": [1,\n2}");
  expect_error(ErrorKind::input, path.string() + ", line 2, column 2: not valid JSON",
               [&] { read_json_file(path); });
  JsonLimits limits;
  limits.max_bytes = 5;
  expect_error(ErrorKind::input, path.string() + ": is larger than the limit of 5 bytes",
               [&] { read_json_file(path, limits); });
  expect_error(ErrorKind::input, (folder / "absent").string() + ": cannot open",
               [&] { read_json_file(folder / "absent"); });
}

TEST(JsonText, IsReadBackTheSame) {
  const Json json = parse_json(R"({"b": [1, 0.1, 1e-300, -0.0], "a": {"x": "\u0001\"\\"}})", "f");
  EXPECT_EQ(parse_json(to_line(json), "f"), json);
  EXPECT_EQ(parse_json(to_pretty_text(json), "f"), json);
  EXPECT_EQ(to_pretty_text(parse_json("{\"b\":[1],\"a\":{}}", "f")),
            "{\n  \"b\": [\n    1\n  ],\n  \"a\": {}\n}\n");
  EXPECT_EQ(to_line(json).find('\n'), std::string::npos);
  EXPECT_EQ(to_line(Json("a\xff")), "\"a\xef\xbf\xbd\"");
}

class JsonObjectTest : public ::testing::Test {
 protected:
  void expect_bad(const std::string& part, const std::function<void(const JsonObject&)>& use) {
    expect_error(ErrorKind::input, "f.json: " + part, [&] { use(object_); });
  }
  Json json_ = parse_json(
      R"({"n": 3, "big": 18446744073709551615, "x": 2.5, "s": "text", "t": true, "null": null,
          "o": {"n": 1}, "a": [1]})",
      "f.json");
  JsonObject object_{json_, "f.json"};
};

TEST_F(JsonObjectTest, GivesValues) {
  EXPECT_EQ(object_.integer("n", 3, 3), 3);
  EXPECT_EQ(object_.number("x", 0, 3), 2.5);
  EXPECT_EQ(object_.number("n", 0, 3), 3.0);
  EXPECT_EQ(object_.text("s"), "text");
  EXPECT_TRUE(object_.boolean("t"));
  EXPECT_EQ(object_.object("o").integer("n", 0, 9), 1);
  EXPECT_EQ(object_.array("a").size(), 1u);
  EXPECT_TRUE(object_.value("null").is_null());
  EXPECT_TRUE(object_.has("n"));
  EXPECT_FALSE(object_.has("null"));
  EXPECT_FALSE(object_.has("absent"));
}

TEST_F(JsonObjectTest, FallsBackWhereMissingOrNull) {
  for (const char* key : {"absent", "null"}) {
    EXPECT_EQ(object_.integer(key, 0, 1, 42), 42);
    EXPECT_EQ(object_.number(key, 0, 1, 4.5), 4.5);
    EXPECT_EQ(object_.text(key, "else"), "else");
    EXPECT_TRUE(object_.boolean(key, true));
  }
  EXPECT_EQ(object_.integer("n", 0, 9, 42), 3);
  EXPECT_EQ(object_.number("x", 0, 9, 42), 2.5);
  EXPECT_EQ(object_.text("s", "else"), "text");
  EXPECT_TRUE(object_.boolean("t", false));
}

TEST_F(JsonObjectTest, RefusesMissingKeysWrongTypesAndRanges) {
  expect_bad("\"absent\": is missing", [](auto& o) { o.integer("absent", 0, 1); });
  expect_bad("\"absent\": is missing", [](auto& o) { o.object("absent"); });
  expect_bad("\"n\": 3 is outside [4, 5]", [](auto& o) { o.integer("n", 4, 5); });
  expect_bad("\"n\": 3 is outside [0, 2]", [](auto& o) { o.integer("n", 0, 2, 1); });
  expect_bad("\"big\": 18446744073709551615 is outside",
             [](auto& o) { o.integer("big", 0, INT64_MAX); });
  expect_bad("\"x\": expected a whole number, found number", [](auto& o) { o.integer("x", 0, 9); });
  expect_bad("\"x\": 2.5 is outside [3, 4]", [](auto& o) { o.number("x", 3, 4); });
  expect_bad("\"s\": expected a number, found string", [](auto& o) { o.number("s", 0, 1); });
  expect_bad("\"s\": expected a number, found string", [](auto& o) { o.number("s", 0, 1, 0.5); });
  expect_bad("\"n\": expected true or false, found number", [](auto& o) { o.boolean("n"); });
  expect_bad("\"n\": expected a string, found number", [](auto& o) { o.text("n"); });
  expect_bad("\"null\": expected a string, found null", [](auto& o) { o.text("null"); });
  expect_bad("\"a\": expected an object, found array", [](auto& o) { o.object("a"); });
  expect_bad("\"o\": expected an array, found object", [](auto& o) { o.array("o"); });
}

TEST_F(JsonObjectTest, NamesTheWayToNestedObjects) {
  expect_error(ErrorKind::input, "f.json: o: \"m\": is missing",
               [&] { object_.object("o").integer("m", 0, 1); });
  expect_error(ErrorKind::input, "f.json: expected a JSON object, found array",
               [&] { JsonObject(json_["a"], "f.json"); });
}

}  // namespace
}  // namespace llm
