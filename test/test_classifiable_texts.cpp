#include <gtest/gtest.h>

#include <fstream>

#include "data/classifiable_texts.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

class ClassifiableTextsTest : public testing::Test {
 protected:
  ClassifiableTexts read(const std::string& content, ClassifiableTextOptions options = {},
                         const std::string& name = "file.txt") {
    const fs::path path = directory_ / name;
    std::ofstream(path, std::ios::binary) << content;
    options.labels = &labels_;
    return read_classifiable_texts(path, options);
  }
  static std::vector<std::string> texts_of(const ClassifiableTexts& texts) {
    std::vector<std::string> found;
    for (const LabeledText& text : texts.read.texts) found.push_back(text.text);
    return found;
  }
  using Strings = std::vector<std::string>;

  test::TemporaryDirectory directory_;
  LabelSet labels_{{"ham", "spam"}, "labels"};
};

TEST_F(ClassifiableTextsTest, ATableWithAHeaderTellsItsColumns) {
  const auto labeled = read("category,message\nspam,\"Win, now\"\nham,Hello\n");
  EXPECT_TRUE(labeled.labeled);
  EXPECT_EQ(texts_of(labeled), (Strings{"Win, now", "Hello"}));
  EXPECT_EQ(labeled.read.texts[0].label, "spam");
  EXPECT_EQ(labeled.form, "a table, texts in column \"message\", labels in \"category\"");
  const auto plain = read("id,text\n1,spam\n2,\"a, b\"\n");
  EXPECT_FALSE(plain.labeled);
  EXPECT_EQ(texts_of(plain), (Strings{"spam", "a, b"}));
  EXPECT_EQ(plain.read.texts[1].label, "");
  const auto tabs = read("label\ttext\nham\t\"quoted\n");
  EXPECT_TRUE(tabs.labeled);
  EXPECT_EQ(texts_of(tabs), (Strings{"\"quoted"}));
}

TEST_F(ClassifiableTextsTest, WithoutAHeaderTheFirstCellsDecide) {
  const auto labeled = read("ham\tGo on\nspam\tWin\nham\tOk\n");
  EXPECT_TRUE(labeled.labeled);
  EXPECT_EQ(texts_of(labeled), (Strings{"Go on", "Win", "Ok"}));
  // Commas of prose make no table, nor does a label in the middle of it.
  const auto lines = read("Well, hello\n\nham, eggs and spam\r\nNo, thanks, \"really\n");
  EXPECT_FALSE(lines.labeled);
  EXPECT_EQ(texts_of(lines),
            (Strings{"Well, hello", "ham, eggs and spam", "No, thanks, \"really"}));
  EXPECT_EQ(lines.read.texts[1].line, 3);
  EXPECT_EQ(lines.form, "a text on each line");
  EXPECT_EQ(texts_of(read("one line without an end")), (Strings{"one line without an end"}));
}

TEST_F(ClassifiableTextsTest, ColumnsThatAreAskedForAreTaken) {
  ClassifiableTextOptions options;
  options.text_column = "2";
  EXPECT_EQ(texts_of(read("1\ta b\n2\tc d\n", options)), (Strings{"a b", "c d"}));
  options.text_column = "1";
  options.label_column = "2";
  const auto turned = read("Hello,ham\nWin,spam\n", options);
  EXPECT_TRUE(turned.labeled);
  EXPECT_EQ(texts_of(turned), (Strings{"Hello", "Win"}));
  options = {};
  options.label_column = "none";
  const auto without = read("label,text\nwhatever,Hello\n", options);
  EXPECT_FALSE(without.labeled);
  EXPECT_EQ(texts_of(without), (Strings{"Hello"}));
  options.label_column = "mood";
  test::expect_error(ErrorKind::input, "no column \"mood\"",
                     [&] { read("label,text\nham,Hello\n", options); });
}

TEST_F(ClassifiableTextsTest, NamesOfFilesCount) {
  EXPECT_EQ(texts_of(read("\"a, b\"\nc\n", {}, "x.csv")), (Strings{"a, b", "c"}));
  test::expect_error(ErrorKind::input, "which column has the text?",
                     [&] { read("1,a\n2,b\n", {}, "x.csv"); });
}

TEST_F(ClassifiableTextsTest, BadRowsAreNamedOrCounted) {
  const std::string content = "label,text\nham,a\neggs,b\nspam,\nspam,d\n";
  test::expect_error(ErrorKind::input, "line 3: the label \"eggs\" is not known",
                     [&] { read(content); });
  test::expect_error(ErrorKind::input, "ham, spam", [&] { read(content); });
  ClassifiableTextOptions options;
  options.skip_bad_rows = true;
  const auto skipped = read(content, options);
  EXPECT_EQ(texts_of(skipped), (Strings{"a", "d"}));
  EXPECT_EQ(skipped.read.bad.count(), 2);
  test::expect_error(ErrorKind::input, "line 2", [&] { read("good\nba\xff\n"); });
  EXPECT_EQ(texts_of(read("good\nba\xff\n \n", options)), (Strings{"good"}));
  test::expect_error(ErrorKind::input, "no rows", [&] { read(""); });
}

}  // namespace
}  // namespace llm
