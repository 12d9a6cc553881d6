#include <gtest/gtest.h>

#include "base/error.h"
#include "text/pattern.h"

namespace llm {
namespace {

TEST(Pattern, Names) {
  EXPECT_EQ(named_pattern("gpt2"), kGpt2Pattern);
  EXPECT_EQ(named_pattern("cl100k"), kCl100kPattern);
  EXPECT_EQ(named_pattern("llama3"), kLlama3Pattern);
  EXPECT_THROW(named_pattern("gpt5"), Error);
}

TEST(Pattern, KeepsWhatBothDialectsReadAlike) {
  for (const char* text :
       {R"(\p{L}+|[^a-z\]]|\[x\]|(?i:a)|.\.)", "[]a]", "[^]a]", "[[:alpha:]x]"}) {
    const TranslatedPattern translated = translate_pattern(text, "test");
    EXPECT_EQ(translated.text, text);
    EXPECT_FALSE(translated.anchored);
  }
}

TEST(Pattern, KnowsAnchors) {
  EXPECT_TRUE(translate_pattern("^a", "test").anchored);
  EXPECT_TRUE(translate_pattern(R"(\Ga)", "test").anchored);
  EXPECT_TRUE(translate_pattern(R"(a\b)", "test").anchored);
  EXPECT_FALSE(translate_pattern(R"([^b]\^)", "test").anchored);
}

TEST(Pattern, RefusesWhatPcre2WouldReadOtherwise) {
  EXPECT_THROW(translate_pattern("[a[bc]]", "test"), Error);
  EXPECT_THROW(translate_pattern("[a-z&&[^b]]", "test"), Error);
  EXPECT_THROW(translate_pattern(R"(\Qa\E)", "test"), Error);
  EXPECT_THROW(translate_pattern("[[:alpha]", "test"), Error);
}

}  // namespace
}  // namespace llm
