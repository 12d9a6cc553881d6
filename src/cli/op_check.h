// Compares ops of a backend with the plain CPU loops, call by call.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cli/op_cases.h"

namespace llm {

struct OpErrors {
  double mean_square = 0, worst_row = 0;
  double worst_element = 0;  // as a multiple of its bound
};
// See OpBounds and OpTolerance. Numbers that are not finite have to be equal.
OpErrors errors_of(std::span<const double> actual, std::span<const double> expected,
                   int64_t columns, const OpBounds& bounds, double noise);

// What came of one call.
struct OpOutcome {
  OpErrors errors;   // of the result that is worst against its bounds
  OpBounds bounds;   // of that result
  double worst = 0;  // the largest error as a multiple of its bound
  int repeats = 0;
  std::string problem;  // what is wrong; empty when all is well
  bool passed() const { return problem.empty(); }
};
// The first call, then `repeats` in all, which have to give the same bits.
OpOutcome check_op(const OpCase& each, Backend& tested, Backend& reference, uint64_t seed,
                   int repeats);
// 20 for calls that take no time, 3 for the large ones.
int default_repeats(const OpCase& each);

// All cases of one op and type.
struct OpSummary {
  std::string op;
  DType dtype = DType::f32;
  int cases = 0, failed = 0;
  std::string shape;  // of the worst case: the first that failed, else the largest error
  OpOutcome outcome;  // of the worst case
};
void add_outcome(std::vector<OpSummary>& summaries, const OpCase& each, const OpOutcome& outcome);

// Runs the cases of these ops. `seen` is called after each. large = false leaves large shapes out.
// repeats: calls of each case; 0: default_repeats.
struct OpCheckOptions {
  std::vector<std::string> ops = op_names();
  uint64_t seed = 0;
  bool large = true;
  int repeats = 0;
  std::function<void(const OpCase&, const OpOutcome&)> seen = {};
};
std::vector<OpSummary> check_ops(Backend& tested, const OpCheckOptions& options);

// Throws Error{numerics} that names the ops, if one failed.
void require_passed(const std::vector<OpSummary>& summaries, const std::string& device,
                    uint64_t seed);

}  // namespace llm
