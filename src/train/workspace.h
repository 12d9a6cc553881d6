// All device memory of a training run, taken before the first step: parameters, gradients,
// optimizer state, activations, batch and scalars. The memory plan runs the same code on a backend
// that only counts, so plan and run cannot differ.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/backend.h"
#include "backend/comm.h"
#include "backend/plan_backend.h"
#include "model/activation_arena.h"
#include "model/gpt.h"
#include "train/objective.h"
#include "train/options.h"
#include "train/training_step.h"

namespace llm {

// What fine-tuning adds to the numbers of TrainOptions; pretraining needs nothing of it.
struct Workload {
  int64_t packed_sequences = 0;           // of a batch, see BatchShape
  bool labels = false;                    // of a classifier
  std::vector<float> class_weights = {};  // per label; empty: all 1
  // What is trained; empty: everything.
  std::function<bool(const Parameter&)> trainable = {};
  int64_t sampled_sequences = 1;  // answered at once, where there are samples

  BatchShape batch_shape(const TrainOptions& options) const {
    return {options.batch, options.length,        packed_sequences,
            labels,        options.model.pooling, class_weights};
  }
};

struct Workspace {
  Workspace(Backend& backend, Comm& comm, Objective& objective, const TrainOptions& options,
            int64_t activation_bytes, const Workload& workload = {})
      : backend(backend),
        comm(comm),
        objective(objective),
        batch(options.batch),
        length(options.length),
        model(backend, options.model,
              StoreOptions{.training = true,
                           .dtype = options.compute_dtype(),
                           .trainable = workload.trainable}),
        arena(backend, activation_bytes),
        step(backend, comm, model, objective, arena, workload.batch_shape(options)) {
    model.set_recompute(options.recompute);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  Backend& backend;
  Comm& comm;
  Objective& objective;
  const int64_t batch, length;
  Gpt model;
  ActivationArena arena;
  TrainingStep step;
};

struct MemoryPlan {
  // "parameters", "gradients", "optimizer state", "activations", "scratch", "batch", "scalars",
  // "sampling", "libraries" (what the backend holds for itself); on the host "program" (what the
  // process holds before anything is taken) and "checkpoint staging".
  MemoryByPurpose bytes;
  // Only on a device with memory of its own: what of the above lies on the host instead.
  MemoryByPurpose host_bytes;
  int64_t activations() const { return bytes.at("activations"); }
  int64_t scratch() const;
  int64_t total() const;  // without host_bytes
};

// Runs one training step, one evaluation and, where wanted, one sample on a planning backend.
MemoryPlan plan_memory(const Backend& real, Objective& objective, const TrainOptions& options,
                       const Workload& workload = {});

// Resident memory of this process now, and at its highest.
int64_t resident_bytes();
int64_t peak_resident_bytes();

}  // namespace llm
