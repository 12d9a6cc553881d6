// Where the time of a training step goes: parts of the step, each with its share of the ceiling
// that bounds it.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "base/json.h"
#include "cli/op_timing.h"
#include "train/options.h"

namespace llm {

// times: of the ops of one step, run one by one. seconds: of a step as it runs in training. Prints
// a table and returns it as JSON.
Json print_breakdown(const std::vector<OpTime>& times, const TrainOptions& options, double seconds,
                     const Ceilings& ceilings);

}  // namespace llm
