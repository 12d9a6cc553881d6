#include <gtest/gtest.h>

#include "text/special_tokens.h"

namespace llm {
namespace {

TEST(SpecialTokenFinder, LeftmostThenLongest) {
  SpecialTokenFinder finder;
  EXPECT_FALSE(finder.find("<a>", 0));
  finder.add("<a>", 1);
  finder.add("<a><b>", 2);
  finder.add("xx", 3);
  const auto found = finder.find("..<a><b>xx", 0);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->begin, 2u);
  EXPECT_EQ(found->length, 6u);
  EXPECT_EQ(found->id, 2);
  EXPECT_EQ(finder.find("..<a><b>xx", 3)->id, 3);
  EXPECT_EQ(finder.find("x<a><", 0)->id, 1);
  EXPECT_FALSE(finder.find("<a", 0));
}

std::string split(const SpecialTokenFinder& finder, std::string_view text, bool open) {
  std::string result;
  const size_t covered = finder.split(
      text, open,
      [&](std::string_view part, bool part_open) {
        result += "[" + std::string(part) + (part_open ? "..." : "") + "]";
        return part.size();
      },
      [&](TokenId id) { result += std::to_string(id); });
  EXPECT_LE(covered, text.size());
  EXPECT_TRUE(open || covered == text.size());
  return result;
}

TEST(SpecialTokenFinder, Splits) {
  SpecialTokenFinder finder;
  EXPECT_EQ(split(finder, "abc", false), "[abc]");
  EXPECT_EQ(split(finder, "abc", true), "[abc...]");
  finder.add("<a>", 1);
  finder.add("<a>b", 2);
  EXPECT_EQ(split(finder, "x<a>y<a>b", false), "[x]1[y]2[]");
  // Whether "<a>" at the end is the longer token is open, and so is what "<" begins.
  EXPECT_EQ(split(finder, "x<a>y<a>", true), "[x]1[y...]");
  EXPECT_EQ(split(finder, "x<a>yyyy<", true), "[x]1[yy...]");
}

}  // namespace
}  // namespace llm
