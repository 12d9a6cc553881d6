// Texts in, probabilities of labels out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "data/examples.h"
#include "model/gpt.h"

namespace llm {

// Of each label, in the order of the model's; they add up to 1.
using LabelProbabilities = std::vector<double>;

// The label with the highest probability; of equal ones the first.
int32_t likeliest(const LabelProbabilities& probabilities);

class Classifier {
 public:
  // For texts of up to `longest` tokens, at most the model's context, `batch` of them at once;
  // takes all memory that this needs. pad_id: what fills the rows of shorter texts, which no result
  // depends on, unless the model pools at the end of the row: its rows all have `longest` tokens.
  // The model must be a classifier and outlive this.
  Classifier(Gpt& model, int64_t batch, int64_t longest, TokenId pad_id);

  // The probabilities of each text, in order. Texts of about one length are computed together.
  // progress: called after each batch with the number of texts that are done. Throws
  // Error{numerics} for logits that are not finite, Error{input} for tokens that are not the
  // model's.
  std::vector<LabelProbabilities> classify(std::span<const TokenizedExample> texts,
                                           const std::function<void(int64_t done)>& progress = {});

 private:
  std::span<const float> logits_of(const Batch& batch);  // (B, padded labels)

  Gpt& model_;
  int64_t batch_, longest_;
  TokenId pad_id_;
  ActivationArena arena_;
  std::unique_ptr<DeviceMemory> input_memory_;
  std::vector<float> logits_;
};

}  // namespace llm
