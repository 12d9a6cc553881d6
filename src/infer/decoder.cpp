#include "infer/decoder.h"

#include <algorithm>
#include <numeric>

#include "backend/plan_backend.h"
#include "base/error.h"

namespace llm {
namespace {

// What forward passes take.
struct Needs {
  int64_t activations = 0, scratch = 0;
};

// Of a pass over (B, T) tokens and B rows of logits, learnt from a pass that computes nothing.
Needs needs_of(const Backend& backend, const ModelConfig& config, DType dtype, int64_t batch,
               int64_t length) {
  constexpr int64_t kUnlimited = int64_t{1} << 60;
  MemoryByPurpose usage;
  const std::unique_ptr<Backend> plan = make_plan_backend(backend, usage);
  Gpt outline(*plan, config, {.dtype = dtype});
  ActivationArena arena(*plan, kUnlimited);
  int32_t never_read = 0;
  ModelInput input;
  input.tokens = input.positions = Tensor(&never_read, DType::i32, {batch, length});
  arena.take(DType::f32, {batch, outline.padded_vocab()});
  outline.forward_inference(arena, input, nullptr);
  arena.take(dtype, {batch, outline.padded_vocab()});
  return {arena.high_water(), usage["scratch"]};
}

// Takes the scratch of a prompt as long as the context and of a step of all sequences, and returns
// the bytes of their activations.
int64_t reserve_for_steps(const Gpt& model, int64_t sequences, int64_t context) {
  Backend& backend = model.backend();
  const Needs prompt = needs_of(backend, model.config(), model.dtype(), 1, context);
  const Needs step = needs_of(backend, model.config(), model.dtype(), sequences, 1);
  backend.reserve_scratch(std::max(prompt.scratch, step.scratch));
  return std::max(prompt.activations, step.activations);
}

}  // namespace

Decoder::Decoder(Gpt& model, int64_t sequences, int64_t context, bool batch_invariant)
    : model_(model),
      cache_(model.backend(), model.config(), sequences, context, model.dtype()),
      arena_(model.backend(), reserve_for_steps(model, sequences, context)),
      input_memory_(model.backend().allocate(2 * 4 * std::max(sequences, context), "batch")),
      held_(static_cast<size_t>(sequences)),
      logits_(static_cast<size_t>(sequences * model.padded_vocab())) {
  LLM_ASSERT(context <= model.config().context, "{}", context);
  if (sequences > 1) {
    prompt_cache_ =
        std::make_unique<KvCache>(model.backend(), model.config(), 1, context, model.dtype());
  }
  if (model.has_plain_blocks()) {
    decode_model_ = model.decode_model(cache_);
    decode_model_.batch_invariant = batch_invariant;
    const int64_t most = model.backend().decode_sequences(decode_model_);
    fused_ = most > 0 && (sequences <= most || batch_invariant);
  }
}

bool Decoder::has_step_kernel(const Gpt& model) {
  if (model.backend().is_host() || !model.has_plain_blocks()) return false;
  const KvCache cache(model.backend(), model.config(), 1, 1, model.dtype());
  return model.backend().decode_sequences(model.decode_model(cache)) > 0;
}

std::span<const float> Decoder::logits(int64_t sequence) const {
  return std::span(logits_).subspan(static_cast<size_t>(sequence * model_.padded_vocab()),
                                    static_cast<size_t>(model_.config().vocab_size));
}

ModelInput Decoder::take_input(std::span<const int32_t> tokens, std::span<const int32_t> positions,
                               int64_t batch) {
  const int64_t length = std::ssize(tokens) / batch;
  auto* memory = static_cast<int32_t*>(input_memory_->data());
  ModelInput input;
  input.tokens = Tensor(memory, DType::i32, {batch, length});
  input.positions = Tensor(memory + batch * length, DType::i32, {batch, length});
  model_.backend().copy_to_device(input.tokens, tokens.data());
  model_.backend().copy_to_device(input.positions, positions.data());
  arena_.reset();
  return input;
}

void Decoder::run_step(Tensor logits, const ModelInput& input) {
  Backend& backend = model_.backend();
  if (fused_) {
    const int64_t S = sequences();
    return backend.transformer_decode(logits, input.tokens.view({S}), input.positions.view({S}),
                                      cache_.block_table(), cache_.lengths(), decode_model_);
  }
  const ArenaScope scope(arena_);
  const Tensor hidden = model_.forward_inference(arena_, input, &cache_);
  find_logits(logits, hidden.view({sequences(), model_.config().channels}));
}

void Decoder::find_logits(Tensor logits, Tensor hidden) {
  if (model_.dtype() == DType::f32) return model_.head_forward(logits, hidden);
  const Tensor rounded = arena_.take(model_.dtype(), {hidden.dim(0), padded_vocab()});
  model_.head_forward(rounded, hidden);
  model_.backend().convert(logits, rounded);
}

Tensor Decoder::begin_device_steps(Tensor logits, const std::vector<int32_t>& lengths) {
  model_.backend().copy_to_device(logits, logits_.data());
  cache_.set_lengths(lengths);
  cache_.leave_lengths_to_device();
  // A step in a full context overwrites the last place.
  for (std::vector<TokenId>& tokens : held_) {
    tokens.resize(std::min(tokens.size(), static_cast<size_t>(context() - 1)));
  }
  return cache_.lengths();
}

void Decoder::step_on_device(Tensor logits, Tensor tokens, Tensor positions) {
  ModelInput input;
  input.tokens = tokens.view({sequences(), 1});
  input.positions = positions.view({sequences(), 1});
  arena_.reset();
  run_step(logits, input);
}

void Decoder::end_device_steps(int64_t sequence, std::span<const TokenId> tokens) {
  LLM_ASSERT(std::ssize(tokens) >= length(sequence));
  const std::span<const TokenId> kept =
      tokens.first(std::min(tokens.size(), static_cast<size_t>(context() - 1)));
  held_[static_cast<size_t>(sequence)].assign(kept.begin(), kept.end());
}

void Decoder::prefill(int64_t sequence, std::span<const TokenId> tokens) {
  prefill_from(0, sequence, tokens);
}

void Decoder::prefill_from(int64_t begin, int64_t sequence, std::span<const TokenId> tokens) {
  const auto count = static_cast<int32_t>(tokens.size());
  std::vector<TokenId>& known = held_[static_cast<size_t>(sequence)];
  known.resize(static_cast<size_t>(begin));  // should this fail
  if (count == 0) return;
  KvCache& cache = prompt_cache_ ? *prompt_cache_ : cache_;
  cache.set_lengths({count});
  const std::span<const TokenId> rest = tokens.subspan(static_cast<size_t>(begin));
  std::vector<int32_t> positions(rest.size());
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(begin));
  const ModelInput input = take_input(rest, positions, 1);
  const Tensor logits = arena_.take(DType::f32, {1, padded_vocab()});
  const Tensor hidden = model_.forward_inference(arena_, input, &cache);
  const int64_t rows = std::ssize(rest);
  find_logits(logits, hidden.view({rows, model_.config().channels}).slice(0, rows - 1, 1));
  model_.backend().copy_to_host(logits_.data() + sequence * padded_vocab(), logits);
  if (prompt_cache_) cache_.copy_sequence(sequence, *prompt_cache_, 0, count);
  known.assign(tokens.begin(), tokens.end());
}

int64_t Decoder::extend(std::span<const TokenId> tokens) {
  LLM_ASSERT(sequences() == 1 && !tokens.empty());
  const std::span<const TokenId> known = tokens.first(tokens.size() - 1);
  const auto differ = std::mismatch(known.begin(), known.end(), held(0).begin(), held(0).end());
  int64_t begin = differ.first - known.begin();
  // Queries read a cache one by one, which costs more than attention within a prompt: all at once
  // is about as fast where half of the tokens are new, and faster where more are.
  if (2 * begin < std::ssize(tokens)) begin = 0;
  prefill_from(begin, 0, tokens);
  return std::ssize(tokens) - begin;
}

void Decoder::copy(int64_t to, int64_t from) {
  if (to == from) return;
  held_[static_cast<size_t>(to)] = held(from);
  cache_.copy_sequence(to, cache_, from, length(from));
  const auto begin = logits_.begin() + from * model_.padded_vocab();
  std::copy(begin, begin + model_.padded_vocab(), logits_.begin() + to * model_.padded_vocab());
}

void Decoder::step(std::span<const TokenId> tokens) {
  LLM_ASSERT(static_cast<int64_t>(tokens.size()) == sequences());
  // An unwanted sequence runs along as one of a single token.
  std::vector<int32_t> ids(tokens.size(), 0), positions(tokens.size(), 0);
  std::vector<int32_t> lengths(tokens.size(), 1);
  for (size_t s = 0; s < tokens.size(); ++s) {
    if (tokens[s] < 0) {
      held_[s].clear();
      continue;
    }
    LLM_ASSERT(std::ssize(held_[s]) < context(), "sequence {} is full", s);
    ids[s] = tokens[s];
    positions[s] = static_cast<int32_t>(held_[s].size());
    lengths[s] = positions[s] + 1;
  }
  cache_.set_lengths(lengths);
  const ModelInput input = take_input(ids, positions, sequences());
  const Tensor logits = arena_.take(DType::f32, {sequences(), padded_vocab()});
  run_step(logits, input);
  model_.backend().copy_to_host(logits_.data(), logits);
  for (size_t s = 0; s < tokens.size(); ++s) {
    if (tokens[s] >= 0) held_[s].push_back(tokens[s]);
  }
}

}  // namespace llm
