#include "train/schedule.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace llm {
namespace {

struct NamedKind {
  const char* name;
  ScheduleKind kind;
};
constexpr std::array kKinds = {
    NamedKind{"cosine", ScheduleKind::cosine}, NamedKind{"linear", ScheduleKind::linear},
    NamedKind{"constant", ScheduleKind::constant}, NamedKind{"wsd", ScheduleKind::wsd}};

// Where `at` lies between `begin` and `end`, in [0, 1].
double progress_between(double begin, double end, double at) {
  if (at >= end) return 1;
  return std::clamp((at - begin) / (end - begin), 0.0, 1.0);
}

}  // namespace

std::string schedule_name(ScheduleKind kind) {
  for (const NamedKind& named : kKinds) {
    if (named.kind == kind) return named.name;
  }
  return "";
}

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  names.reserve(std::size(kKinds));
  for (const NamedKind& named : kKinds) names.emplace_back(named.name);
  return names;
}

ScheduleKind schedule_from_name(const std::string& name, const std::string& where) {
  for (const NamedKind& named : kKinds) {
    if (name == named.name) return named.kind;
  }
  fail_usage(where, fmt::format("no schedule \"{}\"", name),
             fmt::format("schedules: {}", fmt::join(schedule_names(), ", ")));
}

double learning_rate(const Schedule& schedule, int64_t step) {
  const int64_t at = step - 1;
  if (at < schedule.warmup) {
    return schedule.peak * static_cast<double>(step) / static_cast<double>(schedule.warmup + 1);
  }
  const auto steps = static_cast<double>(schedule.steps);
  const auto warmup = static_cast<double>(schedule.warmup);
  const double drop = schedule.peak - schedule.minimum;
  switch (schedule.kind) {
    case ScheduleKind::cosine: {
      const double ratio = progress_between(warmup, steps, static_cast<double>(at));
      return schedule.minimum + 0.5 * (1 + std::cos(std::numbers::pi * ratio)) * drop;
    }
    case ScheduleKind::linear:
      return schedule.peak - drop * progress_between(warmup, steps, static_cast<double>(at));
    case ScheduleKind::constant:
      return schedule.peak;
    case ScheduleKind::wsd: {
      const double begin = std::max(warmup, steps * (1 - schedule.decay_share));
      return schedule.peak - drop * progress_between(begin, steps, static_cast<double>(at));
    }
  }
  return schedule.peak;
}

}  // namespace llm
