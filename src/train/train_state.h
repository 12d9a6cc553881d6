// The part of a run's state that is not tensors: what a checkpoint keeps besides weights and
// moments, so that a resumed run continues exactly.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "base/json.h"
#include "train/spike_window.h"

namespace llm {

struct TrainState {
  int64_t step = 0;     // steps done, applied or not
  int64_t samples = 0;  // global index of the next sample
  int64_t tokens = 0;   // targets trained on
  int32_t updates = 0;  // optimizer steps applied: Adam's t
  int64_t seed = 0;
  int64_t bad_in_a_row = 0;  // steps up to now whose loss or norm was not finite
  int64_t skipped = 0;       // steps that were not applied
  SpikeWindow window;
  double val_loss = std::numeric_limits<double>::quiet_NaN();  // of the last evaluation
  double best_val_loss = std::numeric_limits<double>::infinity();
  int64_t best_step = -1;  // -1: not evaluated yet
};

Json to_json(const TrainState& state);
// From the text of train_state.json. Throws Error{input} with `where`.
TrainState parse_train_state(std::string_view text, const std::string& where);

}  // namespace llm
