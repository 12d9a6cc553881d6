// A whole run of pretraining: run folder, model, data, trainer, root weights.
#pragma once

#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/comm.h"
#include "base/file.h"
#include "data/shard.h"
#include "text/tokenizer.h"
#include "train/options.h"
#include "train/trainer.h"
#include "train/workspace.h"

namespace llm {

struct PretrainJob {
  RunDescription run;  // options complete and validated
  fs::path folder;
  bool resume = false;
  bool retune = false;            // resumed: choose algorithms anew, which may change the last bits
  std::vector<Dataset> datasets;  // in the order of run.options.data, verified
  const Tokenizer* tokenizer = nullptr;
};

bool fits_memory(const MemoryPlan& plan, const Backend& backend);
// Throws Error{memory} if the plan of these options does not fit into what the backend has, naming
// the largest micro-batch that does.
void require_memory(const MemoryPlan& plan, const Backend& backend, Objective& objective,
                    const TrainOptions& options);

// Trains and writes the root weights. Errors as Trainer::run(); Error{usage} if the folder holds a
// run and this is not a resume; Error{input} if there is nothing good to resume from.
TrainSummary run_pretraining(const PretrainJob& job, Backend& backend, Comm& comm);

}  // namespace llm
