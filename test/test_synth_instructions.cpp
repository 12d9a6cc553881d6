// The answers of the synthetic instructions, worked out again from the questions.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "data/synth_instructions.h"
#include "data/synth_words.h"
#include "support/synthetic_corpus.h"

namespace llm {
namespace {

std::vector<int64_t> numbers_of(std::string_view text) {
  std::vector<int64_t> numbers;
  for (const std::string& word : test::words_of(text)) {
    if (std::isdigit(static_cast<unsigned char>(word[0]))) numbers.push_back(std::stoll(word));
  }
  return numbers;
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> items;
  size_t begin = 0;
  while (true) {
    const size_t comma = text.find(", ", begin);
    items.emplace_back(text.substr(begin, comma - begin));
    if (comma == text.npos) return items;
    begin = comma + 2;
  }
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// What is between the first two double quotes, or the input if there are none.
std::string quoted_or_input(const test::SynthPair& pair) {
  const size_t open = pair.instruction.find('"');
  if (open == std::string::npos) return pair.input;
  return pair.instruction.substr(open + 1, pair.instruction.find('"', open + 1) - open - 1);
}

// What follows ": ", or the input.
std::string listed_or_input(const test::SynthPair& pair) {
  const size_t colon = pair.instruction.find(": ");
  std::string list = colon == std::string::npos ? pair.input : pair.instruction.substr(colon + 2);
  if (list.ends_with('?')) list.pop_back();
  return list;
}

TEST(SynthInstructions, SpellingAndLettersAreRight) {
  int64_t spelled = 0, lettered = 0, counted = 0;
  for (const test::SynthPair& pair : test::sample_synthetic_corpus().pairs) {
    const std::string word = quoted_or_input(pair);
    if (has(pair.instruction, "Spell") || has(pair.instruction, "spell ")) {
      std::string expected;
      for (const char letter : word) expected += std::string(expected.empty() ? "" : "-") + letter;
      EXPECT_EQ(pair.output, expected);
      spelled++;
    } else if (has(pair.instruction, " first letter") ||
               has(pair.instruction, "letter is the first")) {
      EXPECT_EQ(pair.output, word.substr(0, 1));
      lettered++;
    } else if (has(pair.instruction, " last letter") ||
               has(pair.instruction, "letter is the last")) {
      EXPECT_EQ(pair.output, word.substr(word.size() - 1));
      lettered++;
    } else if (has(pair.instruction, "letters") && !has(pair.instruction, "capital") &&
               !has(pair.instruction, "small")) {
      EXPECT_EQ(pair.output, std::to_string(word.size())) << pair.instruction;
      counted++;
    }
  }
  EXPECT_GT(spelled, 60);
  EXPECT_GT(lettered, 40);
  EXPECT_GT(counted, 40);
}

TEST(SynthInstructions, ListsAreSortedAndReversed) {
  int64_t sorted = 0, reversed = 0;
  for (const test::SynthPair& pair : test::sample_synthetic_corpus().pairs) {
    const std::string& task = pair.instruction;
    const bool sort = has(task, "Sort ") || has(task, "alphabetical");
    const bool reverse = has(task, "reverse order") || has(task, "list around");
    if (!sort && !reverse) continue;
    std::vector<std::string> expected = split_list(listed_or_input(pair));
    EXPECT_GE(expected.size(), 2u);
    if (sort) std::sort(expected.begin(), expected.end());
    if (reverse) std::reverse(expected.begin(), expected.end());
    EXPECT_EQ(split_list(pair.output), expected) << task;
    (sort ? sorted : reversed)++;
  }
  EXPECT_GT(sorted, 60);
  EXPECT_GT(reversed, 30);
}

TEST(SynthInstructions, SumsAreRight) {
  int64_t sums = 0;
  for (const test::SynthPair& pair : test::sample_synthetic_corpus().pairs) {
    const std::string text = pair.input.empty() ? pair.instruction : pair.input;
    const std::vector<int64_t> numbers = numbers_of(text);
    if (numbers.size() != 2) continue;
    int64_t expected = -1;
    if (has(text, " + ") || has(text, " plus ")) expected = numbers[0] + numbers[1];
    if (has(text, " - ") || has(text, " minus ")) expected = numbers[0] - numbers[1];
    if (has(text, " times ")) expected = numbers[0] * numbers[1];
    if (has(text, "bigger")) expected = std::max(numbers[0], numbers[1]);
    if (has(text, "smaller")) expected = std::min(numbers[0], numbers[1]);
    if (expected < 0) continue;
    EXPECT_EQ(pair.output, std::to_string(expected)) << text;
    sums++;
  }
  EXPECT_GT(sums, 250);
}

TEST(SynthInstructions, NumberStoriesAreRight) {
  int64_t stories = 0;
  for (const test::SynthPair& pair : test::sample_synthetic_corpus().pairs) {
    const std::vector<int64_t> given = numbers_of(pair.input);
    const std::vector<int64_t> answer = numbers_of(pair.output);
    if (!pair.instruction.starts_with("How many") || given.size() != 2 || answer.size() != 1)
      continue;
    const bool less = has(pair.input, " of them");
    EXPECT_EQ(answer[0], less ? given[0] - given[1] : given[0] + given[1]) << pair.input;
    stories++;
  }
  EXPECT_GT(stories, 100);
}

TEST(SynthInstructions, AnswersAboutOwnersFollowTheStory) {
  int64_t passed = 0;
  for (const test::SynthPair& pair : test::sample_synthetic_corpus().pairs) {
    if (!pair.instruction.starts_with("Who has the ")) continue;
    const bool now = pair.instruction.ends_with(" now?");
    const std::string toy =
        pair.instruction.substr(12, pair.instruction.size() - 13 - (now ? 4 : 0));
    std::string owner;
    // "Then Tim gives the ball to Anna." or "Then Anna gets the ball from Tim."
    const size_t then = pair.input.find("Then ");
    if (now) {
      const std::vector<std::string> words = test::words_of(pair.input.substr(then));
      owner = words[2] == "gives" ? words.back() : words[1];
      passed++;
    } else {
      owner = pair.input.substr(0, pair.input.find(' '));
      EXPECT_EQ(then, pair.input.npos);
    }
    EXPECT_EQ(pair.output, owner + " has the " + toy + ".") << pair.input;
  }
  EXPECT_GT(passed, 20);
}

TEST(SynthInstructions, YesAndNoAreBalanced) {
  int64_t yes = 0, no = 0;
  for (const test::SynthPair& pair : test::sample_synthetic_corpus().pairs) {
    yes += pair.output.starts_with("Yes, ");
    no += pair.output.starts_with("No, ");
  }
  EXPECT_GT(yes + no, 200);
  EXPECT_GT(yes * 10, (yes + no) * 4);
  EXPECT_GT(no * 10, (yes + no) * 4);
}

TEST(SynthInstructions, OppositesHaveOneAnswer) {
  std::set<std::string_view> words;
  for (const synth::WordPair& pair : synth::kOpposites) {
    EXPECT_TRUE(words.insert(pair.first).second) << pair.first;
    EXPECT_TRUE(words.insert(pair.second).second) << pair.second;
  }
}

TEST(SynthInstructions, EveryThingIsInOneGroup) {
  std::set<std::string_view> items;
  for (const synth::Group& group : synth::kGroups) {
    for (const std::string_view item : group.items) {
      EXPECT_FALSE(item.empty());
      EXPECT_TRUE(items.insert(item).second) << item;
    }
  }
}

}  // namespace
}  // namespace llm
