#include <gtest/gtest.h>

#include <array>

#include "support/expect_error.h"
#include "support/hostile_files.h"
#include "weights/pickle.h"

namespace llm {
namespace {

using Kind = PickleValue::Kind;

constexpr std::array<std::string_view, 2> kAllowed = {"collections.OrderedDict", "torch.thing"};

Pickle parse_pickle_text(const std::string& bytes) {
  return Pickle(as_bytes(bytes), "P", kAllowed);
}

std::string text(const std::string& value) {
  return std::string("\x8c") + static_cast<char>(value.size()) + value;
}
std::string repeat(const std::string& value, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += value;
  return result;
}
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}

TEST(Pickle, NumbersTextsAndContainers) {
  // (None, True, False, 5, 300, -2, 2**40, 1.5, "ab", [1, 2], {"k": 7})
  const std::string bytes =
      std::string("\x80\x02(N\x88\x89K\x05M\x2c\x01J\xfe\xff\xff\xff", 16) +
      std::string("\x8a\x06\x00\x00\x00\x00\x00\x01", 8) + std::string("G\x3f\xf8\0\0\0\0\0\0", 9) +
      "X" + std::string("\x02\0\0\0ab", 6) + "](K\x01K\x02" + "e}" + text("k") + "K\x07st.";
  const Pickle pickle = parse_pickle_text(bytes);
  const PickleValue& root = pickle.root();
  ASSERT_EQ(root.kind, Kind::tuple);
  ASSERT_EQ(root.items.size(), 11u);
  EXPECT_EQ(pickle.item(root, 0).kind, Kind::none);
  EXPECT_EQ(pickle.item(root, 1).integer, 1);
  EXPECT_EQ(pickle.item(root, 2).kind, Kind::boolean);
  EXPECT_EQ(pickle.item(root, 3).integer, 5);
  EXPECT_EQ(pickle.item(root, 4).integer, 300);
  EXPECT_EQ(pickle.item(root, 5).integer, -2);
  EXPECT_EQ(pickle.item(root, 6).integer, int64_t{1} << 40);
  EXPECT_EQ(pickle.item(root, 7).real, 1.5);
  EXPECT_EQ(pickle.item(root, 8).text, "ab");
  EXPECT_EQ(pickle.item(root, 9).items.size(), 2u);
  const PickleValue* found = pickle.find(pickle.item(root, 10), "k");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->integer, 7);
  EXPECT_EQ(pickle.find(pickle.item(root, 10), "x"), nullptr);
}

TEST(Pickle, NegativeAndEmptyLongs) {
  EXPECT_EQ(parse_pickle_text(std::string("\x8a\x01\xff.", 4)).root().integer, -1);
  EXPECT_EQ(parse_pickle_text(std::string("\x8a\x00.", 3)).root().integer, 0);
  EXPECT_EQ(parse_pickle_text(std::string("\x8a\x08\0\0\0\0\0\0\0\x80.", 11)).root().integer,
            INT64_MIN);
}

TEST(Pickle, TheMemoRepeatsValues) {
  const Pickle pickle = parse_pickle_text(std::string("(K\x05q\x00h\x00K\x06\x94h\x01t.", 14));
  ASSERT_EQ(pickle.root().items.size(), 4u);
  EXPECT_EQ(pickle.item(pickle.root(), 1).integer, 5);
  EXPECT_EQ(pickle.item(pickle.root(), 3).integer, 6);
}

TEST(Pickle, CallsAreRecordedNotMade) {
  const Pickle pickle = parse_pickle_text(global("torch", "thing") + "K\x01\x85R.");
  EXPECT_EQ(pickle.root().kind, Kind::call);
  EXPECT_EQ(pickle.item(pickle.root(), 0).text, "torch.thing");
  EXPECT_EQ(pickle.item(pickle.item(pickle.root(), 1), 0).integer, 1);
  const Pickle other = parse_pickle_text(text("torch") + text("thing") + "\x93)R.");
  EXPECT_EQ(other.root().kind, Kind::call);
  EXPECT_EQ(parse_pickle_text("K\x01Q.").root().kind, Kind::persistent);
}

TEST(Pickle, AnOrderedDictIsADictAndItsStateIsDropped) {
  const std::string made = global("collections", "OrderedDict") + ")R";
  const Pickle pickle =
      parse_pickle_text(made + "(" + text("a") + "K\x01u}" + text("_metadata") + "}sb.");
  EXPECT_EQ(pickle.root().kind, Kind::dict);
  EXPECT_EQ(pickle.root().items.size(), 2u);
  EXPECT_EQ(pickle.find(pickle.root(), "a")->integer, 1);
}

TEST(Pickle, ADeepOrCyclicPickleIsOnlyDeepData) {
  EXPECT_EQ(parse_pickle_text(repeat("]", 100'000) + repeat("a", 99'999) + ".").root().kind,
            Kind::list);
  EXPECT_EQ(parse_pickle_text(std::string("]q\x00h\x00\x61.", 7)).root().items.size(),
            1u);  // holds itself
}

TEST(Pickle, HostilePicklesAreRefused) {
  const std::string system = global("os", "system");
  const char* not_needed = "is not one that tensors need";
  test::expect_refused(
      {
          {"empty", "", "opcode"},
          {"no end", "N", "opcode"},
          {"nothing", ".", "left over"},
          {"two values", "NN.", "left over"},
          {"open mark", "N(.", "left over"},
          {"bytes behind", "N.N", "bytes behind the end"},
          {"os.system", system + text("id") + "\x85R.", "\"os.system\", which is not allowed"},
          {"os.system on the stack", text("os") + text("system") + "\x93.", "\"os.system\""},
          {"eval", global("builtins", "eval") + text("1") + "\x85R.", "\"builtins.eval\""},
          {"eval of Python 2", global("__builtin__", "eval") + ".", "\"__builtin__.eval\""},
          {"a dotted name", global("torch", "thing.__class__") + ".", "not allowed"},
          {"a dotted module", global("torch.thing.os", "system") + ".", "not allowed"},
          {"an endless name", "c" + std::string(1'000'000, 'x'), "a name without end"},
          {"a long name", global(std::string(1'000'000, 'x'), "y"), "not allowed"},
          {"a control character", global("\x1b[2J", "y"), "\\u001b[2J"},
          {"call of a number", "K\x01)R.", "calls what is not allowed"},
          {"call with a number", global("torch", "thing") + "K\x01R.", "calls what"},
          {"OrderedDict with arguments", global("collections", "OrderedDict") + "]\x85R.",
           "OrderedDict with arguments"},
          {"state of a call", global("torch", "thing") + ")R}b.", "sets the state of a dict"},
          {"instance", "(" + global("os", "system").replace(0, 1, "i"), not_needed},
          {"object", "(" + system + "o.", "os.system"},
          {"new object", global("torch", "thing") + ")\x81.", not_needed},
          {"extension registry", "\x82\x01.", not_needed},
          {"persistent text", "P1\n.", not_needed},
          {"text number", "I1\n.", not_needed},
          {"long4", std::string("\x8b\xff\xff\xff\x7f.", 6), not_needed},
          {"bytes8", std::string("\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", 10), not_needed},
          {"next buffer", "\x97.", not_needed},
          {"protocol", "\x80\x06N.", "protocol"},
          {"frame", std::string("\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", 11), "frame"},
          {"long text", std::string("X\xff\xff\xff\xff", 5) + "a.", "text"},
          {"short text",
           "\x8c\x05"
           "abc",
           "text"},
          {"large number", "\x8a\x09" + std::string(9, '\x01') + ".", "beyond 64 bits"},
          {"pop of nothing", "0.", "empty stack"},
          {"pop through a mark", "N(0.", "empty stack"},
          {"tuple of too few", "N\x86.", "empty stack"},
          {"tuple without mark", "Nt.", "no mark"},
          {"items without dict", "N(NNu.", "sets items of a dict"},
          {"odd items", "}(Nu.", "a key without a value"},
          {"append to a dict", "}Na.", "appends to a list"},
          {"item of a list", "]NNs.", "sets an item of a dict"},
          {"memo never set", "h\x05.", "was never put there"},
          {"memo beyond", std::string("Nr\xff\xff\xff\xff.", 7), "place 4294967295"},
          {"memo of nothing", std::string("q\x00.", 3), "empty stack"},
          {"memo read beyond", std::string("j\xff\xff\xff\xff.", 6), "was never put there"},
          {"many values", repeat("N0", 300'000), "more than 250,000 values"},
          {"many marks", repeat("(", 300'000), "marks"},
          {"long stack", "N\x94" + repeat(std::string("h\0", 2), 300'000), "the stack grows"},
      },
      "P", parse_pickle_text);
}

TEST(Pickle, EveryTruncationIsRefused) {
  const std::string bytes = global("collections", "OrderedDict") + ")R(" + text("a") +
                            std::string("X\x02\0\0\0ab", 7) + "u}" + text("m") + "}sb.";
  EXPECT_NO_THROW(parse_pickle_text(bytes));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(parse_pickle_text(bytes.substr(0, size)), Error) << size;
  }
}

}  // namespace
}  // namespace llm
