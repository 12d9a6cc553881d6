// Runs a model over growing sequences: a prompt at once, then a token at a time, with the keys and
// values of all earlier tokens cached.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/gpt.h"
#include "text/tokenizer.h"

namespace llm {

class Decoder {
 public:
  // Takes all memory that it will need: for `sequences` sequences of up to `context` tokens.
  // batch_invariant: where the device has kernels for a whole step
  // (Backend::transformer_decode), they are taken however many sequences there are: what becomes of
  // a sequence then does not depend on the others, nor on how many they are.
  Decoder(Gpt& model, int64_t sequences, int64_t context, bool batch_invariant = false);

  // Forgets what a sequence held and runs it over `tokens` (at most context), each prompt on its
  // own, so that its numbers do not depend on the other sequences.
  void prefill(int64_t sequence, std::span<const TokenId> tokens);
  // The same for a decoder of one sequence, where the first tokens that equal those it holds are
  // not run again, if they are half of `tokens` or more; the last of `tokens` always is, for its
  // logits. The weights must be those of before. Numbers may differ in their last bits from those
  // of a prefill. Returns how many tokens were run.
  int64_t extend(std::span<const TokenId> tokens);
  // Lets sequence `to` continue from what sequence `from` has seen.
  void copy(int64_t to, int64_t from);
  // Appends tokens[s] to sequence s, for all sequences at once. A negative token means that the
  // sequence is not wanted any more: it becomes empty.
  void step(std::span<const TokenId> tokens);

  // For DeviceSteps. Puts what is known into `logits`, (S, padded vocab) f32, and returns the
  // lengths on the device, (S) i32, which are its own from here on; lengths: what they begin with.
  Tensor begin_device_steps(Tensor logits, const std::vector<int32_t>& lengths);
  // Runs tokens (S) at positions (S), all on the device, where the lengths count them already.
  // Queues ops and nothing else.
  void step_on_device(Tensor logits, Tensor tokens, Tensor positions);
  // Afterwards, if the decoder is to be used again: what a sequence consists of now, its first
  // tokens and those drawn behind them.
  void end_device_steps(int64_t sequence, std::span<const TokenId> tokens);
  // Whether the device has kernels for a whole step of this model.
  static bool has_step_kernel(const Gpt& model);

  Backend& backend() const { return model_.backend(); }
  int64_t padded_vocab() const { return model_.padded_vocab(); }
  int64_t sequences() const { return cache_.sequences(); }
  int64_t context() const { return cache_.context(); }
  int64_t length(int64_t sequence) const { return std::ssize(held(sequence)); }
  // (vocab) behind the last token of a sequence; padding left out.
  std::span<const float> logits(int64_t sequence) const;

 private:
  const std::vector<TokenId>& held(int64_t sequence) const {
    return held_[static_cast<size_t>(sequence)];
  }
  // Prefill where the first `begin` tokens are in the cache already.
  void prefill_from(int64_t begin, int64_t sequence, std::span<const TokenId> tokens);
  // Forgets the arena's activations, and brings tokens (B, T) and their positions to the device.
  ModelInput take_input(std::span<const int32_t> tokens, std::span<const int32_t> positions,
                        int64_t batch);
  // The step's logits, (S, padded vocab) f32.
  void run_step(Tensor logits, const ModelInput& input);
  // Those behind hidden states (S, C).
  void find_logits(Tensor logits, Tensor hidden);

  Gpt& model_;
  KvCache cache_;
  std::unique_ptr<KvCache> prompt_cache_;  // of one sequence; none where cache_ is of one
  ActivationArena arena_;
  std::unique_ptr<DeviceMemory> input_memory_;
  DecodeModel decode_model_;                // for transformer_decode
  bool fused_ = false;                      // steps are transformer_decode
  std::vector<std::vector<TokenId>> held_;  // the tokens of each sequence in cache_
  std::vector<float> logits_;               // (sequences, padded vocab)
};

}  // namespace llm
