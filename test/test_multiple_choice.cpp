#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "cpu_ref/cpu_backend.h"
#include "support/small_model.h"
#include "train/multiple_choice.h"

namespace llm {
namespace {

using Items = std::vector<ChoiceItem>;

ChoiceItem item(std::string context, std::vector<std::string> endings, int64_t label = 0) {
  return {std::move(context), std::move(endings), label, "test: line 1"};
}

TEST(ChoiceFile, ReadsItems) {
  const Items items = parse_choice_items(
      "\xEF\xBB\xBF{\"ctx\": \"The sky is\", \"endings\": [\"blue.\", \"wet.\"], \"label\": 0, "
      "\"id\": 7}\n\n  \r\n"
      "{\"endings\": [\"a\", \"b\", \"c\"], \"label\": \"2\", \"ctx\": \"\"}",
      "t.jsonl");
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].context, "The sky is");
  EXPECT_EQ(items[0].endings, (std::vector<std::string>{"blue.", "wet."}));
  EXPECT_EQ(items[0].label, 0);
  EXPECT_EQ(items[1].label, 2);
  EXPECT_EQ(items[1].where, "t.jsonl: line 4");
}

TEST(ChoiceFile, BadLinesAreNamedByFileAndLine) {
  const std::string good = R"({"ctx": "a", "endings": ["b", "c"], "label": 1})";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{", "line 2"},
      {"[]", "line 2"},
      {"{\"ctx\": \"\xff\"}", "line 2"},
      {R"({"endings": ["b", "c"], "label": 1})", "ctx"},
      {R"({"ctx": 1, "endings": ["b", "c"], "label": 1})", "ctx"},
      {R"({"ctx": "a", "label": 1})", "endings"},
      {R"({"ctx": "a", "endings": "bc", "label": 1})", "endings"},
      {R"({"ctx": "a", "endings": ["b"], "label": 0})", "endings"},
      {R"({"ctx": "a", "endings": ["b", 3], "label": 0})", "endings"},
      {R"({"ctx": "a", "endings": ["b", ""], "label": 0})", "number 1 is empty"},
      {R"({"ctx": "a", "endings": ["b", "c"]})", "label"},
      {R"({"ctx": "a", "endings": ["b", "c"], "label": 2})", "label"},
      {R"({"ctx": "a", "endings": ["b", "c"], "label": -1})", "label"},
      {R"({"ctx": "a", "endings": ["b", "c"], "label": 0.5})", "label"},
      {R"({"ctx": "a", "endings": ["b", "c"], "label": "2"})", "label"},
      {R"({"ctx": "a", "endings": ["b", "c"], "label": ""})", "label"},
      {R"({"ctx": "a", "endings": ["b", "c"], "label": "99999999999999"})", "label"},
      {R"({"ctx": "a", "ctx": "a", "endings": ["b", "c"], "label": 0})", "line 2"},
  };
  for (const auto& [line, part] : cases) {
    try {
      parse_choice_items(good + "\n" + line + "\n" + good, "DIR/t.jsonl");
      ADD_FAILURE() << line << " accepted";
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_EQ(error.kind(), ErrorKind::input) << line;
      EXPECT_NE(message.find("DIR/t.jsonl: line 2"), std::string::npos) << message;
      EXPECT_NE(message.find(part), std::string::npos) << message;
      EXPECT_FALSE(error.hint().empty());
    }
  }
  EXPECT_THROW(parse_choice_items("", "t"), Error);
  EXPECT_THROW(parse_choice_items("\n \n", "t"), Error);
}

TEST(ChoiceText, OneSpaceBelongsToTheEnding) {
  const auto shown = [](const char* context, const char* ending) {
    const ChoiceText text = choice_text(item(context, {ending, "x"}), 0);
    return text.context + "|" + text.ending;
  };
  EXPECT_EQ(shown("The sky is", "blue"), "The sky is| blue");
  EXPECT_EQ(shown("The sky is ", "blue"), "The sky is| blue");
  EXPECT_EQ(shown("The sky is", " blue"), "The sky is| blue");
  EXPECT_EQ(shown("Answer:\n", "blue"), "Answer:|\nblue");
  EXPECT_EQ(shown("", "blue"), "|blue");
  EXPECT_EQ(shown(" ", "blue"), "| blue");
}

TEST(ShotPrompts, TheSameExamplesBeforeEveryQuestionButNeverItself) {
  Items items;
  for (char c = 'a'; c < 'k'; ++c) items.push_back(item(std::string(1, c), {"no", "yes"}, 1));
  items.push_back(items[3]);  // occurs twice
  const ShotPrompts prompts(items, {3, 7});
  const std::string usual = prompts.examples(item("other", {"x", "y"}));
  EXPECT_EQ(usual.size(), 3u * std::string("a yes\n\n").size());
  int changed = 0;
  for (const ChoiceItem& question : items) {
    const std::string examples = prompts.examples(question);
    EXPECT_EQ(examples.size(), usual.size());
    EXPECT_EQ(examples.find(question.context + " yes"), std::string::npos) << examples;
    changed += examples != usual;
  }
  EXPECT_GE(changed, 3);
  EXPECT_LE(changed, 4);
  EXPECT_NE(ShotPrompts(items, {3, 8}).examples(items[0]),
            ShotPrompts(items, {3, 9}).examples(items[0]));
  EXPECT_EQ(ShotPrompts(items, {0, 7}).examples(items[0]), "");
}

TEST(ShotPrompts, TooFewExamplesAreUsageErrors) {
  const Items items = {item("a", {"x", "y"}), item("b", {"x", "y"})};
  EXPECT_THROW(ShotPrompts(items, {3, 1}), Error);
  const ShotPrompts two(items, {2, 1});
  EXPECT_NO_THROW(two.examples(item("c", {"x", "y"})));
  try {
    two.examples(items[0]);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
  }
}

class ChoiceScoreTest : public testing::Test {
 protected:
  ChoiceScoreTest() { test::fill_golden_weights(model_); }
  static ModelConfig config() {
    ModelConfig config = test::golden_config();
    config.vocab_size = 257;
    config.context = 64;
    return config;
  }
  // The log-probability of `ending` behind `context`, from the logits of the whole.
  double score(const std::string& context, const std::string& ending) {
    std::vector<TokenId> ids = tokenizer_->encode(context + ending);
    const auto length = static_cast<int64_t>(ids.size());
    const std::vector<float> logits =
        test::inference_logits(model_, {1, length, ids, std::vector<int32_t>(ids.size(), 0)});
    double total = 0;
    for (size_t t = context.size(); t < ids.size(); ++t) {
      const float* row = logits.data() + (t - 1) * 257;
      double sum = 0;
      for (int v = 0; v < 257; ++v) sum += std::exp(static_cast<double>(row[v]));
      total += row[ids[t]] - std::log(sum);
    }
    return total;
  }
  // Questions with endings of several lengths, their right ones drawn.
  Items questions() {
    Items items;
    for (uint64_t i = 0; i < 40; ++i) {
      const uint64_t bits = test::mixed(i);
      std::vector<std::string> endings;
      for (uint64_t e = 0; e < 2 + bits % 3; ++e) {
        endings.push_back(std::string(1 + (bits >> (8 * e)) % 5,
                                      static_cast<char>('a' + (bits >> (5 * e + 3)) % 26)));
      }
      const auto label = static_cast<int64_t>((bits >> 40) % endings.size());
      items.push_back(item("question " + std::to_string(i), endings, label));
    }
    return items;
  }
  struct Counts {
    int64_t plain = 0, normalized = 0;
    int64_t different = 0;  // questions to which the two ways give different answers
  };
  Counts expected(const Items& items, const ShotPrompts& prompts) {
    Counts counts;
    for (const ChoiceItem& question : items) {
      std::vector<double> sums, normalized;
      for (size_t e = 0; e < question.endings.size(); ++e) {
        sums.push_back(
            score(prompts.examples(question) + question.context, " " + question.endings[e]));
        normalized.push_back(sums.back() / static_cast<double>(question.endings[e].size()));
      }
      const auto best = [](const std::vector<double>& values) {
        return std::max_element(values.begin(), values.end()) - values.begin();
      };
      counts.different += best(sums) != best(normalized);
      counts.plain += best(sums) == question.label;
      counts.normalized += best(normalized) == question.label;
    }
    return counts;
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  Gpt model_{*backend_, config(), {}};
  std::unique_ptr<Tokenizer> tokenizer_ = make_byte_tokenizer();
};

TEST_F(ChoiceScoreTest, AccuraciesAreThoseOfTheLogits) {
  const Items items = questions();
  for (int64_t shots : {0, 2}) {
    const ShotPrompts prompts(items, {shots, 3});
    const Counts counts = expected(items, prompts);
    ASSERT_GT(counts.different, 10);
    ASSERT_GT(counts.plain, 0);
    for (int64_t batch : {1, 7, 64}) {
      TokenScorer scorer(model_, batch, 64);
      int64_t done = 0;
      const ChoiceScore result = score_choices(scorer, *tokenizer_, items, prompts,
                                               [&](int64_t endings) { done = endings; });
      EXPECT_EQ(result.items, 40);
      EXPECT_EQ(result.right, counts.plain) << shots << " " << batch;
      EXPECT_EQ(result.right_normalized, counts.normalized) << shots << " " << batch;
      EXPECT_DOUBLE_EQ(result.accuracy(), static_cast<double>(counts.plain) / 40);
      EXPECT_EQ(result.truncated, 0);
      EXPECT_EQ(done, result.endings);
    }
  }
}

TEST_F(ChoiceScoreTest, WhatDoesNotFitLosesItsBeginning) {
  const std::string context(200, 'q');
  const Items items = {item(context, {"ab", "cd", "ef"}, 1)};
  TokenScorer scorer(model_, 2, 16);
  const ChoiceScore result = score_choices(scorer, *tokenizer_, items, ShotPrompts(items, {}));
  EXPECT_EQ(result.truncated, 3);
  // The model reads 16 tokens: of " ab" all but the last, and 14 of the context.
  const std::string kept(14, 'q');
  const double scores[3] = {score(kept, " ab"), score(kept, " cd"), score(kept, " ef")};
  EXPECT_EQ(result.right, std::max_element(scores, scores + 3) - scores == 1);
}

TEST_F(ChoiceScoreTest, AnEmptyContextIsEndOfText) {
  const Items items = {item("", {"ab", "cd"}, 0)};
  TokenScorer scorer(model_, 2, 16);
  EXPECT_EQ(score_choices(scorer, *tokenizer_, items, ShotPrompts(items, {})).items, 1);
  const auto letters = make_char_tokenizer("abcd");  // has none
  EXPECT_THROW(score_choices(scorer, *letters, items, ShotPrompts(items, {})), Error);
}

TEST_F(ChoiceScoreTest, ItemsThatCannotBeScoredAreNamed) {
  TokenScorer scorer(model_, 2, 16);
  const auto letters = make_char_tokenizer("abcd ");
  for (const Items& items : {Items{item("a", {std::string(17, 'a'), "b"})},
                             Items{item("a", {"b", "x"})}, Items{item("x", {"b", "c"})}}) {
    try {
      score_choices(scorer, *letters, items, ShotPrompts(items, {}));
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      EXPECT_EQ(error.where(), "test: line 1");
    }
  }
}

}  // namespace
}  // namespace llm
