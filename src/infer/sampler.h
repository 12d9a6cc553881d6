// From logits to the next token.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backend/sampling.h"
#include "text/tokenizer.h"

namespace llm {

using SamplerOptions = SamplingOptions;

// Throws Error{usage} naming the option that is out of range.
void validate(const SamplerOptions& options);

// Draws tokens for one sample. Token n is a function of (seed, sample, n, logits, history): no
// state, so it does not matter what else runs in the same batch.
class Sampler {
 public:
  Sampler(const SamplerOptions& options, uint64_t seed, uint64_t sample);

  // What is drawn from, after the penalty, the temperature and the cuts, in the order given here;
  // probabilities add up to 1.
  //   logits: (vocab), without padding   history: the tokens of the sample so far
  // -inf forbids a token. Throws Error{numerics} if a logit is NaN or +inf, or none is finite.
  std::vector<Candidate> distribution(std::span<const float> logits,
                                      std::span<const TokenId> history) const;
  // Token number `number` of the sample.
  TokenId draw(std::span<const float> logits, std::span<const TokenId> history,
               uint64_t number) const;

  // Of the random numbers of a sample.
  static uint64_t stream_of(uint64_t sample);

 private:
  SamplerOptions options_;
  uint64_t seed_, stream_;
};

struct TokenLogprob {
  TokenId id;
  double logprob;  // natural logarithm, of the model's own distribution (temperature 1, no cuts)
};
// The `count` most likely tokens, the most likely first.
std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, int64_t count);
double logprob_of(std::span<const float> logits, TokenId id);

}  // namespace llm
