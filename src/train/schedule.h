// The learning rate as a function of the step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace llm {

enum class ScheduleKind {
  cosine,    // half a cosine from the peak to the minimum (Loshchilov & Hutter, "SGDR", 2017)
  linear,    // a straight line from the peak to the minimum
  constant,  // the peak
  wsd,       // warmup-stable-decay: the peak, then a straight line over the last part
};

std::string schedule_name(ScheduleKind kind);
// Throws Error{usage} listing the names.
ScheduleKind schedule_from_name(const std::string& name, const std::string& where);
std::vector<std::string> schedule_names();

struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  double peak = 6e-4;
  double minimum = 6e-5;
  int64_t warmup = 0;        // steps that rise linearly from peak / (warmup + 1) to the peak
  int64_t steps = 1;         // length of the whole schedule; beyond it the rate stays at its end
  double decay_share = 0.2;  // wsd: the share of `steps` that decays
};

// The rate of a step, counted from 1. With it = step - 1 this is nanoGPT's get_lr(it).
double learning_rate(const Schedule& schedule, int64_t step);

}  // namespace llm
