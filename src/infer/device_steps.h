// Decoding that stays on the device: a step draws the next token of each sequence and runs the
// model over it, recorded once and repeated. The host follows some steps behind and only reads
// tokens.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "infer/decoder.h"
#include "infer/sampler.h"

namespace llm {

class DeviceSteps {
 public:
  // Goes on with the sequences of a decoder, which must outlive it and is not used by others
  // meanwhile. histories[s]: the tokens of sequence s, all of them read by the decoder; at least
  // one. streams[s]: of its random numbers. Tokens below `vocab` are drawn.
  DeviceSteps(Decoder& decoder, const SamplerOptions& options, uint64_t seed,
              const std::vector<std::span<const TokenId>>& histories,
              std::span<const uint64_t> streams, int64_t vocab);

  // Lets the device do one more step. At most kAhead steps may wait to be taken. A sequence that
  // fills the context repeats its last place; what it draws then means nothing.
  void queue();
  // The tokens that the earliest step not yet taken drew, one per sequence; -1 where logits were
  // not finite. Waits for that step only.
  std::vector<TokenId> take();

  static constexpr int64_t kAhead = 4;

 private:
  void step();

  Decoder& decoder_;
  SamplerOptions options_;
  int64_t sequence_count_, vocab_;
  std::unique_ptr<DeviceMemory> memory_;
  SampledSequences sequences_;
  Tensor logits_;  // (S, padded vocab) f32
  std::unique_ptr<CapturedWork> recorded_;
  bool tried_to_record_ = false;
  std::deque<std::unique_ptr<Event>> waiting_;  // the ends of steps that were not taken
  int64_t taken_ = 0;
};

}  // namespace llm
