#include <gtest/gtest.h>

#include <random>

#include "data/filters.h"
#include "support/expect_error.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace llm::test {
namespace {

std::string clean(std::string_view text, const FilterOptions& options, FilterReport& report) {
  TextCleaner cleaner(options);
  std::string cleaned;
  cleaner.clean(text, true, cleaned, report);
  return cleaned;
}

std::string clean(std::string_view text, const FilterOptions& options = {}) {
  FilterReport report;
  return clean(text, options, report);
}

TEST(TextCleaner, LeavesPlainTextAlone) {
  const std::string text =
      "Tabs\tand\nnewlines, caf\u00E9, \u4E2D\u6587, \U0001F600, e\u0301, \u00A0, \u2028, "
      "\u0646\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645, \U0001F468\u200D\U0001F469.";
  FilterReport report;
  EXPECT_EQ(clean(text, {}, report), text);
  EXPECT_EQ(to_json(report), to_json(FilterReport{}));
}

TEST(TextCleaner, RemovesControlAndFormatCharacters) {
  FilterReport report;
  using namespace std::string_literals;
  EXPECT_EQ(clean("a\0b\x01\x1B[0mc\x7F\u0080\u009F."s, {}, report), "ab[0mc.");
  EXPECT_EQ(report.control_characters, 6);
  EXPECT_EQ(clean("\uFEFFso\u00ADft \u200Bwi\u202Ed\u2066th \U000E0041.", {}, report),
            "soft width .");
  EXPECT_EQ(report.format_characters, 6);
  FilterOptions keep;
  keep.remove_control = false;
  const std::string raw = "\uFEFFa\0\r\n\u200B\x7F"s;
  EXPECT_EQ(clean(raw, keep), raw);
}

TEST(TextCleaner, MakesLineEndsLineFeeds) {
  FilterReport report;
  EXPECT_EQ(clean("dos\r\nmac\rpage\fvertical\vnext\u0085end\r\r\n\n\r", {}, report),
            "dos\nmac\npage\nvertical\nnext\nend\n\n\n\n");
  EXPECT_EQ(report.line_ends, 8);
  EXPECT_EQ(report.control_characters, 0);
}

TEST(TextCleaner, HandlesInvalidUtf8AsAsked) {
  // A stray continuation, a cut character, an overlong form, a surrogate, a byte that never occurs.
  const std::string text =
      "a\x80"
      "b\xE2\x82"
      "c\xC0\xAF"
      "d\xED\xA0\x80"
      "e\xFF";
  FilterOptions options;
  FilterReport report;
  EXPECT_EQ(clean(text, options, report),
            "a\uFFFDb\uFFFD\uFFFDc\uFFFD\uFFFDd\uFFFD\uFFFD\uFFFDe\uFFFD");
  EXPECT_EQ(report.invalid_bytes, 9);
  options.invalid_utf8 = InvalidUtf8::drop;
  EXPECT_EQ(clean(text, options), "abcde");
  options.invalid_utf8 = InvalidUtf8::keep;
  EXPECT_EQ(clean(text, options, report), text);
  EXPECT_EQ(report.invalid_bytes, 18);
  options.invalid_utf8 = InvalidUtf8::refuse;
  TextCleaner cleaner(options);
  std::string cleaned;
  cleaner.clean("fine", false, cleaned, report, "f.txt", 0);
  expect_error(ErrorKind::input, "f.txt: offset 1,003: byte 0x80 is not UTF-8",
               [&] { cleaner.clean("ab\n\x80", true, cleaned, report, "f.txt", 1000); });
}

TEST(TextCleaner, DoesNotDependOnWhereTheTextIsCut) {
  std::mt19937_64 random(7);
  const std::vector<std::string> pieces{"word ",  "\r",   "\n",   "\r\n", "\t", "\u200B",
                                        "\u4E2D", "\x80", "\x01", "\f",   "x",  "\uFEFF"};
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> chosen;
    std::string whole;
    for (int i = 0; i < 20; ++i) whole += chosen.emplace_back(pieces[random() % pieces.size()]);
    FilterReport expected, report;
    TextCleaner cleaner{FilterOptions{}};
    std::string cleaned;
    // Two documents one after the other: the end of the first must not act on the second.
    for (int document = 0; document < 2; ++document) {
      for (size_t i = 0; i < chosen.size(); ++i) {
        cleaner.clean(chosen[i], i + 1 == chosen.size(), cleaned, report);
      }
    }
    const std::string once = clean(whole, {}, expected);
    ASSERT_EQ(cleaned, once + once);
    ASSERT_EQ(report.line_ends, 2 * expected.line_ends);
    ASSERT_EQ(report.control_characters, 2 * expected.control_characters);
  }
}

TEST(Characters, CountsAndFindsThem) {
  const std::string text = "a\u00E9\u4E2D\U0001F600\xFFz";
  EXPECT_EQ(count_characters(text), 6);
  const size_t begins[] = {0, 1, 3, 6, 10, 11, 12, 12};
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(byte_of_character(text, i), begins[i]);
  EXPECT_EQ(count_characters(""), 0);
}

// Which of the documents stay, and the report.
std::vector<bool> filter(const std::vector<std::string>& documents, const FilterOptions& options,
                         FilterReport& report) {
  DocumentFilter filter(options);
  std::vector<bool> stays;
  for (const std::string& document : documents) {
    // In parts, as they come from files.
    const size_t middle = byte_of_character(document, count_characters(document) / 2);
    filter.add(document.substr(0, middle));
    filter.add(document.substr(middle));
    stays.push_back(filter.finish(report));
    EXPECT_EQ(filter.characters(), count_characters(document));
    EXPECT_EQ(filter.bytes(), static_cast<int64_t>(document.size()));
  }
  return stays;
}

TEST(DocumentFilter, RemovesEmptyAndShortDocuments) {
  FilterReport report;
  EXPECT_EQ(filter({"", "\u4E2D\u6587\u5B57", "ab", "abc"}, {}, report),
            (std::vector<bool>{false, true, true, true}));
  EXPECT_EQ(report.empty.documents, 1);
  FilterOptions options;
  options.min_chars = 3;
  report = {};
  EXPECT_EQ(filter({"", "\u4E2D\u6587\u5B57", "ab", "abc"}, options, report),
            (std::vector<bool>{false, true, false, true}));
  EXPECT_EQ(report.empty.documents, 1);
  EXPECT_EQ(report.short_documents.documents, 1);
  EXPECT_EQ(report.short_documents.characters, 2);
  EXPECT_EQ(report.removed_documents(), 2);
}

TEST(DocumentFilter, RemovesOtherLanguages) {
  FilterOptions options;
  options.language = parse_language_filter("latin:0.8");
  FilterReport report;
  EXPECT_EQ(filter({"plain English text", "\u0420\u0443\u0441\u0441\u043A\u0438\u0439",
                    "abcdefgh \u0436\u0436", "abcdefg \u0436\u0436\u0436", "12345 !?",
                    "\u00DCber 1.000.000 \U0001F600\U0001F600\U0001F600"},
                   options, report),
            (std::vector<bool>{true, false, true, false, false, true}));
  EXPECT_EQ(report.other_language.documents, 3);
  options.language = parse_language_filter("han,hiragana,katakana");
  report = {};
  EXPECT_EQ(
      filter({"\u65E5\u672C\u8A9E\u306E\u30C6\u30AD\u30B9\u30C8", "English"}, options, report),
      (std::vector<bool>{true, false}));
}

TEST(DocumentFilter, KeepsTheFirstOfDuplicates) {
  FilterOptions options;
  options.deduplicate = true;
  options.min_chars = 2;
  FilterReport report;
  EXPECT_EQ(filter({"same", "other", "same", "Same", "x", "x", "same ", "other"}, options, report),
            (std::vector<bool>{true, true, false, true, false, false, true, false}));
  EXPECT_EQ(report.duplicates.documents, 2);
  EXPECT_EQ(report.duplicates.characters, 9);
  EXPECT_EQ(report.short_documents.documents, 2);
}

TEST(LanguageFilter, ParsesScriptsAndShare) {
  const LanguageFilter filter = parse_language_filter("Latin,Greek:0.75");
  EXPECT_EQ(filter.scripts, (std::vector<std::string>{"Latin", "Greek"}));
  EXPECT_EQ(filter.share, 0.75);
  EXPECT_EQ(parse_language_filter("han").share, 0.5);
  for (const char* bad : {"", "klingon", "latin:", "latin:x", "latin:1.5", "latin:-1", "latin:nan",
                          "latin,,greek", "latin:0.5:0.5", ":0.5"}) {
    expect_error(ErrorKind::usage, "--language-filter", [&] { parse_language_filter(bad); });
  }
}

TEST(CharacterCollector, TakesOnlyDocumentsThatStay) {
  CharacterCollector collector;
  collector.add("b\u4E2Da");
  collector.add("\xFF\x80");
  collector.finish(true);
  collector.add("xyzb");
  collector.finish(false);
  collector.add("y");
  collector.finish(true);
  EXPECT_EQ(collector.characters(),
            (std::vector<std::string>{"a", "b", "y", "\u4E2D", "\x80", "\xFF"}));
  // The order is that of the tokenizer made from the whole text.
  const auto streamed = make_char_tokenizer(collector.characters());
  EXPECT_EQ(streamed->hash(), make_char_tokenizer("ab\u4E2Dy\xFF\x80")->hash());
}

}  // namespace
}  // namespace llm::test
