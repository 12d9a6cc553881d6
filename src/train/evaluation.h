// The loss on held-out text.
#pragma once

#include <cstdint>

#include "data/loader.h"
#include "train/workspace.h"

namespace llm {

struct EvaluationResult {
  double loss = 0;  // mean over all targets, 0 if there are none
  int64_t targets = 0;
};

// Evaluates the first most_batches batches (0: all) of a split, front to back, the batches dealt
// out to the ranks in turn. No randomness: the same weights give the same loss.
EvaluationResult evaluate(Workspace& workspace, const EvaluationSource& source,
                          int64_t most_batches);

}  // namespace llm
