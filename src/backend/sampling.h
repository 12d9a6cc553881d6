// The arithmetic of drawing a token, for the host and as what devices are compared with.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"

namespace llm {

struct Scored {
  int32_t id;
  double score;
};
// The k most likely, in any order.
std::vector<Scored> top_scores(std::span<const float> logits, size_t k);
// The most likely first; ties by id, so that the order is one and the same everywhere.
bool before(const Scored& a, const Scored& b);

// Makes tokens of the history less likely, each once.
void penalize(std::span<float> logits, std::span<const int32_t> history, double penalty);

struct Candidate {
  int32_t id;
  double probability;
};

// What is drawn from, in the order of ids, before the probabilities are divided by their total.
struct Weighted {
  std::vector<Candidate> candidates;
  double total = 0;

  void add(int32_t id, double score);
};
// After the penalty, the temperature and the cuts, in the order of SamplingOptions.
//   logits: (vocab), without padding   history: the tokens so far
// -inf forbids a token. Throws Error{numerics} if a logit is NaN or +inf, or none is finite.
Weighted weigh(const SamplingOptions& options, std::span<const float> logits,
               std::span<const int32_t> history);
// The token at `uniform`, in [0, 1), of the distribution.
int32_t draw(const Weighted& weighted, double uniform);

}  // namespace llm
