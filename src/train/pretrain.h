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
#include "train/run_setup.h"
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

// Trains and writes the root weights. Errors as Trainer::run(); Error{usage} if the folder holds a
// run and this is not a resume; Error{input} if there is nothing good to resume from.
TrainSummary run_pretraining(const PretrainJob& job, Backend& backend, Comm& comm);

}  // namespace llm
