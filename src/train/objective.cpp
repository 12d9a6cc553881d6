#include "train/objective.h"

#include <algorithm>

#include "base/error.h"

namespace llm {

double NextToken::count(const Batch& batch, const BatchBuffers&) const {
  return static_cast<double>(std::count_if(batch.targets.begin(), batch.targets.end(),
                                           [](int32_t target) { return target >= 0; }));
}

int64_t NextToken::rows_at_once(const Gpt& model, int64_t rows) const {
  constexpr int64_t kLeastRows = 64;  // fewer make matrix products slow
  const Backend& backend = model.backend();
  const int64_t most = most_logit_bytes_ > 0 ? most_logit_bytes_
                       : backend.is_host()   ? int64_t{64} << 20
                                             : backend.memory_total() / 16;
  const int64_t fit =
      std::max(kLeastRows, most / (model.padded_vocab() * dtype_bytes(model.dtype())));
  if (rows <= fit) return rows;
  if (backend.is_host()) return fit;
  // Parts of equal size, of whole tiles of matrix products.
  const int64_t parts = (rows + fit - 1) / fit, even = (rows + parts - 1) / parts;
  return std::min(rows, (even + 127) / 128 * 128);
}

void NextToken::accumulate(Tensor loss, Gpt& model, ActivationArena& arena,
                           const DeviceBatch& batch, Tensor inverse_count, uint64_t dropout_seed) {
  const ArenaScope scope(arena);
  Backend& backend = model.backend();
  const int64_t rows = batch.targets.size(), C = model.config().channels;
  const Tensor dhidden = arena.take(model.dtype(), {rows, C});
  const Tensor hidden = model.forward(arena, batch.input, dropout_seed).view({rows, C});
  {
    const ArenaScope head_scope(arena);
    const int64_t chunk = rows_at_once(model, rows);
    const Tensor logits = arena.take(model.dtype(), {chunk, model.padded_vocab()});
    const Tensor losses = arena.take(DType::f32, {chunk});
    for (int64_t begin = 0; begin < rows; begin += chunk) {
      const int64_t count = std::min(chunk, rows - begin);
      const Tensor some_logits = logits.slice(0, 0, count), some_losses = losses.slice(0, 0, count);
      const Tensor some_hidden = hidden.slice(0, begin, count);
      model.head_forward(some_logits, some_hidden);
      backend.cross_entropy_forward_backward(some_losses, some_logits,
                                             batch.targets.slice(0, begin, count),
                                             model.config().vocab_size, inverse_count);
      backend.accumulate_sum(loss, some_losses, inverse_count);
      model.head_backward(dhidden.slice(0, begin, count), some_logits, some_hidden);
    }
  }
  const Tensor tokens = batch.input.tokens;
  model.backward(arena, batch.input, dhidden.view({tokens.dim(0), tokens.dim(1), C}));
}

void NextToken::evaluate(Tensor loss_sum, Gpt& model, ActivationArena& arena,
                         const DeviceBatch& batch) {
  const ArenaScope scope(arena);
  Backend& backend = model.backend();
  const int64_t rows = batch.targets.size(), C = model.config().channels;
  const Tensor hidden = model.forward_inference(arena, batch.input, nullptr).view({rows, C});
  const int64_t chunk = rows_at_once(model, rows);
  const Tensor logits = arena.take(model.dtype(), {chunk, model.padded_vocab()});
  const Tensor losses = arena.take(DType::f32, {chunk});
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const int64_t count = std::min(chunk, rows - begin);
    const Tensor some_logits = logits.slice(0, 0, count), some_losses = losses.slice(0, 0, count);
    model.head_forward(some_logits, hidden.slice(0, begin, count));
    backend.cross_entropy_forward(some_losses, some_logits, batch.targets.slice(0, begin, count),
                                  model.config().vocab_size);
    backend.accumulate_sum(loss_sum, some_losses, {});
  }
}

}  // namespace llm
