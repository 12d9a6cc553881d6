// What `llm finetune` prints before and after training.
#pragma once

#include "backend/backend.h"
#include "backend/comm.h"
#include "base/json.h"
#include "cli/finetune_setup.h"
#include "train/finetune.h"
#include "train/workspace.h"

namespace llm {

// To stderr: model, data, padding, steps, memory and device of a run that is about to begin.
void announce(const FinetuneSetup& setup, const MemoryPlan& plan, const Backend& backend,
              const Comm& comm);

// --dry-run: the same and the memory by category, to stdout.
void print_dry_run(const FinetuneSetup& setup, const MemoryPlan& plan, const Backend& backend,
                   int ranks, bool json);

// The figures of the run: what --json prints, and RUN/report.json keeps.
Json report_json(const FinetuneSetup& setup, const FinetuneOutcome& outcome);
// The result, to stdout.
void print_outcome(const FinetuneSetup& setup, const FinetuneOutcome& outcome, bool json);
// The line of --json for a run that a signal stopped.
void print_preempted(const FinetuneSetup& setup, const PreemptedRun& run);

}  // namespace llm
