#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "data/synth.h"
#include "data/synth_text.h"
#include "support/synthetic_corpus.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

using test::TemporaryDirectory;

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// All prose: stories and instruction pairs (messages are typed as people type).
std::vector<std::string> all_prose() {
  std::vector<std::string> texts = test::sample_synthetic_corpus().stories;
  for (const test::SynthPair& pair : test::sample_synthetic_corpus().pairs) {
    texts.push_back(pair.instruction);
    if (!pair.input.empty()) texts.push_back(pair.input);
    texts.push_back(pair.output);
  }
  return texts;
}

TEST(Synth, DefaultsGiveWhatTheSummarySays) {
  const test::SynthCorpus corpus = test::make_synthetic_corpus({});
  EXPECT_EQ(corpus.summary.stories, 12000);
  EXPECT_EQ(corpus.stories.size(), 12000u);
  EXPECT_EQ(corpus.summary.messages, 4000);
  EXPECT_EQ(corpus.messages.size(), 4000u);
  EXPECT_EQ(corpus.summary.instructions, 6000);
  EXPECT_EQ(corpus.pairs.size(), 6000u);
  EXPECT_EQ(corpus.summary.story_bytes, corpus.story_file_bytes);
  EXPECT_EQ(corpus.summary.message_bytes, corpus.message_file_bytes);
  EXPECT_EQ(corpus.summary.instruction_bytes, corpus.instruction_file_bytes);
  int64_t story_text = 0;
  for (const std::string& story : corpus.stories) story_text += static_cast<int64_t>(story.size());
  EXPECT_GE(story_text, 5'000'000);

  int64_t spam = 0, ham = 0;
  for (const test::SynthMessage& one : corpus.messages) {
    spam += one.label == "spam";
    ham += one.label == "ham";
  }
  EXPECT_EQ(corpus.summary.spam, spam);
  EXPECT_EQ(corpus.summary.ham, ham);
  EXPECT_EQ(spam + ham, 4000);
  EXPECT_GT(ham * 10, spam * 25);
  EXPECT_LT(ham * 10, spam * 35);

  // Nothing twice.
  std::set<std::string> messages, pairs;
  for (const test::SynthMessage& one : corpus.messages) messages.insert(one.text);
  for (const test::SynthPair& one : corpus.pairs) pairs.insert(one.instruction + "\n" + one.input);
  EXPECT_EQ(std::set(corpus.stories.begin(), corpus.stories.end()).size(), 12000u);
  EXPECT_EQ(messages.size(), 4000u);
  EXPECT_EQ(pairs.size(), 6000u);
}

// The bytes depend on the seed alone. If a wording is changed on purpose, the hashes change with
// it.
TEST(Synth, SameSeedSameBytes) {
  TemporaryDirectory directory;
  const auto hashes = [&](const char* name, int64_t stories, uint64_t seed) {
    const fs::path path = directory.path() / name;
    write_synthetic_corpus({.directory = path,
                            .stories = stories,
                            .seed = seed,
                            .messages = 300,
                            .instructions = 300});
    return std::vector<std::string>{sha256_of_file(path / "stories.jsonl"),
                                    sha256_of_file(path / "messages.tsv"),
                                    sha256_of_file(path / "instructions.json")};
  };
  const auto first = hashes("a", 300, 42);
  EXPECT_EQ(first, hashes("b", 300, 42));
  EXPECT_EQ(first, hashes("a", 300, 42)) << "files that are there already are replaced";
  const auto other = hashes("c", 300, 43);
  for (size_t i = 0; i < first.size(); i++) EXPECT_NE(first[i], other[i]);
  // A shorter corpus is the beginning of a longer one.
  hashes("d", 100, 42);
  EXPECT_TRUE(read_text_file(directory.path() / "a/stories.jsonl")
                  .starts_with(read_text_file(directory.path() / "d/stories.jsonl")));
  EXPECT_EQ(first[0], "eb22571cb10aedb532d5fbe4d32729163fed253f4da583ad8207928180b7f794");
  EXPECT_EQ(first[1], "5e2c6aff3e16f4fb7b393d9141c072127ff6930052e30e0e59d47a73703ae35a");
  EXPECT_EQ(first[2], "c79d3414f918b35c716334bf1986e77b43ac7354a9f928645573137ae628ff8f");
}

TEST(Synth, StoriesHaveTheRightLengthAndVocabulary) {
  std::map<std::string, int64_t> counts;
  for (const std::string& story : test::sample_synthetic_corpus().stories) {
    const auto length = std::count(story.begin(), story.end(), ' ') + 1;
    EXPECT_GE(length, 60) << story;
    EXPECT_LE(length, 200) << story;
    EXPECT_TRUE(story.ends_with('.') || story.ends_with('!') || story.ends_with('"')) << story;
    for (const std::string& word : test::words_of(story)) counts[word]++;
  }
  EXPECT_GT(counts.size(), 900u);
  EXPECT_LT(counts.size(), 1700u);
}

TEST(Synth, TextIsPrintableAsciiWithoutLeftovers) {
  std::vector<std::string> texts = all_prose();
  for (const test::SynthMessage& one : test::sample_synthetic_corpus().messages)
    texts.push_back(one.text);
  for (const std::string& text : texts) {
    ASSERT_FALSE(text.empty());
    EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c >= 32 && c < 127; }))
        << text;
    EXPECT_EQ(text.find_first_of("{}[]|`\\"), text.npos) << text;
    EXPECT_FALSE(contains(text, "  ")) << text;
    EXPECT_FALSE(contains(text, " .") || contains(text, " ,") || contains(text, " ?")) << text;
    EXPECT_FALSE(contains(text, "..") || contains(text, ",,") || contains(text, ".,")) << text;
    EXPECT_NE(text.front(), ' ') << text;
    EXPECT_NE(text.back(), ' ') << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '"') % 2, 0) << text;
  }
}

TEST(Synth, ArticlesFitTheNextWord) {
  int64_t articles = 0;
  for (const std::string& text : all_prose()) {
    const std::vector<std::string> words = test::words_of(text);
    for (size_t i = 0; i + 1 < words.size(); i++) {
      const bool an = words[i] == "an" || words[i] == "An";
      if (!an && words[i] != "a" && words[i] != "A") continue;
      if (contains(text, "from A to Z")) continue;
      if (i > 0 && words[i - 1].size() == 1) continue;  // spelled: b-a-l-l
      if (words[i + 1].size() == 1) continue;
      const char letter = static_cast<char>(std::tolower(words[i + 1][0]));
      const bool vowel =
          contains("aeiou", std::string_view(&letter, 1)) || words[i + 1] == "honest";
      EXPECT_EQ(an, vowel) << words[i] << " " << words[i + 1] << ": " << text;
      articles++;
    }
  }
  EXPECT_GT(articles, 20000);
}

TEST(Synth, SentencesBeginWithCapitals) {
  for (const std::string& story : test::sample_synthetic_corpus().stories) {
    EXPECT_TRUE(std::isupper(static_cast<unsigned char>(story[0]))) << story;
    for (size_t i = 0; i + 2 < story.size(); i++) {
      if (story[i] != '.' || story[i + 1] != ' ') continue;
      const char next = story[i + 2] == '"' ? story[i + 3] : story[i + 2];
      EXPECT_TRUE(std::isupper(static_cast<unsigned char>(next)))
          << story.substr(i > 30 ? i - 30 : 0);
    }
  }
}

TEST(Synth, NoWordGivesTheMessageAway) {
  // A word that is common in one label is there in the other one, too.
  std::map<std::string, std::array<int64_t, 2>> counts;
  for (const test::SynthMessage& one : test::sample_synthetic_corpus().messages) {
    std::string text = one.text;
    for (char& letter : text) letter = static_cast<char>(std::tolower(letter));
    std::set<std::string> words;
    for (const std::string& word : test::words_of(text)) words.insert(word);
    for (const std::string& word : words) counts[word][one.label == "spam"]++;
  }
  for (const char* word : {"free", "call", "win", "won", "prize", "offer", "text", "phone", "bank",
                           "urgent", "claim", "cash", "your", "please", "order", "account"}) {
    EXPECT_GE(counts[word][0], 3) << word;
    EXPECT_GE(counts[word][1], 3) << word;
  }
  // Guessing spam from the presence of any one word is right in at most three of four cases, when
  // both labels are equally frequent.
  const SynthSummary& summary = test::sample_synthetic_corpus().summary;
  for (const auto& [word, count] : counts) {
    const double caught = static_cast<double>(count[1]) / static_cast<double>(summary.spam);
    const double wrong = static_cast<double>(count[0]) / static_cast<double>(summary.ham);
    EXPECT_LT((caught + 1 - wrong) / 2, 0.75) << word;
  }
}

TEST(Synth, PluralsAreEnglish) {
  const std::pair<const char*, const char*> expected[] = {
      {"dog", "dogs"},    {"box", "boxes"},        {"berry", "berries"}, {"toy", "toys"},
      {"foot", "feet"},   {"mouse", "mice"},       {"leaf", "leaves"},   {"tomato", "tomatoes"},
      {"dish", "dishes"}, {"toy car", "toy cars"}, {"peach", "peaches"}, {"sheep", "sheep"}};
  for (const auto& [one, many] : expected) EXPECT_EQ(synth::plural_of(one), many);
  EXPECT_EQ(synth::with_article("orange ball"), "an orange ball");
  EXPECT_EQ(synth::with_article("honest boy"), "an honest boy");
  EXPECT_EQ(synth::with_article("unicorn"), "a unicorn");
}

TEST(Synth, ProgressReachesTheEnd) {
  TemporaryDirectory directory;
  std::map<std::string, std::string> last;
  SynthOptions options{.directory = directory.path() / "new/folder",
                       .stories = 1500,
                       .messages = 20,
                       .instructions = 10};
  options.progress = [&](std::string_view part, int64_t done, int64_t total) {
    last[std::string(part)] = fmt::format("{} of {}", done, total);
  };
  write_synthetic_corpus(options);
  EXPECT_EQ(last["stories"], "1500 of 1500");
  EXPECT_EQ(last["messages"], "20 of 20");
  EXPECT_EQ(last["instructions"], "10 of 10");
}

TEST(Synth, NoneOfAPartGivesAnEmptyFile) {
  TemporaryDirectory directory;
  write_synthetic_corpus(
      {.directory = directory.path(), .stories = 0, .messages = 0, .instructions = 0});
  EXPECT_EQ(read_text_file(directory.path() / "stories.jsonl"), "");
  EXPECT_EQ(read_text_file(directory.path() / "messages.tsv"), "");
  EXPECT_EQ(read_json_file(directory.path() / "instructions.json").size(), 0u);
}

TEST(Synth, RefusesImpossibleCountsAndPlaces) {
  TemporaryDirectory directory;
  const auto kind_of = [](const SynthOptions& options) {
    try {
      write_synthetic_corpus(options);
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::preempted;
  };
  EXPECT_EQ(kind_of({.directory = directory.path(), .stories = -1}), ErrorKind::usage);
  EXPECT_EQ(kind_of({.directory = directory.path(), .stories = kSynthMaxStories + 1}),
            ErrorKind::usage);
  EXPECT_EQ(kind_of({.directory = directory.path(), .messages = kSynthMaxMessages + 1}),
            ErrorKind::usage);
  EXPECT_EQ(kind_of({.directory = directory.path(), .instructions = kSynthMaxInstructions + 1}),
            ErrorKind::usage);
  write_file_atomically(directory.path() / "file", "x");
  EXPECT_EQ(kind_of({.directory = directory.path() / "file"}), ErrorKind::disk);
}

}  // namespace
}  // namespace llm
