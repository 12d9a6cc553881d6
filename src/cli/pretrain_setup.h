// From the command line to a complete, checked job: everything that can be known before training.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/comm.h"
#include "cli/pretrain_arguments.h"
#include "data/shard.h"
#include "text/tokenizer.h"
#include "train/options.h"
#include "train/pretrain.h"

namespace llm {

// Owns what a PretrainJob points to.
struct PretrainSetup {
  PretrainJob job;
  std::unique_ptr<Tokenizer> tokenizer;
  int64_t samples_per_epoch = 0;
};

// open_backend() of the arguments and of what the run began with.
std::unique_ptr<Backend> open_backend(const PretrainArguments& arguments);

// Opens datasets, model config and tokenizer and completes all options. Throws Error{usage} or
// Error{input}.
PretrainSetup set_up_pretraining(const PretrainArguments& arguments,
                                 const std::vector<std::string>& command, const Backend& backend,
                                 int ranks);

// Reads all of the data and compares its checksums. Throws Error{input}.
void verify_data(PretrainSetup& setup);

}  // namespace llm
