#include "train/token_scorer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "backend/plan_backend.h"
#include "base/error.h"

namespace llm {
namespace {

constexpr int32_t kIgnoredTarget = -100;
// Logits exist for at most so many bytes of rows at once; on the host more would not be faster.
constexpr int64_t kHostLogitBytes = int64_t{64} << 20, kDeviceLogitBytes = int64_t{1} << 30;
constexpr int64_t kLeastRows = 64;  // fewer make matrix products slow

int64_t logit_rows(const Gpt& model, int64_t most) {
  const int64_t bytes = model.backend().is_host() ? kHostLogitBytes : kDeviceLogitBytes;
  const int64_t fit = bytes / (model.padded_vocab() * dtype_bytes(model.dtype()));
  return std::min(
      most, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(std::max(kLeastRows, fit)))));
}

// Activations of a pass over (batch, length) tokens with all their targets, learnt from a pass that
// computes nothing. Takes the scratch that it needs.
int64_t prepare(const Gpt& model, int64_t batch, int64_t length) {
  constexpr int64_t kUnlimited = int64_t{1} << 60;
  Backend& backend = model.backend();
  MemoryByPurpose usage;
  const std::unique_ptr<Backend> plan = make_plan_backend(backend, usage);
  Gpt outline(*plan, model.config(), {.dtype = model.dtype()});
  ActivationArena arena(*plan, kUnlimited);
  int32_t never_read = 0;
  ModelInput input;
  input.tokens = Tensor(&never_read, DType::i32, {batch, length});
  const int64_t rows = batch * length, at_once = logit_rows(model, rows);
  outline.forward_inference(arena, input, nullptr);
  const Tensor chosen = arena.take(model.dtype(), {rows, model.config().channels});
  const Tensor logits = arena.take(model.dtype(), {at_once, model.padded_vocab()});
  arena.take(DType::f32, {rows});
  outline.head_forward(logits, chosen.slice(0, 0, at_once));
  backend.reserve_scratch(usage["scratch"]);
  return arena.high_water();
}

}  // namespace

TokenScorer::TokenScorer(Gpt& model, int64_t batch, int64_t length)
    : model_(model),
      batch_(batch),
      length_(length),
      rows_at_once_(logit_rows(model, batch * length)),
      arena_(model.backend(), prepare(model, batch, length)),
      input_memory_(model.backend().allocate(batch * length * 4, "batch")),
      target_memory_(model.backend().allocate(batch * length * 4, "batch")) {
  LLM_ASSERT(batch > 0 && length > 0 && length <= model.config().context, "{} {}", batch, length);
}

// A GPU times algorithms for every new shape: there sizes are rounded up to a few.
int64_t TokenScorer::bucket_of(int64_t count, int64_t most) const {
  if (model_.backend().is_host()) return count;
  return std::min(most, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(count))));
}

void TokenScorer::check(std::span<const ScoredText> texts) const {
  LLM_ASSERT(!texts.empty() && static_cast<int64_t>(texts.size()) <= batch_);
  const int64_t vocab = model_.config().vocab_size;
  for (const ScoredText& text : texts) {
    LLM_ASSERT(!text.tokens.empty() && static_cast<int64_t>(text.tokens.size()) <= length_);
    LLM_ASSERT(text.targets.size() <= text.tokens.size());
    for (const auto& ids : {text.tokens, text.targets}) {
      for (const TokenId id : ids) {
        if (id >= 0 && id < vocab) continue;
        fail_input(
            "tokenizer",
            fmt::format("token {} is beyond the model's vocabulary of {}", id, with_commas(vocab)),
            "this is not the model's tokenizer");
      }
    }
  }
}

// (B, T), the texts filled up at their ends with token 0, which changes nothing before it.
Tensor TokenScorer::upload(std::span<const ScoredText> texts) {
  int64_t longest = 0;
  for (const ScoredText& text : texts) {
    longest = std::max(longest, static_cast<int64_t>(text.tokens.size()));
  }
  const auto count = static_cast<int64_t>(texts.size());
  const int64_t batch = model_.backend().is_host() ? count : batch_;
  const int64_t length = bucket_of(longest, length_);
  std::vector<int32_t> tokens(static_cast<size_t>(batch * length), 0);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::copy(texts[i].tokens.begin(), texts[i].tokens.end(),
              tokens.begin() + static_cast<std::ptrdiff_t>(i) * length);
  }
  const Tensor result(input_memory_->data(), DType::i32, {batch, length});
  model_.backend().copy_to_device(result, tokens.data());
  return result;
}

// The hidden states that have targets, (targets, C), out of (B, T, C): logits of the others would
// cost much and are not wanted.
Tensor TokenScorer::gather(Tensor hidden, std::span<const ScoredText> texts, int64_t targets) {
  const int64_t T = hidden.dim(1), C = hidden.dim(2), rows = hidden.dim(0) * T;
  const Tensor flat = hidden.view({rows, C});
  const Tensor chosen = arena_.take(model_.dtype(), {targets, C});
  int64_t at = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto count = static_cast<int64_t>(texts[i].targets.size());
    if (count == 0) continue;
    const int64_t begin =
        static_cast<int64_t>(i) * T + static_cast<int64_t>(texts[i].tokens.size()) - count;
    model_.backend().convert(chosen.slice(0, at, count), flat.slice(0, begin, count));
    at += count;
  }
  if (at < targets) model_.backend().fill(chosen.slice(0, at, targets - at), 0);
  return chosen;
}

std::vector<std::vector<float>> TokenScorer::losses(std::span<const ScoredText> texts) {
  check(texts);
  Backend& backend = model_.backend();
  std::vector<int32_t> targets;
  for (const ScoredText& text : texts) {
    targets.insert(targets.end(), text.targets.begin(), text.targets.end());
  }
  const auto wanted = static_cast<int64_t>(targets.size());
  std::vector<float> all(static_cast<size_t>(wanted));
  if (wanted > 0) {
    arena_.reset();
    ModelInput input;
    input.tokens = upload(texts);
    const Tensor hidden = model_.forward_inference(arena_, input, nullptr);
    const int64_t rows = bucket_of(wanted, batch_ * length_);
    targets.resize(static_cast<size_t>(rows), kIgnoredTarget);
    const Tensor device_targets(target_memory_->data(), DType::i32, {rows});
    backend.copy_to_device(device_targets, targets.data());
    const Tensor chosen = gather(hidden, texts, rows);
    const int64_t at_once = std::min(rows, rows_at_once_);
    const Tensor logits = arena_.take(model_.dtype(), {at_once, model_.padded_vocab()});
    const Tensor losses = arena_.take(DType::f32, {rows});
    for (int64_t begin = 0; begin < rows; begin += at_once) {
      const int64_t count = std::min(at_once, rows - begin);
      const Tensor some = logits.slice(0, 0, count);
      model_.head_forward(some, chosen.slice(0, begin, count));
      backend.cross_entropy_forward(losses.slice(0, begin, count), some,
                                    device_targets.slice(0, begin, count),
                                    model_.config().vocab_size);
    }
    backend.copy_to_host(all.data(), losses.slice(0, 0, wanted));
  }

  std::vector<std::vector<float>> result;
  auto next = all.begin();
  for (const ScoredText& text : texts) {
    const auto end = next + static_cast<std::ptrdiff_t>(text.targets.size());
    result.emplace_back(next, end);
    next = end;
  }
  const auto wrong =
      std::find_if(all.begin(), all.end(), [](float loss) { return !std::isfinite(loss); });
  if (wrong != all.end()) {
    throw Error(ErrorKind::numerics, "evaluation", fmt::format("the loss of a token is {}", *wrong),
                "the model's weights or activations are not finite");
  }
  return result;
}

}  // namespace llm
