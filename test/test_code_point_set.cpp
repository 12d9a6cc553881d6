#include <gtest/gtest.h>

#include "data/code_point_set.h"
#include "support/expect_error.h"

namespace llm::test {
namespace {

TEST(CodePointSet, HoldsWhatWasPutIn) {
  CodePointSet set;
  EXPECT_EQ(set.size(), 0);
  for (const char32_t code_point : {U'\0', U'\x3F', U'\x40', U'\x10FFFF'}) {
    EXPECT_FALSE(set.contains(code_point));
    set.insert(code_point);
    EXPECT_TRUE(set.contains(code_point));
  }
  EXPECT_EQ(set.size(), 4);
  set.erase(U'\x40');
  EXPECT_FALSE(set.contains(U'\x40'));
  EXPECT_TRUE(set.contains(U'\x3F'));
  CodePointSet other;
  other.insert(U'\x3F');
  other.insert(U'x');
  CodePointSet both = set;
  both.keep_only(other);
  EXPECT_EQ(both.size(), 1);
  set.insert_all(other);
  EXPECT_EQ(set.size(), 4);
}

TEST(CodePointSet, PropertiesAreThoseOfUnicode) {
  const CodePointSet format = code_points_of_property("Cf");
  for (const char32_t code_point : {0xADu, 0x200Bu, 0x200Eu, 0x202Eu, 0x2066u, 0xFEFFu, 0xE0041u}) {
    EXPECT_TRUE(format.contains(code_point)) << std::hex << uint32_t{code_point};
  }
  for (const char32_t code_point : {U'a', U'\n', U'\x85', U'\xA0', U'\xFFFD'}) {
    EXPECT_FALSE(format.contains(code_point)) << std::hex << uint32_t{code_point};
  }
  const CodePointSet letters = code_points_of_property("L");
  EXPECT_GT(letters.size(), 130'000);
  for (const char32_t code_point : {U'a', U'Z', U'\xE9', U'\x416', U'\x4E2D', U'\x20000'}) {
    EXPECT_TRUE(letters.contains(code_point));
  }
  for (const char32_t code_point : {U'1', U' ', U'.', U'\x301', U'\x1F600'}) {
    EXPECT_FALSE(letters.contains(code_point));
  }
}

TEST(CodePointSet, ScriptsByNameInAnyCase) {
  const CodePointSet latin = code_points_of_script("latin", "test");
  EXPECT_EQ(code_points_of_script("Latin", "test").size(), latin.size());
  EXPECT_TRUE(latin.contains(U'z') && latin.contains(U'\xDF') && latin.contains(U'\x1E00'));
  EXPECT_FALSE(latin.contains(U'\x3B1') || latin.contains(U'\x416') || latin.contains(U'7'));
  EXPECT_TRUE(code_points_of_script("han", "test").contains(U'\x4E2D'));
  EXPECT_TRUE(code_points_of_script("cyrillic", "test").contains(U'\x416'));
}

TEST(CodePointSet, RefusesWhatIsNoScript) {
  for (const char* name :
       {"", "english", "L", "Lu", "any", "latin}|\\p{L", "x y", "sc:latin", "latin\n"}) {
    expect_error(ErrorKind::usage, "--filter: no Unicode script",
                 [&] { code_points_of_script(name, "--filter"); });
  }
}

}  // namespace
}  // namespace llm::test
