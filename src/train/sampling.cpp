#include "train/sampling.h"

#include <fmt/format.h>

#include "base/error.h"

namespace llm {

std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, const std::string& prompt,
                                   int64_t context) {
  if (prompt.empty()) return {tokenizer.end_of_text().value_or(0)};
  std::vector<TokenId> ids;
  try {
    ids = tokenizer.encode(prompt, /*allow_special=*/true);
  } catch (const Error& error) {  // text that the tokenizer cannot express
    fail_usage("--prompt", error.problem(), error.hint());
  }
  if (ids.empty() || static_cast<int64_t>(ids.size()) > context) {
    fail_usage("--prompt", fmt::format("{} tokens, must be in [1, {}]", ids.size(), context));
  }
  return ids;
}

TrainingSampler::TrainingSampler(Workspace& workspace, const Tokenizer& tokenizer,
                                 const TrainOptions& options)
    : engine_(workspace.model, tokenizer),
      options_(options),
      prompt_(encode_prompt(tokenizer, options.prompt, options.model.context)) {}

TextSample TrainingSampler::sample(int64_t step) {
  GenerateOptions generate;
  generate.seed = static_cast<uint64_t>(options_.seed + step);
  generate.max_tokens = options_.sample_tokens;
  generate.overflow = ContextOverflow::slide;
  return {options_.prompt, engine_.generate(std::span(&prompt_, 1), generate).front().text};
}

}  // namespace llm
