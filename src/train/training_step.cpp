#include "train/training_step.h"

#include <algorithm>

#include "base/error.h"

namespace llm {
namespace {

constexpr int64_t kScalarBytes = 256;  // each scalar on its own line of memory
constexpr int64_t kScalars = 14;

}  // namespace

TrainingStep::TrainingStep(Backend& backend, Comm& comm, Gpt& model, Objective& objective,
                           ActivationArena& arena, const BatchShape& shape)
    : backend_(backend),
      comm_(comm),
      model_(model),
      objective_(objective),
      arena_(arena),
      buffers_(backend, shape),
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
  inverse_count_ = scalar(DType::f32);
  for (Slot& slot : slots_) {
    slot.state.learning_rate = scalar(DType::f32);
    slot.state.gradient_norm = scalar(DType::f32);
    slot.state.gradient_scale = scalar(DType::f32);
    slot.state.apply = scalar(DType::i32);
    slot.state.updates = updates_;
    slot.loss = scalar(DType::f32);
  }
}

float TrainingStep::inverse_count(std::span<const Batch> batches) {
  double count = 0;
  for (const Batch& batch : batches) count += objective_.count(batch, buffers_);
  if (!comm_.alone()) count = comm_.all_reduce(count, Reduce::sum);
  return count > 0 ? static_cast<float>(1.0 / count) : 0.0f;
}

void TrainingStep::run_micro_batch(const Slot& slot, uint64_t dropout_seed) {
  objective_.accumulate(slot.loss, model_, arena_, buffers_.device(), inverse_count_, dropout_seed);
}

void TrainingStep::warm_up(const Batch& batch, uint64_t dropout_seed) {
  backend_.fill(inverse_count_, inverse_count(std::span(&batch, 1)));
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
  backend_.fill(inverse_count_, inverse_count(batches));
  for (size_t i = 0; i < batches.size(); ++i) {
    buffers_.upload(batches[i]);
    if (const CapturedWork* recorded = recording(slot, request, batches[i].length)) {
      backend_.replay(*recorded);
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

// The first step of a slot, and the first micro-batch of each length in it, run op by op, so that
// whatever devices do on the first use of an op is done; from then on they are repeated from a
// recording, where the device gains by that. Collectives are not recorded.
bool TrainingStep::may_record(const Slot& slot) const { return comm_.alone() && slot.done; }

const CapturedWork* TrainingStep::recording(Slot& slot, const StepRequest& request,
                                            int64_t length) {
  const bool first = slot.ran.insert(length).second;
  if (first || !may_record(slot)) return nullptr;
  const auto found = slot.micro_batches.find(length);
  if (found != slot.micro_batches.end()) return found->second.get();
  const int64_t mark = arena_.mark();
  auto recorded = backend_.capture([&] { run_micro_batch(slot, request.dropout_seed); });
  LLM_ASSERT(arena_.mark() == mark);
  if (!recorded) return nullptr;
  return (slot.micro_batches[length] = std::move(recorded)).get();
}

void TrainingStep::enqueue(const StepRequest& request, std::span<const Batch> micro_batches) {
  Slot& slot = slots_[request.step % 2];
  if (slot.done && !slot.request.same_numbers(request)) forget(slot);
  slot.request = request;
  if (may_record(slot) && !slot.update) {
    slot.update = backend_.capture([&] { update(slot, request); });
  }
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
  for (Slot& slot : slots_) forget(slot);
}

void TrainingStep::forget(Slot& slot) {
  slot.micro_batches.clear();
  slot.update = nullptr;
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
