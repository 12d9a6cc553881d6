#include "cli/op_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/rng.h"
#include "cpu_ref/cpu_backend.h"

namespace llm {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double times_bound(double error, double bound) {
  if (error == 0) return 0;
  return bound > 0 ? error / bound : kInfinity;
}

double worst_of(const OpErrors& errors, const OpBounds& bounds) {
  return std::max({times_bound(errors.mean_square, bounds.mean_square),
                   times_bound(errors.worst_row, bounds.worst_row), errors.worst_element});
}

// Few numbers may all be the rounding of larger ones that cancel; of many, most are not.
double noise_of(const OpTolerance& tolerance, size_t count) {
  constexpr size_t kFew = 32;
  constexpr double kNoiseOfFew = 0.3;  // inputs are of unit size
  return count < kFew ? std::max(tolerance.noise, kNoiseOfFew) : tolerance.noise;
}

const OpBounds& bounds_of(const OpTolerance& tolerance, DType dtype) {
  static constexpr OpBounds kNone{};
  if (dtype == DType::f32) return tolerance.f32;
  return dtype == DType::bf16 ? tolerance.bf16 : kNone;
}

std::string problem_of(const std::string& name, const OpErrors& errors, const OpBounds& bounds) {
  if (std::isinf(errors.mean_square)) return name + " has other numbers that are not finite";
  if (errors.mean_square > bounds.mean_square) {
    return fmt::format("{}: error {:.1e}, bound {:.1e}", name, errors.mean_square,
                       bounds.mean_square);
  }
  if (errors.worst_row > bounds.worst_row) {
    return fmt::format("{}: worst row {:.1e}, bound {:.1e}", name, errors.worst_row,
                       bounds.worst_row);
  }
  if (errors.worst_element > 1) {
    return fmt::format("{}: worst element {:.1f} times its bound", name, errors.worst_element);
  }
  return {};
}

void compare(OpOutcome& outcome, const std::vector<OpResult>& actual,
             const std::vector<OpResult>& expected, const OpTolerance& tolerance) {
  LLM_ASSERT(actual.size() == expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const OpBounds& bounds = bounds_of(tolerance, expected[i].dtype);
    const OpErrors errors = errors_of(actual[i].values, expected[i].values, expected[i].columns,
                                      bounds, noise_of(tolerance, expected[i].values.size()));
    const double worst = worst_of(errors, bounds);
    if (i == 0 || worst > outcome.worst) {
      outcome.errors = errors;
      outcome.bounds = bounds;
      outcome.worst = worst;
    }
    if (outcome.passed()) outcome.problem = problem_of(expected[i].name, errors, bounds);
  }
}

uint64_t seed_of(const OpCase& each, uint64_t seed) {
  return Random(seed,
                stream_id(fmt::format("{} {} {}", each.op, dtype_name(each.dtype), each.shape)))
      .bits64(0);
}

}  // namespace

OpErrors errors_of(std::span<const double> actual, std::span<const double> expected,
                   int64_t columns, const OpBounds& bounds, double noise) {
  constexpr OpErrors kAll{kInfinity, kInfinity, kInfinity};
  LLM_ASSERT(actual.size() == expected.size());
  if (expected.empty()) return {};
  const auto count = static_cast<double>(expected.size());
  const size_t width = static_cast<size_t>(columns);
  double size = 0;
  for (const double b : expected) size += std::isfinite(b) ? b * b : 0;
  size = std::max(size, count * noise * noise);
  const double rms = std::sqrt(size / count);
  const double least_row = 0.01 * size * static_cast<double>(width) / count;

  OpErrors errors;
  double error = 0, row_error = 0, row_size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double a = actual[i], b = expected[i];
    if (!std::isfinite(a) || !std::isfinite(b)) {
      if (a != b && !(std::isnan(a) && std::isnan(b))) return kAll;
    } else if (a != b) {
      const double difference = std::abs(a - b);
      row_error += difference * difference;
      errors.worst_element =
          std::max(errors.worst_element,
                   times_bound(difference, bounds.absolute * rms + bounds.relative * std::abs(b)));
    }
    row_size += std::isfinite(b) ? b * b : 0;
    if ((i + 1) % width == 0 || i + 1 == expected.size()) {
      if (row_error > 0) {
        errors.worst_row = std::max(errors.worst_row, row_error / std::max(row_size, least_row));
      }
      error += row_error;
      row_error = row_size = 0;
    }
  }
  if (error > 0) errors.mean_square = error / size;
  return errors;
}

OpOutcome check_op(const OpCase& each, Backend& tested, Backend& reference, uint64_t seed,
                   int repeats) {
  const uint64_t own_seed = seed_of(each, seed);
  OpTensors plain(reference, own_seed, reference);
  each.prepare(plain)();
  const std::vector<OpResult> expected = plain.results(plain.download());

  OpTensors tensors(tested, own_seed, reference);
  const std::function<void()> call = each.prepare(tensors);
  if (each.large) {  // real shapes: what is checked is what a run would choose
    tested.set_tuning(true);
    call();
    tested.set_tuning(false);
    tensors.reset();
  }
  call();
  const OpTensors::Images images = tensors.download();

  OpOutcome outcome;
  compare(outcome, tensors.results(images), expected, each.tolerance);
  const std::vector<std::string> damage = tensors.damage(images);
  if (!damage.empty()) outcome.problem = damage.front();
  for (outcome.repeats = 1; outcome.repeats < repeats && outcome.passed(); ++outcome.repeats) {
    tensors.reset();
    call();
    if (tensors.download() != images) {
      outcome.problem = fmt::format("call {} gave other bits", outcome.repeats + 1);
    }
  }
  return outcome;
}

int default_repeats(const OpCase& each) { return each.large ? 3 : 20; }

void add_outcome(std::vector<OpSummary>& summaries, const OpCase& each, const OpOutcome& outcome) {
  auto found = std::find_if(summaries.begin(), summaries.end(), [&](const OpSummary& summary) {
    return summary.op == each.op && summary.dtype == each.dtype;
  });
  if (found == summaries.end()) {
    found = summaries.emplace(summaries.end());
    found->op = each.op;
    found->dtype = each.dtype;
  }
  OpSummary& summary = *found;
  const bool first_failure = !outcome.passed() && summary.failed == 0;
  const bool larger = outcome.worst > summary.outcome.worst && summary.failed == 0;
  if (summary.cases == 0 || first_failure || larger) {
    summary.shape = each.shape;
    summary.outcome = outcome;
  }
  ++summary.cases;
  summary.failed += !outcome.passed();
}

std::vector<OpSummary> check_ops(Backend& tested, const OpCheckOptions& options) {
  const std::unique_ptr<Backend> reference = make_cpu_backend({.threads = 0, .plain = true});
  std::vector<OpSummary> summaries;
  for (const OpCase& each : op_cases()) {
    if (std::find(options.ops.begin(), options.ops.end(), each.op) == options.ops.end()) continue;
    if (each.large && !options.large) continue;
    const int repeats = options.repeats > 0 ? options.repeats : default_repeats(each);
    const OpOutcome outcome = check_op(each, tested, *reference, options.seed, repeats);
    add_outcome(summaries, each, outcome);
    if (options.seen) options.seen(each, outcome);
  }
  return summaries;
}

void require_passed(const std::vector<OpSummary>& summaries, const std::string& device,
                    uint64_t seed) {
  std::vector<std::string> failed;
  for (const OpSummary& summary : summaries) {
    if (summary.failed > 0) {
      failed.push_back(fmt::format("{} {}", summary.op, dtype_name(summary.dtype)));
    }
  }
  if (failed.empty()) return;
  throw Error(ErrorKind::numerics, device,
              fmt::format("{} failed the check against the CPU reference", fmt::join(failed, ", ")),
              fmt::format("--seed {} repeats it, --verbose shows each case", seed));
}

}  // namespace llm
