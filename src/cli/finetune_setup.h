// From the command line of `llm finetune` to a complete, checked job.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "cli/finetune_arguments.h"
#include "text/tokenizer.h"
#include "train/finetune.h"

namespace llm {

// Owns what a FinetuneJob points to.
struct FinetuneSetup {
  FinetuneJob job;
  std::unique_ptr<Tokenizer> tokenizer;
  int64_t steps_per_epoch = 0;
};

// open_backend() of the arguments and of what the run began with.
std::unique_ptr<Backend> open_backend(const FinetuneArguments& arguments);

// Reads model config, tokenizer and data and completes all options. Throws Error{usage} or
// Error{input}.
FinetuneSetup set_up_finetuning(const FinetuneArguments& arguments,
                                const std::vector<std::string>& command, const Backend& backend,
                                int ranks);

}  // namespace llm
