#include "infer/device_steps.h"

#include <algorithm>

#include "base/error.h"
#include "base/integer.h"

namespace llm {

DeviceSteps::DeviceSteps(Decoder& decoder, const SamplerOptions& options, uint64_t seed,
                         const std::vector<std::span<const TokenId>>& histories,
                         std::span<const uint64_t> streams, int64_t vocab)
    : decoder_(decoder), options_(options), sequence_count_(decoder.sequences()), vocab_(vocab) {
  const int64_t S = sequence_count_, N = decoder.context();
  LLM_ASSERT(std::ssize(histories) == S && std::ssize(streams) == S);
  Backend& backend = decoder.backend();
  const int64_t padded = decoder.padded_vocab();
  const int64_t logits_bytes = round_up(S * padded * 4, int64_t{256});
  const int64_t integers = S * N + 3 * S + kAhead * S;
  memory_ = backend.allocate(logits_bytes + 8 * S + 4 * integers, "decoding");
  auto* next = static_cast<std::byte*>(memory_->data());
  const auto take = [&](DType dtype, std::initializer_list<int64_t> shape, int64_t bytes) {
    const Tensor tensor(next, dtype, shape);
    next += bytes > 0 ? bytes : tensor.bytes();
    return tensor;
  };
  logits_ = take(DType::f32, {S, padded}, logits_bytes);
  sequences_.streams = take(DType::i64, {S}, 0);
  sequences_.history = take(DType::i32, {S, N}, 0);
  sequences_.draws = take(DType::i32, {S}, 0);
  sequences_.tokens = take(DType::i32, {S}, 0);
  sequences_.positions = take(DType::i32, {S}, 0);
  sequences_.log = take(DType::i32, {kAhead, S}, 0);
  sequences_.seed = seed;

  std::vector<int32_t> history(static_cast<size_t>(S * N), 0), lengths;
  for (int64_t s = 0; s < S; ++s) {
    const std::span<const TokenId> tokens = histories[static_cast<size_t>(s)];
    LLM_ASSERT(std::ssize(tokens) == decoder.length(s) && !tokens.empty(), "sequence {}", s);
    std::copy(tokens.begin(), tokens.end(), history.begin() + s * N);
    lengths.push_back(static_cast<int32_t>(tokens.size()));
  }
  const std::vector<int64_t> stream_numbers(streams.begin(), streams.end());
  backend.copy_to_device(sequences_.streams, stream_numbers.data());
  backend.copy_to_device(sequences_.history, history.data());
  backend.fill(sequences_.draws, 0);
  sequences_.lengths = decoder.begin_device_steps(logits_, lengths);
}

void DeviceSteps::step() {
  decoder_.backend().sample_tokens(sequences_, logits_, vocab_, options_);
  decoder_.step_on_device(logits_, sequences_.tokens, sequences_.positions);
}

void DeviceSteps::queue() {
  LLM_ASSERT(std::ssize(waiting_) < kAhead);
  Backend& backend = decoder_.backend();
  // The first step runs by itself: ops may still choose their algorithms.
  if (recorded_) {
    backend.replay(*recorded_);
  } else if (taken_ == 0 && waiting_.empty()) {
    step();
  } else {
    if (!tried_to_record_) recorded_ = backend.capture([&] { step(); });
    tried_to_record_ = true;
    recorded_ ? backend.replay(*recorded_) : step();
  }
  waiting_.push_back(backend.record(Queue::compute));
}

std::vector<TokenId> DeviceSteps::take() {
  LLM_ASSERT(!waiting_.empty());
  Backend& backend = decoder_.backend();
  backend.wait(Queue::copy, *waiting_.front());
  std::vector<TokenId> tokens(static_cast<size_t>(sequence_count_));
  backend.copy_to_host(tokens.data(), sequences_.log.slice(0, taken_ % kAhead, 1), Queue::copy);
  waiting_.pop_front();
  ++taken_;
  return tokens;
}

}  // namespace llm
