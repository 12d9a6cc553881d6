#include "train/training_step.h"

#include <algorithm>

#include "base/error.h"

namespace llm {
namespace {

constexpr int64_t kScalarBytes = 256;  // each scalar on its own line of memory
constexpr int64_t kScalars = 14;

}  // namespace

TrainingStep::TrainingStep(Backend& backend, Comm& comm, Gpt& model, Objective& objective,
                           ActivationArena& arena, int64_t batch, int64_t length)
    : backend_(backend),
      comm_(comm),
      model_(model),
      objective_(objective),
      arena_(arena),
      buffers_(backend, batch, length),
      memory_(backend.allocate(kScalars * kScalarBytes, "scalars")) {
  int64_t next = 0;
  const auto scalar = [&](DType dtype) {
    LLM_ASSERT(next < kScalars);
    const Tensor tensor(static_cast<std::byte*>(memory_->data()) + next++ * kScalarBytes, dtype,
                        {1});
    backend_.fill(tensor, 0);
    return tensor;
  };
  updates_ = scalar(DType::i32);
  squared_norm_ = scalar(DType::f32);
  loss_limit_ = scalar(DType::f32);
  inverse_targets_ = scalar(DType::f32);
  for (Slot& slot : slots_) {
    slot.state.learning_rate = scalar(DType::f32);
    slot.state.gradient_norm = scalar(DType::f32);
    slot.state.gradient_scale = scalar(DType::f32);
    slot.state.apply = scalar(DType::i32);
    slot.state.updates = updates_;
    slot.loss = scalar(DType::f32);
  }
}

float TrainingStep::inverse_target_count(std::span<const Batch> batches) {
  int64_t targets = 0;
  for (const Batch& batch : batches) {
    targets += std::count_if(batch.targets.begin(), batch.targets.end(),
                             [](int32_t target) { return target >= 0; });
  }
  if (!comm_.alone()) targets = comm_.all_reduce(targets, Reduce::sum);
  return targets > 0 ? static_cast<float>(1.0 / static_cast<double>(targets)) : 0.0f;
}

void TrainingStep::run_micro_batch(const Slot& slot, uint64_t dropout_seed) {
  objective_.accumulate(slot.loss, model_, arena_, buffers_.device(), inverse_targets_,
                        dropout_seed);
}

void TrainingStep::warm_up(const Batch& batch, uint64_t dropout_seed) {
  backend_.fill(inverse_targets_, inverse_target_count(std::span(&batch, 1)));
  buffers_.upload(batch);
  run_micro_batch(slots_[0], dropout_seed);
  const ArenaScope scope(arena_);
  const Tensor sum = arena_.take(DType::f32, {1});
  objective_.evaluate(sum, model_, arena_, buffers_.device());
  backend_.synchronize();
}

void TrainingStep::accumulate(Slot& slot, const StepRequest& request,
                              std::span<const Batch> batches) {
  ParameterStore& store = model_.parameters();
  backend_.fill(inverse_targets_, inverse_target_count(batches));
  for (size_t i = 0; i < batches.size(); ++i) {
    buffers_.upload(batches[i]);
    if (slot.micro_batch) {
      backend_.replay(*slot.micro_batch);
      continue;
    }
    // While the last micro-batch runs, each layer's gradients are complete when it is done with it.
    if (i + 1 == batches.size() && !comm_.alone()) {
      store.gradient_ready = [&](int layer) {
        const Tensor gradients = store.layer_slice(store.gradients(), layer);
        if (gradients.size() > 0) comm_.start_all_reduce(gradients, Reduce::sum);
      };
    }
    run_micro_batch(slot, request.dropout_seed);
  }
  store.gradient_ready = [](int) {};
  if (!comm_.alone()) comm_.all_reduce(slot.loss, Reduce::sum);
}

void TrainingStep::update(const Slot& slot, const StepRequest& request) {
  ParameterStore& store = model_.parameters();
  backend_.squared_norm(squared_norm_, store.gradients());
  backend_.prepare_update(slot.state, squared_norm_, slot.loss, loss_limit_, request.max_norm);
  backend_.adamw_update(store.trained_part(store.values()),
                        store.trained_part(store.rounded_values()), store.first_moments(),
                        store.second_moments(), store.gradients(), store.chunk_decay(), slot.state,
                        request.adamw);
}

// The first step of a slot runs op by op, so that whatever devices do on the first use of an op is
// done; from then on it is repeated from a recording, where the device gains by that. Collectives
// are not recorded.
void TrainingStep::capture(Slot& slot, const StepRequest& request) {
  if (!comm_.alone() || !slot.done || slot.micro_batch) return;
  const int64_t mark = arena_.mark();
  slot.micro_batch = backend_.capture([&] { run_micro_batch(slot, request.dropout_seed); });
  if (slot.micro_batch) slot.update = backend_.capture([&] { update(slot, request); });
  LLM_ASSERT(arena_.mark() == mark);
}

void TrainingStep::enqueue(const StepRequest& request, std::span<const Batch> micro_batches) {
  Slot& slot = slots_[request.step % 2];
  if (slot.done && !slot.request.same_numbers(request)) {
    slot.micro_batch = nullptr;
    slot.update = nullptr;
  }
  slot.request = request;
  capture(slot, request);
  model_.parameters().zero_gradients();
  backend_.fill(slot.loss, 0);
  backend_.fill(squared_norm_, 0);
  backend_.fill(slot.state.learning_rate, request.learning_rate);
  backend_.fill(loss_limit_, static_cast<double>(request.loss_limit));

  accumulate(slot, request, micro_batches);
  if (slot.update) {
    backend_.replay(*slot.update);
  } else {
    update(slot, request);
  }
  slot.done = backend_.record(Queue::compute);
}

void TrainingStep::forget_recordings() {
  for (Slot& slot : slots_) {
    slot.micro_batch = nullptr;
    slot.update = nullptr;
  }
}

StepResult TrainingStep::read(int64_t step) {
  const Slot& slot = slots_[step % 2];
  StepResult result;
  int32_t apply = 0;
  // Past the step that is queued behind this one.
  if (slot.done) backend_.wait(Queue::copy, *slot.done);
  backend_.copy_to_host(&result.loss, slot.loss, Queue::copy);
  backend_.copy_to_host(&result.norm, slot.state.gradient_norm, Queue::copy);
  backend_.copy_to_host(&apply, slot.state.apply, Queue::copy);
  result.applied = apply != 0;
  return result;
}

int32_t TrainingStep::updates() const {
  int32_t value = 0;
  backend_.copy_to_host(&value, updates_);
  return value;
}

void TrainingStep::set_updates(int32_t updates) { backend_.copy_to_device(updates_, &updates); }

}  // namespace llm
