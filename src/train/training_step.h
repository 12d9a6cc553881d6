// One optimizer step over a device: micro-batches, reduction over ranks, clipping, AdamW. Queues
// work and reads its result later.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>

#include "backend/backend.h"
#include "backend/comm.h"
#include "data/loader.h"
#include "model/gpt.h"
#include "train/objective.h"

namespace llm {

struct StepRequest {
  int64_t step = 1;
  double learning_rate = 0;
  float loss_limit = 0;  // a loss above it changes nothing; infinity: no limit
  float max_norm = 0;    // of the gradient; 0: no clipping
  AdamWOptions adamw;
  uint64_t dropout_seed = 0;

  // Whether a recording of one runs the other: what changes from step to step is on the device.
  bool same_numbers(const StepRequest& other) const {
    return max_norm == other.max_norm && dropout_seed == other.dropout_seed &&
           adamw.beta1 == other.adamw.beta1 && adamw.beta2 == other.adamw.beta2 &&
           adamw.epsilon == other.adamw.epsilon;
  }
};

struct StepResult {
  float loss = 0;  // mean over the targets of the step, see Objective::count
  float norm = 0;  // of the gradient, before clipping
  bool applied = false;
};

class TrainingStep {
 public:
  TrainingStep(Backend& backend, Comm& comm, Gpt& model, Objective& objective,
               ActivationArena& arena, const BatchShape& shape);

  // Runs forward and backward pass on a batch and forgets the result.
  void warm_up(const Batch& batch, uint64_t dropout_seed);
  // Queues a whole step on this rank's micro-batches. A loss or norm that is not finite, or a loss
  // above the limit, changes no bit of weights, moments and update count: decided on the device.
  void enqueue(const StepRequest& request, std::span<const Batch> micro_batches);
  // The result of one of the last two steps queued; waits for it.
  StepResult read(int64_t step);

  // Updates applied so far: Adam's t.
  int32_t updates() const;
  void set_updates(int32_t updates);

  // From here on ops are queued one by one again, until the next capture.
  void forget_recordings();

  BatchBuffers& buffers() { return buffers_; }

 private:
  struct Slot {
    UpdateState state;
    Tensor loss;
    std::unique_ptr<Event> done;  // of the last step in it; null before the first
    StepRequest request;          // of the last step in it
    // Of micro-batches by the length of their rows, and of the update.
    std::map<int64_t, std::unique_ptr<CapturedWork>> micro_batches;
    std::unique_ptr<CapturedWork> update;
    std::set<int64_t> ran;  // lengths of rows that were run op by op in it
  };
  static void forget(Slot& slot);
  void run_micro_batch(const Slot& slot, uint64_t dropout_seed);
  void accumulate(Slot& slot, const StepRequest& request, std::span<const Batch> batches);
  void update(const Slot& slot, const StepRequest& request);
  bool may_record(const Slot& slot) const;
  const CapturedWork* recording(Slot& slot, const StepRequest& request, int64_t length);
  float inverse_count(std::span<const Batch> batches);

  Backend& backend_;
  Comm& comm_;
  Gpt& model_;
  Objective& objective_;
  ActivationArena& arena_;
  BatchBuffers buffers_;
  std::unique_ptr<DeviceMemory> memory_;
  Slot slots_[2];  // the results of a step stay while the next one is queued
  Tensor updates_, squared_norm_, loss_limit_, inverse_count_;
};

}  // namespace llm
