#include <cmath>
#include <limits>

#include "base/error.h"
#include "infer/decoder.h"
#include "infer/engine.h"
#include "support/engine_test.h"
#include "support/gpu.h"

namespace llm::test {
namespace {

using Ids = std::vector<TokenId>;

TEST_F(EngineTest, CachedLogitsEqualUncachedOnes) {
  Decoder decoder(model_, 1, 32);
  Ids ids = prompt(5);
  decoder.prefill(0, ids);
  expect_near(decoder.logits(0), uncached_logits(ids), "prefill");
  for (TokenId next : prompt(27, 1)) {
    ids.push_back(next);
    decoder.step(Ids{next});
    expect_near(decoder.logits(0), uncached_logits(ids), std::to_string(ids.size()));
  }
  EXPECT_EQ(decoder.length(0), 32);
}

TEST_F(EngineTest, SequencesOfDifferentLengthsDecodeTogether) {
  Decoder decoder(model_, 4, 32);
  std::vector<Ids> sequences = {prompt(1), prompt(17, 1), prompt(3, 2), prompt(25, 3)};
  for (size_t s = 0; s < 4; ++s) decoder.prefill(static_cast<int64_t>(s), sequences[s]);
  for (int64_t step = 0; step < 7; ++step) {
    Ids next = prompt(4, 10 + step);
    if (step >= 4) next[1] = -1;  // the second has ended
    for (size_t s = 0; s < 4; ++s) {
      if (next[s] >= 0) sequences[s].push_back(next[s]);
    }
    decoder.step(next);
    for (size_t s = 0; s < 4; ++s) {
      if (next[s] < 0) continue;
      expect_near(decoder.logits(static_cast<int64_t>(s)), uncached_logits(sequences[s]),
                  "sequence " + std::to_string(s));
    }
  }
  // Its place can be taken by another, and copied.
  sequences[1] = prompt(9, 30);
  decoder.prefill(1, sequences[1]);
  decoder.copy(2, 1);
  sequences[2] = sequences[1];
  EXPECT_EQ(std::vector<float>(decoder.logits(1).begin(), decoder.logits(1).end()),
            std::vector<float>(decoder.logits(2).begin(), decoder.logits(2).end()));
  const Ids next = {-1, 4, 5, -1};
  decoder.step(next);
  for (size_t s : {1, 2}) {
    sequences[s].push_back(next[s]);
    expect_near(decoder.logits(static_cast<int64_t>(s)), uncached_logits(sequences[s]), "again");
  }
}

TEST_F(EngineTest, GreedyTextEqualsGenerationWithoutACache) {
  Ids ids = prompt(6);
  const Generation result = generate({ids}, greedy_)[0];
  ASSERT_EQ(result.ids.size(), 20u);
  for (TokenId id : result.ids) {
    const std::vector<float> logits = uncached_logits(ids);
    EXPECT_EQ(id, std::max_element(logits.begin(), logits.end()) - logits.begin());
    ids.push_back(id);
  }
  EXPECT_EQ(result.text, tokenizer_->decode(result.ids));
  EXPECT_EQ(result.reason, FinishReason::length);
}

TEST_F(EngineTest, TheSameTextWhateverTheBatch) {
  const std::vector<Ids> prompts = {prompt(6),    prompt(1, 1), prompt(12, 2), prompt(6),
                                    prompt(6),    prompt(2, 3), prompt(6),     prompt(12, 2),
                                    prompt(3, 4), prompt(6)};
  const auto together = generate(prompts, random_);
  for (int64_t size : {1, 2, 3, 7}) {
    GenerateOptions options = random_;
    options.max_batch = size;
    const auto apart = generate(prompts, options);
    for (size_t s = 0; s < prompts.size(); ++s) {
      EXPECT_EQ(apart[s].ids, together[s].ids) << "batches of " << size << ", sample " << s;
    }
  }
  // The same prompt in other samples draws other numbers.
  EXPECT_NE(together[0].ids, together[3].ids);
}

// Not only the text: every bit of the logits, in either type.
TEST_F(EngineTest, TheSameLogitsWhateverTheBatch) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    Gpt model(*backend_, golden_config(), {.dtype = dtype});
    fill_golden_weights(model);
    std::vector<std::vector<float>> alone;  // of step n
    for (size_t sequences : {1, 2, 5, 16, 40}) {
      Decoder decoder(model, static_cast<int64_t>(sequences), 32);
      // The last one is the same in every batch.
      for (size_t s = 0; s < sequences; ++s) {
        const auto other = static_cast<int64_t>(sequences - 1 - s);
        decoder.prefill(static_cast<int64_t>(s), prompt(3 + other % 7, other));
      }
      for (size_t step = 0; step < 20; ++step) {
        const std::span<const float> last = decoder.logits(static_cast<int64_t>(sequences) - 1);
        std::vector<float> logits(last.begin(), last.end());
        if (sequences == 1) {
          alone.push_back(logits);
        } else {
          ASSERT_EQ(logits, alone[step]) << sequences << " sequences, step " << step;
        }
        Ids next = prompt(static_cast<int64_t>(sequences), static_cast<int64_t>(100 + step));
        next.back() = static_cast<TokenId>((7 * step) % 65);
        decoder.step(next);
      }
    }
  }
}

TEST_F(EngineTest, WeightsInBf16GiveTheLogitsOfTheRoundedWeights) {
  Gpt rounded(*backend_, golden_config(), {.dtype = DType::bf16});
  fill_golden_weights(rounded);
  const ParameterStore& from = rounded.parameters();
  ParameterStore& to = model_.parameters();
  for (size_t i = 0; i < from.parameters().size(); ++i) {
    const int index = static_cast<int>(i);
    to.write(index, to.values(), read_all(rounded, from.values(), index));
  }
  Decoder in_bf16(rounded, 1, 32), in_f32(model_, 1, 32);
  in_bf16.prefill(0, prompt(5));
  in_f32.prefill(0, prompt(5));
  for (TokenId next : prompt(20, 1)) {
    double error = 0, size = 0;
    for (size_t i = 0; i < 65; ++i) {
      const double wanted = in_f32.logits(0)[i], got = in_bf16.logits(0)[i];
      error += (got - wanted) * (got - wanted);
      size += wanted * wanted;
    }
    // Activations are rounded to 8 bits some twenty times on the way: a few of 2^-9.
    EXPECT_LT(std::sqrt(error / size), 0.02);
    EXPECT_GT(error, 0);
    in_bf16.step(Ids{next});
    in_f32.step(Ids{next});
  }
}

TEST_F(EngineTest, TheSameSeedGivesTheSameText) {
  const auto first = generate({prompt(4), prompt(4)}, random_);
  const auto second = generate({prompt(4), prompt(4)}, random_);
  EXPECT_EQ(first[0].ids, second[0].ids);
  EXPECT_EQ(first[1].ids, second[1].ids);
  random_.seed = 4;
  EXPECT_NE(generate({prompt(4)}, random_)[0].ids, first[0].ids);
}

TEST_F(EngineTest, SlidingKeepsTheLastHalfOfTheContext) {
  greedy_.max_tokens = 70;
  greedy_.overflow = ContextOverflow::slide;
  for (int64_t length : {5, 32, 33, 60}) {
    const Ids start = prompt(length);
    const Generation result = generate({prompt(3, 1), start}, greedy_)[1];
    ASSERT_EQ(result.ids.size(), 70u);
    EXPECT_EQ(result.reason, FinishReason::length);
    Ids window = start;
    for (TokenId id : result.ids) {
      if (window.size() > 32) window.erase(window.begin(), window.end() - 16);
      const std::vector<float> logits = uncached_logits(window);
      ASSERT_EQ(id, std::max_element(logits.begin(), logits.end()) - logits.begin());
      window.push_back(id);
    }
  }
}

TEST_F(EngineTest, StreamsExactlyTheText) {
  std::vector<std::string> streamed(3);
  std::vector<int> ends(3, 0);
  const auto results = Engine(model_, *tokenizer_)
                           .generate(std::vector<Ids>(3, prompt(4)), random_,
                                     [&](int64_t sample, std::string_view text) {
                                       const auto s = static_cast<size_t>(sample);
                                       EXPECT_EQ(ends[s], 0);
                                       ends[s] += text.empty();
                                       streamed[s] += text;
                                     });
  for (size_t s = 0; s < 3; ++s) EXPECT_EQ(streamed[s], results[s].text);
  EXPECT_EQ(ends, std::vector<int>(3, 1));
}

TEST_F(EngineTest, TokensWithoutTextAreNeverDrawn) {
  const auto small = make_char_tokenizer("abcdefgh");
  random_.sampler.temperature = 50;
  random_.max_tokens = 26;
  const Generation result = Engine(model_, *small).generate(std::vector<Ids>{{1, 2}}, random_)[0];
  for (TokenId id : result.ids) EXPECT_LT(id, 8);
}

TEST_F(EngineTest, LogprobsOfTheChosenAndTheBestTokens) {
  greedy_.logprobs = 3;
  greedy_.max_tokens = 2;
  const Generation result = generate({prompt(6)}, greedy_)[0];
  ASSERT_EQ(result.reports.size(), 2u);
  ASSERT_EQ(result.reports[0].top.size(), 3u);
  EXPECT_EQ(result.reports[0].top[0].id, result.ids[0]);
  EXPECT_DOUBLE_EQ(result.reports[0].top[0].logprob, result.reports[0].logprob);
  EXPECT_GE(result.reports[0].top[0].logprob, result.reports[0].top[1].logprob);
}

TEST_F(EngineTest, FiguresCountTokens) {
  Engine engine(model_, *tokenizer_);
  random_.max_tokens = 5;
  engine.generate(std::vector<Ids>{prompt(6), prompt(6), prompt(4)}, random_);
  EXPECT_EQ(engine.figures().prefill_tokens, 10);  // an equal prompt is read once
  EXPECT_EQ(engine.figures().decode_tokens, 15);
  EXPECT_GT(engine.figures().decode_rate(), 0);
}

// One engine that keeps its cache, and one that begins anew each time. The model's context is 32.
void expect_the_same_from_a_kept_cache(Gpt& model, const Tokenizer& tokenizer, const Ids& prompt,
                                       GenerateOptions options) {
  for (const ContextOverflow overflow : {ContextOverflow::stop, ContextOverflow::slide}) {
    options.overflow = overflow;
    Engine keeping(model, tokenizer);
    Ids next = prompt;
    int64_t shared = 0;  // of `next` with what was read before
    // Ends within the context, fills it, and outgrows it.
    for (const int64_t count : {4, 0, 9, 1, 40, 3}) {
      options.max_tokens = count;
      options.keep_cache = false;
      const Generation expected =
          Engine(model, tokenizer).generate(std::span(&next, 1), options).front();
      options.keep_cache = true;
      const Generation found = keeping.generate(std::span(&next, 1), options).front();
      ASSERT_EQ(found.ids, expected.ids) << count << " behind " << next.size();
      EXPECT_EQ(found.reason, expected.reason);
      const GenerateFigures& figures = keeping.figures();
      EXPECT_EQ(figures.cached_tokens, shared);
      EXPECT_EQ(figures.prefill_tokens + shared, std::ssize(next));
      // The last token was drawn and not read.
      shared = std::ssize(next) + std::max<int64_t>(0, count - 1);
      next.insert(next.end(), found.ids.begin(), found.ids.end());
      if (count == 0) --shared;  // the same prompt again, whose last token is always read
      if (count == 40) {
        // The beginning of it again: what has slid out is not there any more.
        next.resize(12);
        shared = overflow == ContextOverflow::stop ? 11 : 0;
      }
    }
  }
}

TEST_F(EngineTest, AKeptCacheGivesTheSameText) {
  for (const GenerateOptions& options : {greedy_, random_}) {
    expect_the_same_from_a_kept_cache(model_, *tokenizer_, prompt(6), options);
  }
}

TEST_F(EngineTest, AKeptCacheOnAGpuGivesTheSameText) {
  const auto backend = gpu_backend();
  if (!backend) GTEST_SKIP() << "no GPU here";
  Gpt model(*backend, wide_golden_config(), {});
  fill_golden_weights(model);
  for (const GenerateOptions& options : {greedy_, random_}) {
    expect_the_same_from_a_kept_cache(model, *tokenizer_, prompt(6), options);
  }
}

TEST_F(EngineTest, AKeptCacheIsOnlyOfTheCallsThatKeepIt) {
  Engine engine(model_, *tokenizer_);
  greedy_.keep_cache = true;
  const Ids first = prompt(8), other = prompt(8, 1);
  engine.generate(std::span(&first, 1), greedy_);
  greedy_.keep_cache = false;
  engine.generate(std::vector<Ids>{other, first}, greedy_);
  EXPECT_EQ(engine.figures().cached_tokens, 0);
  greedy_.keep_cache = true;
  engine.generate(std::span(&first, 1), greedy_);
  EXPECT_EQ(engine.figures().prefill_tokens, 1);
  EXPECT_EQ(engine.figures().cached_tokens, 7);
}

TEST_F(EngineTest, WrongPromptsAreRefused) {
  const auto kind_of = [&](const Ids& ids) {
    try {
      generate({ids}, greedy_);
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::disk;
  };
  EXPECT_EQ(kind_of({}), ErrorKind::usage);
  EXPECT_EQ(kind_of(prompt(33)), ErrorKind::usage);
  EXPECT_EQ(kind_of({1, 65}), ErrorKind::input);
  EXPECT_EQ(kind_of({-1}), ErrorKind::input);
}

TEST_F(EngineTest, ABrokenModelIsANumericsError) {
  ParameterStore& store = model_.parameters();
  backend_->fill(store.value(store.find("ln_f.weight")), std::numeric_limits<double>::quiet_NaN());
  try {
    generate({prompt(4)}, greedy_);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::numerics);
  }
}

TEST_F(EngineTest, AContextOfOneTokenWorks) {
  ModelConfig config = golden_config();
  config.context = 1;
  Gpt model(*backend_, config, {});
  fill_golden_weights(model);
  greedy_.overflow = ContextOverflow::slide;
  const auto results = Engine(model, *tokenizer_).generate(std::vector<Ids>{{3}, {4, 5}}, greedy_);
  EXPECT_EQ(results[0].ids.size(), 20u);
  EXPECT_EQ(results[1].ids.size(), 20u);
}

}  // namespace
}  // namespace llm::test
