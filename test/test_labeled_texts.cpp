#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

#include "base/hash.h"
#include "data/labeled_texts.h"
#include "data/synth.h"
#include "support/byte_source.h"
#include "support/expect_error.h"
#include "support/sample_data.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

using Rows = std::vector<std::string>;

LabeledTexts read_labeled(const std::string& text, const LabeledTextOptions& options = {}) {
  return read_labeled_texts(source_of(text), "f.csv", options);
}

// "LINE label: text"
Rows labeled_rows(const LabeledTexts& found) {
  Rows rows;
  for (const LabeledText& text : found.texts) {
    rows.push_back(fmt::format("{} {}: {}", text.line, text.label, text.text));
  }
  return rows;
}

Rows labeled_rows(const std::string& text, const LabeledTextOptions& options = {}) {
  return labeled_rows(read_labeled(text, options));
}

LabeledTextOptions columns(const std::string& label, const std::string& text) {
  LabeledTextOptions options;
  options.label_column = label;
  options.text_column = text;
  return options;
}

TEST(ReadLabeledTexts, ColumnsAreFoundByContent) {
  EXPECT_EQ(labeled_rows("ham\tHi, you\nspam\tWin\n"), (Rows{"1 ham: Hi, you", "2 spam: Win"}));
  EXPECT_EQ(labeled_rows("label,text\nham,Hi\n"), (Rows{"2 ham: Hi"}));
  EXPECT_EQ(labeled_rows("Text,Label\nHi,ham\n"), (Rows{"2 ham: Hi"}));
  EXPECT_EQ(labeled_rows("id,Message ,x,CATEGORY\n7,Hi,y,ham\n"), (Rows{"2 ham: Hi"}));
  EXPECT_EQ(labeled_rows("v1,v2,,\nham,Hi,,\n"), (Rows{"2 ham: Hi"}));
  EXPECT_EQ(labeled_rows("label,phrase\nham,Hi\n"), (Rows{"2 ham: Hi"}));
  EXPECT_EQ(labeled_rows("remark,text\nham,Hi\n"), (Rows{"2 ham: Hi"}));
  EXPECT_EQ(labeled_rows("\n\nlabel,text\n\nham,Hi\n"), (Rows{"5 ham: Hi"}));
  // No headers: a sentence, and a value that is there again.
  EXPECT_EQ(labeled_rows("review,A fine book\nquestion,Why\n").size(), 2u);
  EXPECT_EQ(labeled_rows("review,Good\nquestion,Why\nreview,Bad\n").size(), 3u);
  EXPECT_EQ(labeled_rows("1,Good\n0,Bad\n"), (Rows{"1 1: Good", "2 0: Bad"}));
}

TEST(ReadLabeledTexts, ColumnsCanBeChosen) {
  const std::string named = "id,what,text,label\n1,x,long,a\n2,y,short,b\n";
  EXPECT_EQ(labeled_rows(named), (Rows{"2 a: long", "3 b: short"}));
  EXPECT_EQ(labeled_rows(named, columns("what", "")), (Rows{"2 x: long", "3 y: short"}));
  EXPECT_EQ(labeled_rows(named, columns("4", "2")), (Rows{"2 a: x", "3 b: y"}));
  EXPECT_EQ(labeled_rows("a,b\nc,d\n", columns("2", "")), (Rows{"1 b: a", "2 d: c"}));
  EXPECT_EQ(labeled_rows("a,b\nc,d\n", columns("", "1")), (Rows{"1 b: a", "2 d: c"}));
  EXPECT_EQ(labeled_rows("a,b,c\n", columns("3", "1")), (Rows{"1 c: a"}));
  LabeledTextOptions options;
  options.header = Header::yes;
  options.label_column = "1";
  EXPECT_EQ(labeled_rows("a,b\nc,d\n", options), (Rows{"2 c: d"}));
  options = {};
  options.header = Header::no;
  EXPECT_EQ(labeled_rows("label,text\nc,d\n", options), (Rows{"1 label: text", "2 c: d"}));
  EXPECT_EQ(read_labeled(named).label_column, "label");
  EXPECT_EQ(read_labeled("a,b\n").text_column, "2");

  expect_error(ErrorKind::input,
               "f.csv: line 1: there is no column \"kind\"; its columns are: id, what, text, label",
               [&] { read_labeled(named, columns("kind", "")); });
  expect_error(ErrorKind::input, "there is no column \"5\"",
               [&] { read_labeled(named, columns("5", "")); });
  expect_error(ErrorKind::input, "which column has the label?",
               [] { read_labeled("text,a,b\nHi,1,2\n"); });
  expect_error(ErrorKind::input, "which column has the text?",
               [] { read_labeled("label,a,b\nham,1,2\n"); });
  expect_error(ErrorKind::input, "in one column",
               [&] { read_labeled(named, columns("what", "2")); });
}

TEST(ReadLabeledTexts, TextsWithoutLabels) {
  LabeledTextOptions options;
  options.with_labels = false;
  EXPECT_EQ(labeled_rows("text\nHi\nthere\n", options), (Rows{"2 : Hi", "3 : there"}));
  EXPECT_EQ(labeled_rows("Hi\nthere\n", options), (Rows{"1 : Hi", "2 : there"}));
  EXPECT_EQ(labeled_rows("label,text\nham,Hi\n", options), (Rows{"2 : Hi"}));
  EXPECT_EQ(labeled_rows("ham\tHi\n", options), (Rows{"1 : Hi"}));
}

TEST(ReadLabeledTexts, TextsStayAsTheyAreAndLabelsLoseSpaces) {
  EXPECT_EQ(labeled_rows("label,text\n ham ,\" Hi\n\"\nspam\t,x\n"),
            (Rows{"2 ham:  Hi\n", "4 spam: x"}));
}

TEST(ReadLabeledTexts, BadRowsAreNamed) {
  const LabelSet known({"ham", "spam"}, "test");
  LabeledTextOptions options;
  options.known = &known;
  const auto refuse = [&](const std::string& text, const std::string& part) {
    expect_error(ErrorKind::input, part, [&] { read_labeled(text, options); });
  };
  const std::string good = "ham,Hi\n";
  refuse(good + "ham\n", "f.csv: line 2: 1 of 2 columns");
  refuse(good + "\n" + "ham, \t\n", "f.csv: line 3: the text is empty");
  refuse(good + " ,x\n", "f.csv: line 2: the label is empty");
  refuse(good + "Ham,x\n",
         "f.csv: line 2: the label \"Ham\" is not known (those are known: ham, spam");
  refuse(good + "ham,\"x\n", "f.csv: line 2: the quote that opens here is never closed");
  refuse(good + "ham,\xE9\n", "f.csv: line 2: byte 0xE9 is no UTF-8 text");
  refuse(good + "ham\n", "--skip-bad-rows");
  refuse("", "f.csv: there are no rows in it");
  refuse("label,text\n", "f.csv: there are no rows in it");
  EXPECT_EQ(labeled_rows(good + "ham,x,more,columns\n").size(), 2u);
}

TEST(ReadLabeledTexts, BadRowsCanBeCounted) {
  LabeledTextOptions options;
  options.skip_bad_rows = true;
  const LabeledTexts some =
      read_labeled("ham,Hi\nham\nspam,\nspam,x\nham,\"open\nham,y\n", options);
  EXPECT_EQ(labeled_rows(some), (Rows{"1 ham: Hi", "4 spam: x", "6 ham: y"}));
  EXPECT_EQ(some.bad.count(), 3);
  EXPECT_EQ(some.bad.first(),
            (Rows{"f.csv: line 2: 1 of 2 columns", "f.csv: line 3: the text is empty",
                  "f.csv: line 5: the quote that opens here is never closed"}));
  std::string many = "ham,Hi\n";
  for (int i = 0; i < 100; ++i) many += "ham\n";
  EXPECT_EQ(read_labeled(many, options).bad.count(), 100);
  EXPECT_EQ(read_labeled(many, options).bad.first().size(), BadRows::kShown);
  expect_error(ErrorKind::input, "f.csv: all of its 2 rows are bad; f.csv: line 1: 1 of 2 columns",
               [&] { read_labeled("ham\nspam\n", options); });
}

LabelSet labels(const Rows& names) {
  std::vector<LabeledText> texts;
  for (const std::string& name : names) texts.push_back({name, "x", 1});
  return labels_of(texts, "f.csv");
}

TEST(Labels, OrderDoesNotDependOnTheRows) {
  EXPECT_EQ(labels({"spam", "ham", "spam"}).names(), (Rows{"ham", "spam"}));
  EXPECT_EQ(labels({"10", "9", "-1"}).names(), (Rows{"-1", "9", "10"}));
  EXPECT_EQ(labels({"10", "9", "none"}).names(), (Rows{"10", "9", "none"}));
  const LabelSet set({"spam", "ham", "other"}, "config.json");
  EXPECT_EQ(set.find("spam"), 0);
  EXPECT_EQ(set.find("ham"), 1);
  EXPECT_EQ(set.find("other"), 2);
  EXPECT_FALSE(set.find("Spam"));
  EXPECT_FALSE(set.find(""));
  EXPECT_EQ(set.joined(), "spam, ham, other");
  expect_error(ErrorKind::input, "config.json: the label \"a\" is there twice", [] {
    LabelSet({"a", "b", "a"}, "config.json");
  });
  expect_error(ErrorKind::input, "f.csv: 1 label in 2 texts", [] { labels({"a", "a"}); });
  Rows many;
  for (int i = 0; i <= LabelSet::kMost; ++i) many.push_back(std::to_string(i));
  expect_error(ErrorKind::input, "f.csv: 1,001 different labels", [&] { labels(many); });
}

std::vector<LabeledText> uneven_texts() {
  std::vector<LabeledText> texts;
  for (int64_t i = 0; i < 600; ++i) {
    texts.push_back({i % 20 == 0  ? "rare"
                     : i % 3 == 0 ? "some"
                                  : "many",
                     std::to_string(i), i + 1});
  }
  return texts;
}

TEST(Balance, AsManyOfEachAsOfTheRarest) {
  const std::vector<LabeledText> texts = uneven_texts();
  const std::vector<int64_t> chosen = balance_by_sampling_down(texts, 42);
  EXPECT_TRUE(std::is_sorted(chosen.begin(), chosen.end()));
  EXPECT_EQ(std::set<int64_t>(chosen.begin(), chosen.end()).size(), 90u);
  std::map<std::string, int> counts;
  int64_t late = 0;
  for (const int64_t index : chosen) {
    ++counts[texts[static_cast<size_t>(index)].label];
    late += index >= 300 ? 1 : 0;
  }
  EXPECT_EQ(counts, (std::map<std::string, int>{{"many", 30}, {"rare", 30}, {"some", 30}}));
  EXPECT_GT(late, 25);  // from everywhere in the file
  EXPECT_LT(late, 65);
  EXPECT_EQ(balance_by_sampling_down(texts, 42), chosen);
  EXPECT_NE(balance_by_sampling_down(texts, 43), chosen);
  EXPECT_TRUE(balance_by_sampling_down({}, 1).empty());
}

TEST(WriteLabeledTexts, ReadsBackIdentically) {
  const TemporaryDirectory folder;
  std::vector<LabeledText> texts = {
      {"ham", "plain", 1},  {"spam", "a,\"b\"", 2}, {"a b", "line\nfeed\r\n", 3}, {"x,y", "\"", 4},
      {"ham", "\ttab ", 5}, {"ham", "\r", 6},       {"u", "\u00E9\uFEFF", 7},     {"u", "#", 8}};
  texts[5].text = "return\r";
  const std::vector<int64_t> order = {7, 3, 1, 2, 0, 4, 5, 6};
  write_labeled_texts(folder / "train.csv", texts, order);
  const LabeledTexts back = read_labeled_texts(folder / "train.csv", {});
  ASSERT_EQ(back.texts.size(), order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(back.texts[i].label, texts[static_cast<size_t>(order[i])].label);
    EXPECT_EQ(back.texts[i].text, texts[static_cast<size_t>(order[i])].text);
  }
}

TEST(ReadLabeledTexts, TheMessagesOfTheSyntheticCorpus) {
  const TemporaryDirectory folder;
  SynthOptions options;
  options.directory = folder.path();
  options.stories = options.instructions = 0;
  options.messages = 400;
  const SynthSummary summary = write_synthetic_corpus(options);
  const LabeledTexts found = read_labeled_texts(folder / "messages.tsv", {});
  EXPECT_EQ(found.texts.size(), 400u);
  EXPECT_EQ(labels_of(found.texts, "f").names(), (Rows{"ham", "spam"}));
  EXPECT_EQ(static_cast<int64_t>(balance_by_sampling_down(found.texts, 1).size()),
            2 * std::min(summary.ham, summary.spam));
}

std::string hash_of(const std::vector<LabeledText>& texts) {
  Sha256 hash;
  for (const LabeledText& text : texts) hash.update(text.label + "\t" + text.text + '\0');
  return hash.hex_digest();
}

TEST(ReadLabeledTexts, TheMessagesOfTheReference) {
  const auto path = sample_data("SMSSpamCollection");
  if (!path) GTEST_SKIP() << "no sample data";
  LabeledTextOptions options;
  const LabeledTexts plain = read_labeled_texts(*path, options);
  EXPECT_EQ(plain.texts.size(), 5574u);
  EXPECT_EQ(labels_of(plain.texts, "f").names(), (Rows{"ham", "spam"}));
  EXPECT_EQ(balance_by_sampling_down(plain.texts, 1).size(), 2 * 747u);
  options.quoting = Quoting::csv;
  const LabeledTexts quoted = read_labeled_texts(*path, options);
  EXPECT_EQ(quoted.texts.size(), 5572u);

  // The hashes of what Python's csv module and its splitting at newlines make of the file.
  EXPECT_EQ(hash_of(plain.texts),
            "48866c3cf2a5e06bf8020c667933f5e2b4056f58bc86d137ed4cd4f06d2fa593");
  EXPECT_EQ(hash_of(quoted.texts),
            "5a693add8d23f16a29a657846734bcb31feb2032f4b142b7beb3874f12ac36c0");
  const TemporaryDirectory folder;
  std::vector<int64_t> all(quoted.texts.size());
  std::iota(all.begin(), all.end(), 0);
  write_labeled_texts(folder / "all.csv", quoted.texts, all);
  const LabeledTexts back = read_labeled_texts(folder / "all.csv", {});
  ASSERT_EQ(back.texts.size(), quoted.texts.size());
  for (size_t i = 0; i < all.size(); ++i) ASSERT_EQ(back.texts[i].text, quoted.texts[i].text);
}

}  // namespace
}  // namespace llm::test
