// Prompts in, streamed text out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "infer/decoder.h"
#include "infer/sampler.h"
#include "model/gpt.h"
#include "text/tokenizer.h"

namespace llm {

// What happens when a sequence fills the model's context.
enum class ContextOverflow {
  stop,  // it ends; a prompt that does not fit is refused
  slide  // the last half of the context is kept and read again, and it goes on
};

enum class FinishReason { length, end_of_text, stop_string, context, interrupted };
std::string_view finish_reason_name(FinishReason reason);  // "length", "end_of_text", ...

struct GenerateOptions {
  SamplerOptions sampler;
  uint64_t seed = 42;
  int64_t max_tokens = 500;
  std::vector<std::string> stop;  // texts that end a sample, themselves left out
  ContextOverflow overflow = ContextOverflow::stop;
  bool ignore_end_of_text = false;
  int64_t logprobs = 0;  // alternatives to report per token; 0: none, and no logprobs at all
  // Sequences that run together. 0: 16 on the CPU; 64 on a GPU, or fewer so that their cache takes
  // a quarter of its memory at most.
  int64_t max_batch = 0;
  // On every device what becomes of a sequence does not depend on how many run together. On a GPU
  // that has kernels for a whole step those for many sequences then take few ones, too, or where
  // there are none (f32), those for few read the weights again and again; on others sequences run
  // one by one.
  bool batch_invariant = false;
  // Of calls with one prompt each: what was read and written stays in the cache, and the next such
  // call reads only what its prompt does not begin with alike. The weights must not change between
  // them. A number may differ in its last bits from what it is where all is read at once.
  bool keep_cache = false;
  // More tokens that end a sample like end-of-text, whatever ignore_end_of_text says.
  std::vector<TokenId> stop_ids = {};
  // Asked after each token; true ends the sample with what it has.
  std::function<bool()> interrupted = {};
};

struct TokenReport {
  double logprob;  // of the chosen token
  std::vector<TokenLogprob> top;
};

struct Generation {
  // Without the token that ended it. Before a stop string: no more than the text needs, so that
  // the last one may reach into the stop string.
  std::vector<TokenId> ids;
  std::string text;  // of the ids, up to a stop string
  FinishReason reason = FinishReason::length;
  std::vector<TokenReport> reports;  // one per id where asked for
};

struct GenerateFigures {
  int64_t prefill_tokens = 0, decode_tokens = 0;
  int64_t cached_tokens = 0;  // of prompts, not read as they were in the cache; see keep_cache
  double prefill_seconds = 0, decode_seconds = 0;
  double prefill_rate() const { return prefill_seconds > 0 ? prefill_tokens / prefill_seconds : 0; }
  double decode_rate() const { return decode_seconds > 0 ? decode_tokens / decode_seconds : 0; }
};

class Engine {
 public:
  // Receives the text of sample s as it becomes certain, in whole characters; at its end "".
  using TextSink = std::function<void(int64_t sample, std::string_view text)>;

  // Both must outlive the engine. Throws Error{input} if the tokenizer cannot be the model's.
  Engine(Gpt& model, const Tokenizer& tokenizer);

  // Continues prompts[s] as sample s. What becomes of a sample depends on the seed, its number and
  // its prompt, not on the others. Throws Error{usage} for a prompt that is empty or does not fit,
  // Error{numerics} for logits that are not finite.
  std::vector<Generation> generate(std::span<const std::vector<TokenId>> prompts,
                                   const GenerateOptions& options, const TextSink& sink = {});

  // Of the last call. Prefill is reading prompts, decode everything after.
  const GenerateFigures& figures() const { return figures_; }

 private:
  Decoder& conversation();
  // How many sequences run together, each in a context of so many tokens.
  int64_t batch_of(const GenerateOptions& options, int64_t context) const;
  void check_prompt(std::span<const TokenId> prompt, const GenerateOptions& options) const;

  Gpt& model_;
  const Tokenizer& tokenizer_;
  GenerateFigures figures_;
  std::unique_ptr<Decoder> conversation_;  // of keep_cache
};

}  // namespace llm
