// From logits to the next token.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace llm {

struct SamplerOptions {
  double temperature = 0.8;       // 0: always the most likely token
  int64_t top_k = 200;            // only the k most likely tokens; 0: all
  double top_p = 1;               // the fewest tokens whose probabilities add up to p (Holtzman et
                                  // al., "The curious case of neural text degeneration", 2020)
  double min_p = 0;               // tokens at least this fraction as likely as the most likely one
  double repetition_penalty = 1;  // on tokens that occurred (Keskar et al., "CTRL", 2019)
};

// Throws Error{usage} naming the option that is out of range.
void validate(const SamplerOptions& options);

struct Candidate {
  TokenId id;
  double probability;
};

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
