// The texts that llm eval reads: datasets and plain files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/shard.h"
#include "model/config.h"
#include "text/tokenizer.h"
#include "train/perplexity.h"

namespace llm {

// Tokens to evaluate on, and what they come from.
struct EvalData {
  std::string name;
  TokenText text;  // reads from the members below
  std::unique_ptr<Dataset> dataset;
  std::unique_ptr<std::vector<TokenId>> tokens;
};

// A dataset folder (its split "val" or "train"), a .bin shard (all of it), or a text or JSONL file,
// encoded with the model's tokenizer, end-of-text between documents. Throws Error{input} for what
// is not there or damaged, was made with another tokenizer, or has fewer than two tokens.
EvalData open_eval_data(const std::string& path, const std::string& split,
                        const std::string& text_key, const Tokenizer& tokenizer,
                        const ModelConfig& config, const std::string& model_name);

}  // namespace llm
