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
  ModelInput input;    // tokens (B, T), sample ids (B); what else the batch has
  Tensor targets;      // (B T) i32, -100: ignored
  Tensor labels;       // (B) i32, -100: none; of a classifier
  Tensor row_weights;  // (B) f32, how much a row counts; of a classifier
};

// What the batches of a run may hold.
struct BatchShape {
  int64_t batch = 0, length = 0;  // rows of each batch, and the most tokens of a row
  // The most sequences of a batch with several in a row, or 0 where no row has more than one.
  int64_t packed_sequences = 0;
  bool labels = false;  // of a classifier, and then:
  Pooling pooling = Pooling::last_token;
  std::vector<float> class_weights = {};  // per label; empty: all 1
};

// Device buffers that batches are copied into.
class BatchBuffers {
 public:
  BatchBuffers(Backend& backend, const BatchShape& shape);
  // The batch in views of the buffers: rows of its own length. Packed rows become one row of B T
  // tokens, and unused offsets repeat the last one.
  const DeviceBatch& upload(const Batch& batch);
  const DeviceBatch& device() const { return device_; }
  const BatchShape& shape() const { return shape_; }
  // How much a row with this label counts.
  float weight_of(int32_t label) const;

 private:
  void upload_labels(const Batch& batch);
  void upload_packing(const Batch& batch);

  Backend& backend_;
  BatchShape shape_;
  std::unique_ptr<DeviceMemory> memory_;
  DeviceBatch whole_, device_;  // of the largest batch; the last one
};

class Objective {
 public:
  virtual ~Objective() = default;
  virtual const char* name() const = 0;
  // What the loss of a step is the mean over: the number of targets, or the sum of their weights.
  virtual double count(const Batch& batch, const BatchBuffers& buffers) const = 0;

  // One micro-batch of a step: loss[0] += the share of this micro-batch in the mean loss of the
  // step, and the gradients of the parameters likewise. Waits for nothing.
  //   loss: (1) f32   inverse_count: (1) f32, 1 / the sum of count() of the step
  virtual void accumulate(Tensor loss, Gpt& model, ActivationArena& arena, const DeviceBatch& batch,
                          Tensor inverse_count, uint64_t dropout_seed) = 0;
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
  double count(const Batch& batch, const BatchBuffers& buffers) const override;
  void accumulate(Tensor loss, Gpt& model, ActivationArena& arena, const DeviceBatch& batch,
                  Tensor inverse_count, uint64_t dropout_seed) override;
  void evaluate(Tensor loss_sum, Gpt& model, ActivationArena& arena,
                const DeviceBatch& batch) override;

 private:
  int64_t rows_at_once(const Gpt& model, int64_t rows) const;

  int64_t most_logit_bytes_;
};

// The label of each row; mean cross-entropy, weighted by class where the buffers have weights.
class Classification : public Objective {
 public:
  const char* name() const override { return "classification"; }
  double count(const Batch& batch, const BatchBuffers& buffers) const override;
  void accumulate(Tensor loss, Gpt& model, ActivationArena& arena, const DeviceBatch& batch,
                  Tensor inverse_count, uint64_t dropout_seed) override;
  void evaluate(Tensor loss_sum, Gpt& model, ActivationArena& arena,
                const DeviceBatch& batch) override;
  // The same, and returns the logits (B, padded labels), in the arena.
  static Tensor classify(Tensor loss_sum, Gpt& model, ActivationArena& arena,
                         const DeviceBatch& batch);
};

}  // namespace llm
