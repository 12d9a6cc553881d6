// Samples while training: how the model continues a prompt by now.
#pragma once

#include <string>
#include <vector>

#include "infer/engine.h"
#include "text/tokenizer.h"
#include "train/options.h"
#include "train/trainer.h"
#include "train/workspace.h"

namespace llm {

// The tokens of --prompt. Without a prompt: end-of-text, which begins a document, or where the
// vocabulary has none, its first token. Throws Error{usage} if the prompt has no tokens or does not
// fit into `context`.
std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, const std::string& prompt,
                                   int64_t context);

class TrainingSampler {
 public:
  // All outlive the sampler.
  TrainingSampler(Workspace& workspace, const Tokenizer& tokenizer, const TrainOptions& options);

  // The continuation, a function of weights, seed and step.
  TextSample sample(int64_t step);

 private:
  Engine engine_;
  const TrainOptions& options_;
  std::vector<TokenId> prompt_;
};

}  // namespace llm
