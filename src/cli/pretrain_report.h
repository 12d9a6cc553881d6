// What `llm pretrain` prints before and after training.
#pragma once

#include "backend/backend.h"
#include "base/json.h"
#include "cli/pretrain_setup.h"
#include "train/trainer.h"
#include "train/workspace.h"

namespace llm {

// To stderr: model, data, steps, memory and device of a run that is about to begin.
void announce(const PretrainSetup& setup, const MemoryPlan& plan, const Backend& backend,
              const Comm& comm);

// --dry-run: memory by category, steps, estimated time, to stdout.
void print_dry_run(const PretrainSetup& setup, const MemoryPlan& plan, Backend& backend, int ranks,
                   bool json);

// The result, to stdout.
void print_summary(const PretrainSetup& setup, const TrainSummary& summary, const MemoryPlan& plan,
                   const Backend& backend, bool json);

// The line of --json for a run that a signal stopped: the same keys and `stopped_by`.
void print_preempted(const PretrainSetup& setup, const PreemptedRun& run, const MemoryPlan& plan,
                     const Backend& backend);

}  // namespace llm
