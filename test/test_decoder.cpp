// Steps that stay on the device draw what the host would draw from the decoder's logits.
#include <gtest/gtest.h>

#include "cpu_ref/cpu_backend.h"
#include "infer/decoder.h"
#include "infer/device_steps.h"
#include "support/gpu.h"
#include "support/small_model.h"

namespace llm::test {
namespace {

using Ids = std::vector<TokenId>;

constexpr int64_t kVocab = 65;

std::vector<Ids> prompts() {
  return {golden_tokens(0, 1, 5, kVocab).tokens, golden_tokens(1, 1, 1, kVocab).tokens,
          golden_tokens(2, 1, 12, kVocab).tokens};
}

// What each prompt goes on with, token by token through the host.
std::vector<Ids> through_the_host(Gpt& model, const SamplerOptions& options, int64_t count) {
  const std::vector<Ids> given = prompts();
  std::vector<Ids> texts = given, drawn(given.size());
  Decoder decoder(model, std::ssize(given), model.config().context);
  for (size_t s = 0; s < given.size(); ++s) decoder.prefill(static_cast<int64_t>(s), given[s]);
  for (int64_t n = 0; n < count; ++n) {
    Ids next;
    for (size_t s = 0; s < given.size(); ++s) {
      next.push_back(
          Sampler(options, 9, s)
              .draw(decoder.logits(static_cast<int64_t>(s)), texts[s], static_cast<uint64_t>(n)));
      texts[s].push_back(next.back());
      drawn[s].push_back(next.back());
    }
    if (n + 1 < count) decoder.step(next);
  }
  return drawn;
}

std::vector<Ids> on_the_device(Gpt& model, const SamplerOptions& options, int64_t count,
                               int64_t ahead) {
  const std::vector<Ids> given = prompts();
  std::vector<Ids> drawn(given.size());
  Decoder decoder(model, std::ssize(given), model.config().context);
  std::vector<std::span<const TokenId>> histories;
  std::vector<uint64_t> streams;
  for (size_t s = 0; s < given.size(); ++s) {
    decoder.prefill(static_cast<int64_t>(s), given[s]);
    histories.emplace_back(given[s]);
    streams.push_back(Sampler::stream_of(s));
  }
  DeviceSteps steps(decoder, options, 9, histories, streams, kVocab);
  int64_t queued = 0;
  for (int64_t n = 0; n < count; ++n) {
    while (queued < count && queued < n + ahead) steps.queue(), ++queued;
    const Ids tokens = steps.take();
    for (size_t s = 0; s < given.size(); ++s) drawn[s].push_back(tokens[s]);
  }
  return drawn;
}

void expect_the_same(Backend& backend) {
  Gpt model(backend, golden_config(), {});
  fill_golden_weights(model);
  for (const SamplerOptions& options :
       {SamplerOptions{.temperature = 0},
        SamplerOptions{.temperature = 0, .repetition_penalty = 1.5},
        SamplerOptions{.temperature = 1, .top_k = 20},
        SamplerOptions{.temperature = 1.2, .top_k = 0, .top_p = 0.8, .repetition_penalty = 1.2}}) {
    const std::vector<Ids> expected = through_the_host(model, options, 15);
    EXPECT_EQ(on_the_device(model, options, 15, 1), expected) << options.temperature;
    EXPECT_EQ(on_the_device(model, options, 15, DeviceSteps::kAhead), expected)
        << options.temperature;
  }
}

TEST(Decoder, StepsOnTheDeviceDrawWhatTheHostDraws) { expect_the_same(*make_cpu_backend()); }

TEST(Decoder, StepsOnAGpuDrawWhatTheHostDraws) {
  const auto backend = gpu_backend();
  if (!backend) GTEST_SKIP() << "no GPU here";
  expect_the_same(*backend);
}

// The logits of sequence s of `count` behind three steps.
std::vector<float> logits_among(Gpt& model, int64_t first, int64_t count, bool batch_invariant,
                                int64_t s) {
  Decoder decoder(model, count, model.config().context, batch_invariant);
  for (int64_t i = 0; i < count; ++i) {
    decoder.prefill(i, golden_tokens(first + i, 1, 1 + (first + i) * 5 % 14, kVocab).tokens);
  }
  for (int64_t step = 0; step < 3; ++step) {
    Ids tokens;
    for (int64_t i = 0; i < count; ++i) {
      tokens.push_back(static_cast<TokenId>((7 * step + first + i) % kVocab));
    }
    decoder.step(tokens);
  }
  const std::span<const float> logits = decoder.logits(s);
  return {logits.begin(), logits.end()};
}

constexpr int64_t kTogether = 12;  // more than the kernel for a whole step takes at once

TEST(Decoder, ASequenceIsTheSameWhateverItsBatch) {
  for (const bool on_gpu : {false, true}) {
    const auto backend = on_gpu ? gpu_backend() : make_cpu_backend();
    if (!backend) continue;
    Gpt model(*backend, wide_golden_config(), {.dtype = on_gpu ? DType::bf16 : DType::f32});
    fill_golden_weights(model);
    if (on_gpu && !Decoder::has_step_kernel(model)) continue;
    const int64_t many = on_gpu ? 70 : 64;  // the CPU's products of more rows are other ones
    for (const auto& [count, s] : std::vector<std::pair<int64_t, int64_t>>{
             {kTogether, 0}, {kTogether, 5}, {kTogether, 10}, {3, 1}, {many, many - 4}}) {
      EXPECT_EQ(logits_among(model, 0, count, true, s), logits_among(model, s, 1, true, 0))
          << backend->name() << ", sequence " << s << " of " << count;
    }
  }
}

// In bf16, where 12 sequences go through other kernels than one does. What is rounded differently
// once is rounded differently by all that follows: see the bounds of transformer_decode.
TEST(Decoder, ManySequencesOnAGpuAreNearEachAlone) {
  const auto backend = gpu_backend();
  if (!backend) GTEST_SKIP() << "no GPU here";
  Gpt model(*backend, wide_golden_config(), {.dtype = DType::bf16});
  fill_golden_weights(model);
  for (int64_t s = 0; s < kTogether; ++s) {
    const std::vector<float> together = logits_among(model, 0, kTogether, false, s);
    const std::vector<float> alone = logits_among(model, s, 1, false, 0);
    double error = 0, norm = 0;
    for (size_t i = 0; i < alone.size(); ++i) {
      const double difference = double{together[i]} - alone[i];
      error += difference * difference;
      norm += double{alone[i]} * alone[i];
    }
    EXPECT_LT(error, 2e-4 * norm) << "sequence " << s;
    EXPECT_GT(norm, 0) << "sequence " << s;
  }
}

// What a decoder of its own says behind `tokens`.
void expect_logits_of(Gpt& model, const Decoder& decoder, const Ids& tokens, const char* what) {
  ASSERT_EQ(decoder.length(0), std::ssize(tokens)) << what;
  Decoder fresh(model, 1, 32);
  fresh.prefill(0, tokens);
  for (size_t i = 0; i < static_cast<size_t>(kVocab); ++i) {
    ASSERT_NEAR(decoder.logits(0)[i], fresh.logits(0)[i], 1e-4) << what << ", token " << i;
  }
}

TEST(Decoder, ExtendingRunsOnlyWhatDiffers) {
  const auto backend = make_cpu_backend();
  Gpt model(*backend, golden_config(), {});
  fill_golden_weights(model);
  Decoder decoder(model, 1, 32);
  Ids tokens = golden_tokens(0, 1, 12, kVocab).tokens;
  const auto extend = [&](int64_t expected, const char* what) {
    EXPECT_EQ(decoder.extend(tokens), expected) << what;
    expect_logits_of(model, decoder, tokens, what);
  };
  extend(12, "an empty cache");
  extend(1, "the same tokens");
  tokens.insert(tokens.end(), {7, 8, 9});
  extend(3, "three more");
  tokens.push_back(10);
  extend(1, "one more");
  decoder.step(Ids{11});
  decoder.step(Ids{12});
  tokens.insert(tokens.end(), {11, 12, 13});
  extend(1, "behind steps");
  ASSERT_EQ(tokens.size(), 19u);
  tokens[10] = (tokens[10] + 1) % kVocab;
  extend(9, "another token in the middle");
  tokens[9] = (tokens[9] + 1) % kVocab;
  extend(19, "more than half is new");
  tokens.resize(18);
  extend(1, "a beginning of it");
  tokens[0] = (tokens[0] + 1) % kVocab;
  extend(18, "another first token");
  tokens.resize(32, 5);
  extend(14, "up to the full context");
  decoder.prefill(0, std::span(tokens).first(17));
  EXPECT_EQ(decoder.extend(tokens), 15);  // what prefill has forgotten is not used
}

TEST(Decoder, ExtendsWhatStepsOnTheDeviceHaveDrawn) {
  const auto backend = make_cpu_backend();
  Gpt model(*backend, golden_config(), {});
  fill_golden_weights(model);
  const Ids prompt = golden_tokens(0, 1, 20, kVocab).tokens;
  for (const int64_t drawn : {1, 5, 11, 12, 13}) {  // 12 fill the context
    Decoder decoder(model, 1, 32);
    decoder.extend(prompt);
    Ids tokens = prompt;
    {
      const std::vector<uint64_t> streams = {1};
      DeviceSteps steps(decoder, {.temperature = 0}, 1, {prompt}, streams, kVocab);
      steps.queue();
      for (int64_t n = 0; n < drawn; ++n) {
        steps.queue();  // the device is a step ahead at the end
        tokens.push_back(steps.take().front());
      }
    }
    decoder.end_device_steps(0, tokens);
    // The last place of a full context holds what the step ahead drew.
    const int64_t held = std::min<int64_t>(std::ssize(tokens), 31);
    EXPECT_EQ(decoder.length(0), held);
    tokens.resize(static_cast<size_t>(held));
    tokens.push_back(3);
    EXPECT_EQ(decoder.extend(tokens), 1);
    expect_logits_of(model, decoder, tokens, "behind the steps");
  }
}

// A context that is full: the last place is repeated, and nothing is written behind it.
TEST(Decoder, AFullContextEndsQuietly) {
  const auto backend = make_cpu_backend();
  Gpt model(*backend, golden_config(), {});
  fill_golden_weights(model);
  const Ids prompt = golden_tokens(0, 1, 30, kVocab).tokens;
  Decoder decoder(model, 1, 32);
  decoder.prefill(0, prompt);
  const std::vector<uint64_t> streams = {1};
  DeviceSteps steps(decoder, {.temperature = 0}, 1, {prompt}, streams, kVocab);
  for (int step = 0; step < 6; ++step) {
    steps.queue();
    const TokenId token = steps.take().front();
    EXPECT_GE(token, 0);
    EXPECT_LT(token, kVocab);
  }
}

}  // namespace
}  // namespace llm::test
