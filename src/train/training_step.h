// One optimizer step over a device: micro-batches, reduction over ranks, clipping, AdamW. Queues
// work and reads its result later.
#pragma once

#include <cstdint>
#include <memory>
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
};

struct StepResult {
  float loss = 0;  // mean over all targets of the step that are not ignored
  float norm = 0;  // of the gradient, before clipping
  bool applied = false;
};

class TrainingStep {
 public:
  TrainingStep(Backend& backend, Comm& comm, Gpt& model, Objective& objective,
               ActivationArena& arena, int64_t batch, int64_t length);

  // Queues a whole step on this rank's micro-batches. A loss or norm that is not finite, or a loss
  // above the limit, changes no bit of weights, moments and update count: decided on the device.
  void enqueue(const StepRequest& request, std::span<const Batch> micro_batches);
  // The result of one of the last two steps queued; waits for it.
  StepResult read(int64_t step);

  // Updates applied so far: Adam's t.
  int32_t updates() const;
  void set_updates(int32_t updates);

  BatchBuffers& buffers() { return buffers_; }

 private:
  struct Slot {
    UpdateState state;
    Tensor loss;
  };
  void accumulate(const Slot& slot, const StepRequest& request, std::span<const Batch> batches);
  float inverse_target_count(std::span<const Batch> batches);

  Backend& backend_;
  Comm& comm_;
  Gpt& model_;
  Objective& objective_;
  ActivationArena& arena_;
  BatchBuffers buffers_;
  std::unique_ptr<DeviceMemory> memory_;
  Slot slots_[2];  // the results of a step stay while the next one is queued
  Tensor updates_, squared_norm_, loss_limit_, inverse_targets_;
};

}  // namespace llm
