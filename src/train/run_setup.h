// What every kind of training begins and ends with: memory, the run folder, the state to go on
// from.
#pragma once

#include <cstdint>
#include <functional>

#include "backend/backend.h"
#include "base/file.h"
#include "data/loader.h"
#include "train/options.h"
#include "train/run_folder.h"
#include "train/train_state.h"
#include "train/workspace.h"

namespace llm {

bool fits_memory(const MemoryPlan& plan, const Backend& backend);
// Throws Error{memory} if the plan of these options does not fit into what the backend has, naming
// the largest micro-batch that does.
void require_memory(const MemoryPlan& plan, const Backend& backend, Objective& objective,
                    const TrainOptions& options, const Workload& workload = {});

// Everything about the run folder that only rank 0 does, before any other rank looks at it.
// write_more: what a new run writes into its folder besides. Returns the step to resume from, -1 to
// begin.
int64_t prepare_folder(RunFolder& folder, const RunDescription& now, bool resume,
                       const std::function<void()>& write_more = {});

// read_base: the weights that a checkpoint of adapters does not have.
TrainState resumed_state(const fs::path& checkpoint, const TrainOptions& options,
                         Workspace& workspace, const std::function<void(Gpt&)>& read_base = {});

// Lets the device choose its algorithms on the shapes of a batch of this run, with its weights.
// What that leaves behind is overwritten by the first step.
void tune(Workspace& workspace, const Batch& batch, int64_t seed);

// All ranks take the choices of the first, which are those that checkpoints keep. They travel
// through the memory of activations, in pieces if it is small: a run takes no more than it planned.
void share_plan(Backend& backend, Comm& comm, ActivationArena& arena);

// The checkpoint whose weights are those of the run: the best one if asked for, else the last.
fs::path checkpoint_to_publish(const RunFolder& folder, const TrainOptions& options,
                               const TrainState& state);

}  // namespace llm
