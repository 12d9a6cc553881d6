// All device memory of a training run, taken before the first step: parameters, gradients,
// optimizer state, activations, batch and scalars. The memory plan runs the same code on a backend
// that only counts, so plan and run cannot differ.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "backend/comm.h"
#include "backend/plan_backend.h"
#include "model/activation_arena.h"
#include "model/gpt.h"
#include "train/objective.h"
#include "train/options.h"
#include "train/training_step.h"

namespace llm {

struct Workspace {
  Workspace(Backend& backend, Comm& comm, Objective& objective, const TrainOptions& options,
            int64_t activation_bytes)
      : backend(backend),
        comm(comm),
        objective(objective),
        batch(options.batch),
        length(options.length),
        model(backend, options.model,
              StoreOptions{.training = true, .dtype = options.compute_dtype()}),
        arena(backend, activation_bytes),
        step(backend, comm, model, objective, arena, BatchShape{batch, length}) {
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
MemoryPlan plan_memory(const Backend& real, Objective& objective, const TrainOptions& options);

// Resident memory of this process now, and at its highest.
int64_t resident_bytes();
int64_t peak_resident_bytes();

}  // namespace llm
