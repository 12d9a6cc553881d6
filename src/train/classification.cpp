#include "train/objective.h"

namespace llm {

double Classification::count(const Batch& batch, const BatchBuffers& buffers) const {
  double sum = 0;
  for (const int32_t label : batch.labels) sum += static_cast<double>(buffers.weight_of(label));
  return sum;
}

void Classification::accumulate(Tensor loss, Gpt& model, ActivationArena& arena,
                                const DeviceBatch& batch, Tensor inverse_count,
                                uint64_t dropout_seed) {
  const ArenaScope scope(arena);
  Backend& backend = model.backend();
  const Tensor tokens = batch.input.tokens;
  const int64_t rows = tokens.dim(0);
  const Tensor dhidden =
      model.trains_below_head()
          ? arena.take(model.dtype(), {rows, tokens.dim(1), model.config().channels})
          : Tensor();
  const Tensor losses = arena.take(DType::f32, {rows});
  const Tensor hidden = model.forward(arena, batch.input, dropout_seed);
  {
    const ArenaScope head_scope(arena);
    const Tensor logits = model.classify(arena, batch.input, hidden, /*training=*/true);
    backend.cross_entropy_forward_backward(losses, logits, batch.labels,
                                           std::ssize(model.config().labels), inverse_count);
    backend.scale_rows(logits, batch.row_weights);
    backend.scale_rows(losses.view({rows, 1}), batch.row_weights);
    backend.accumulate_sum(loss, losses, inverse_count);
    model.classify_backward(arena, batch.input, dhidden, logits);
  }
  model.backward(arena, batch.input, dhidden);
}

void Classification::evaluate(Tensor loss_sum, Gpt& model, ActivationArena& arena,
                              const DeviceBatch& batch) {
  const ArenaScope scope(arena);
  classify(loss_sum, model, arena, batch);
}

Tensor Classification::classify(Tensor loss_sum, Gpt& model, ActivationArena& arena,
                                const DeviceBatch& batch) {
  Backend& backend = model.backend();
  const int64_t rows = batch.input.tokens.dim(0);
  const Tensor hidden = model.forward_inference(arena, batch.input, nullptr);
  const Tensor logits = model.classify(arena, batch.input, hidden, /*training=*/false);
  const Tensor losses = arena.take(DType::f32, {rows});
  backend.cross_entropy_forward(losses, logits, batch.labels, std::ssize(model.config().labels));
  backend.scale_rows(losses.view({rows, 1}), batch.row_weights);
  backend.accumulate_sum(loss_sum, losses, {});
  return logits;
}

}  // namespace llm
