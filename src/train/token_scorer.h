// How likely a model finds given tokens: the losses of chosen targets in batches of texts.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/gpt.h"
#include "text/tokenizer.h"

namespace llm {

// Tokens that the model reads, and the last of the tokens that follow them: target i of n is what
// follows token size - n + i.
struct ScoredText {
  std::vector<TokenId> tokens;   // at least one, at most the scorer's length
  std::vector<TokenId> targets;  // at most as many
};

class TokenScorer {
 public:
  // Takes all memory that it will need, for up to `batch` texts of up to `length` tokens at once.
  TokenScorer(Gpt& model, int64_t batch, int64_t length);

  // The loss (negative natural logarithm of the probability) of every target, text by text. What a
  // text gets does not depend on the others but for rounding. Throws Error{numerics} for a loss
  // that is not finite, Error{input} for a token beyond the vocabulary.
  std::vector<std::vector<float>> losses(std::span<const ScoredText> texts);

  int64_t batch() const { return batch_; }
  int64_t length() const { return length_; }

 private:
  int64_t bucket_of(int64_t count, int64_t most) const;
  Tensor upload(std::span<const ScoredText> texts);
  Tensor gather(Tensor hidden, std::span<const ScoredText> texts, int64_t targets);
  void check(std::span<const ScoredText> texts) const;

  Gpt& model_;
  int64_t batch_, length_;
  int64_t rows_at_once_;  // of logits
  ActivationArena arena_;
  std::unique_ptr<DeviceMemory> input_memory_, target_memory_;
};

}  // namespace llm
