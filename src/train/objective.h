// What a model is trained for: from a batch to a loss and the gradient at the model's output.
#pragma once

#include <cstdint>
#include <memory>

#include "backend/backend.h"
#include "data/loader.h"
#include "model/activation_arena.h"
#include "model/gpt.h"

namespace llm {

// A batch on the device.
struct DeviceBatch {
  ModelInput input;  // tokens (B, T), sample ids (B)
  Tensor targets;    // (B T) i32, -100: ignored
};

// Device buffers that batches of one shape are copied into.
class BatchBuffers {
 public:
  BatchBuffers(Backend& backend, int64_t batch, int64_t length);
  const DeviceBatch& upload(const Batch& batch);
  const DeviceBatch& device() const { return device_; }

 private:
  Backend& backend_;
  std::unique_ptr<DeviceMemory> memory_;
  DeviceBatch device_;
};

class Objective {
 public:
  virtual ~Objective() = default;
  virtual const char* name() const = 0;

  // One micro-batch of a step: loss[0] += the share of this micro-batch in the mean loss of the
  // step, and the gradients of the parameters likewise. Waits for nothing.
  //   loss: (1) f32   inverse_targets: (1) f32, 1 / targets of the step
  virtual void accumulate(Tensor loss, Gpt& model, ActivationArena& arena, const DeviceBatch& batch,
                          Tensor inverse_targets, uint64_t dropout_seed) = 0;
  // loss_sum[0] += the sum of the losses of all targets, without dropout.   loss_sum: (1) f32
  virtual void evaluate(Tensor loss_sum, Gpt& model, ActivationArena& arena,
                        const DeviceBatch& batch) = 0;
};

// Each token predicts the next one; mean cross-entropy over the targets that are not ignored.
class NextToken : public Objective {
 public:
  // Logits exist for at most this many bytes of rows at once. 0: what suits the device, 64 MiB on
  // the host, where more would not be faster, and a sixteenth of the memory elsewhere.
  explicit NextToken(int64_t most_logit_bytes = 0) : most_logit_bytes_(most_logit_bytes) {}

  const char* name() const override { return "next token"; }
  void accumulate(Tensor loss, Gpt& model, ActivationArena& arena, const DeviceBatch& batch,
                  Tensor inverse_targets, uint64_t dropout_seed) override;
  void evaluate(Tensor loss_sum, Gpt& model, ActivationArena& arena,
                const DeviceBatch& batch) override;

 private:
  int64_t rows_at_once(const Gpt& model, int64_t rows) const;

  int64_t most_logit_bytes_;
};

}  // namespace llm
