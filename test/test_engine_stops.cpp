// When the engine ends a text.
#include "support/engine_test.h"
#include "text/pattern.h"

namespace llm::test {
namespace {

TEST_F(EngineTest, StopsWhenTheContextIsFull) {
  greedy_.max_tokens = 1000;
  const auto results = generate({prompt(30), prompt(32, 1), prompt(5, 2)}, greedy_);
  // The last token is drawn behind a full context and needs no place in it.
  EXPECT_EQ(results[0].ids.size(), 3u);
  EXPECT_EQ(results[1].ids.size(), 1u);
  EXPECT_EQ(results[2].ids.size(), 28u);
  for (const Generation& result : results) EXPECT_EQ(result.reason, FinishReason::context);
}

TEST_F(EngineTest, StopStringsEndTheTextBeforeThem) {
  const Generation whole = generate({prompt(6)}, random_)[0];
  const std::string stop = whole.text.substr(7, 3);
  random_.stop = {"no such text", stop};
  const Generation cut = generate({prompt(6)}, random_)[0];
  EXPECT_EQ(cut.reason, FinishReason::stop_string);
  EXPECT_EQ(cut.text, whole.text.substr(0, whole.text.find(stop)));
  EXPECT_EQ(cut.ids, Ids(whole.ids.begin(), whole.ids.begin() + whole.text.find(stop)));
}

TEST_F(EngineTest, TheTokensOfAStopStringGoButNotThoseThatTheTextNeeds) {
  // Tokens of several letters, so that a stop string may begin and end within a token.
  const auto tokenizer = small_bpe_tokenizer(kGpt2Pattern);
  ModelConfig config = golden_config();
  config.vocab_size = tokenizer->vocab_size();
  Gpt model(*backend_, config, {});
  fill_golden_weights(model);
  random_.ignore_end_of_text = true;
  random_.logprobs = 1;
  Engine engine(model, *tokenizer);
  const Generation whole = engine.generate(std::vector<Ids>{prompt(6)}, random_)[0];
  for (size_t at = 0; at + 4 < whole.text.size(); ++at) {
    random_.stop = {whole.text.substr(at, 4)};
    const Generation cut = engine.generate(std::vector<Ids>{prompt(6)}, random_)[0];
    ASSERT_EQ(cut.reason, FinishReason::stop_string);
    ASSERT_EQ(cut.reports.size(), cut.ids.size());
    ASSERT_EQ(cut.ids, Ids(whole.ids.begin(), whole.ids.begin() + cut.ids.size()));
    ASSERT_TRUE(tokenizer->decode(cut.ids).starts_with(cut.text)) << cut.text;
    if (cut.ids.empty()) continue;
    const std::string before = tokenizer->decode(Ids(cut.ids.begin(), cut.ids.end() - 1));
    ASSERT_LT(before.size(), cut.text.size());
  }
}

TEST_F(EngineTest, StopIdsEndASampleEvenWhereEndOfTextDoesNot) {
  const Generation whole = generate({prompt(6)}, random_)[0];
  random_.stop_ids = {64, whole.ids[7]};
  random_.ignore_end_of_text = true;
  const Generation ended = generate({prompt(6)}, random_)[0];
  EXPECT_EQ(ended.reason, FinishReason::end_of_text);
  const auto first = std::find(whole.ids.begin(), whole.ids.end(), whole.ids[7]);
  EXPECT_EQ(ended.ids, Ids(whole.ids.begin(), first));
}

TEST_F(EngineTest, AnInterruptionKeepsWhatIsThere) {
  const Generation whole = generate({prompt(6)}, random_)[0];
  int asked = 0;
  random_.interrupted = [&] { return ++asked == 5; };
  const Generation cut = generate({prompt(6)}, random_)[0];
  EXPECT_EQ(cut.reason, FinishReason::interrupted);
  EXPECT_EQ(cut.ids, Ids(whole.ids.begin(), whole.ids.begin() + 5));
  EXPECT_EQ(cut.text, whole.text.substr(0, 5));
}

TEST_F(EngineTest, EndOfTextEndsASampleAndIsNotPartOfIt) {
  const Generation whole = generate({prompt(6)}, random_)[0];
  ModelConfig config = golden_config();
  config.eos_token_id = whole.ids[4];
  Gpt model(*backend_, config, {});
  fill_golden_weights(model);
  Engine engine(model, *tokenizer_);
  const Generation ended = engine.generate(std::vector<Ids>{prompt(6)}, random_)[0];
  EXPECT_EQ(ended.reason, FinishReason::end_of_text);
  const auto first = std::find(whole.ids.begin(), whole.ids.end(), whole.ids[4]);
  EXPECT_EQ(ended.ids, Ids(whole.ids.begin(), first));
  random_.ignore_end_of_text = true;
  EXPECT_EQ(engine.generate(std::vector<Ids>{prompt(6)}, random_)[0].ids, whole.ids);
}

}  // namespace
}  // namespace llm::test
