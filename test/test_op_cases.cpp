// The calls that `llm check` makes: that they pass on the CPU, that no op is left out, and that a
// backend with any one op wrong is found out.
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <set>

#include "base/error.h"
#include "cli/op_check.h"
#include "cpu_ref/cpu_backend.h"
#include "support/spoiled_backend.h"

namespace llm::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

OpCheckOptions small_cases_of(const std::vector<std::string>& ops) {
  OpCheckOptions options;
  options.ops = ops;
  options.seed = 17;
  options.large = false;
  return options;
}

// What is wrong with the spoiled op, in the words of the check.
std::string problem_of(const std::string& op, Spoil spoil) {
  const auto backend = make_spoiled_backend(op, spoil);
  const std::vector<OpSummary> summaries = check_ops(*backend, small_cases_of({op}));
  EXPECT_FALSE(summaries.empty()) << op;
  std::string problem;
  for (const OpSummary& summary : summaries) {
    EXPECT_GT(summary.failed, 0) << op << " " << dtype_name(summary.dtype);
    problem = summary.outcome.problem;
  }
  try {
    require_passed(summaries, backend->name(), 17);
    ADD_FAILURE() << op << ": accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::numerics);
    EXPECT_NE(error.problem().find(op), std::string::npos) << error.what();
  }
  return problem;
}

TEST(OpCases, TheSmallShapesPassOnTheCpu) {
  const auto backend = make_cpu_backend({.threads = 2, .plain = false});
  OpCheckOptions options = small_cases_of(op_names());
  int cases = 0;
  options.seen = [&](const OpCase& each, const OpOutcome& outcome) {
    EXPECT_TRUE(outcome.passed()) << each.op << " " << dtype_name(each.dtype) << " " << each.shape
                                  << ": " << outcome.problem;
    ++cases;
  };
  require_passed(check_ops(*backend, options), backend->name(), options.seed);
  EXPECT_GT(cases, 1000);
}

TEST(OpCases, EveryOpOfTheBackendHasCases) {
  std::ifstream file(LLM_SOURCE_DIR "/src/backend/backend.h");
  std::set<std::string> declared;
  bool ops = false;
  for (std::string line; std::getline(file, line);) {
    ops = ops || line.starts_with("  // --- Fills");
    const std::string start = "  virtual void ";
    if (ops && line.starts_with(start)) {
      declared.insert(line.substr(start.size(), line.find('(') - start.size()));
    }
  }
  EXPECT_EQ(declared, std::set<std::string>(op_names().begin(), op_names().end()));

  std::set<std::string> checked, timed;
  for (const OpCase& each : op_cases()) checked.insert(each.op);
  EXPECT_EQ(checked, declared);
  for (const OpCase& each : op_benchmarks({64, 16, 2, 32, 100}, DType::f32)) timed.insert(each.op);
  EXPECT_EQ(timed, declared);
}

TEST(OpCases, EveryCaseHasItsOwnName) {
  std::set<std::string> names;
  for (const OpCase& each : op_cases()) {
    const std::string name = each.op + " " + std::string(dtype_name(each.dtype)) + " " + each.shape;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
}

TEST(OpCases, OneWrongElementOfAnyOpIsFound) {
  for (const std::string& op : op_names()) problem_of(op, Spoil::element);
}

TEST(OpCases, AnOpThatDoesNothingIsFound) {
  for (const std::string& op : op_names()) problem_of(op, Spoil::nothing);
}

TEST(OpCases, WhatElseCanBeWrongIsNamed) {
  EXPECT_NE(problem_of("add", Spoil::beyond).find("written behind its end"), std::string::npos);
  EXPECT_NE(problem_of("squared_norm", Spoil::beyond).find("written behind"), std::string::npos);
  EXPECT_NE(problem_of("gelu_backward", Spoil::input).find("an input, was changed"),
            std::string::npos);
  EXPECT_NE(problem_of("cache_append", Spoil::input).find("an input, was changed"),
            std::string::npos);
  EXPECT_NE(problem_of("layernorm_forward", Spoil::not_twice).find("gave other bits"),
            std::string::npos);
  EXPECT_NE(problem_of("adamw_update", Spoil::not_twice).find("gave other bits"),
            std::string::npos);
}

TEST(OpCases, SelectOps) {
  EXPECT_EQ(select_ops({}), op_names());
  EXPECT_EQ(select_ops({"add"}), std::vector<std::string>{"add"});
  EXPECT_EQ(select_ops({"linear_backward"}), std::vector<std::string>{"linear_backward"});
  EXPECT_EQ(select_ops({"gelu", "fill"}),
            (std::vector<std::string>{"fill", "gelu_forward", "gelu_backward"}));
  for (const char* word : {"", "linear_", "attention_f", "frob"}) {
    EXPECT_THROW(select_ops({"add", word}), Error) << word;
  }
}

TEST(OpCheck, Errors) {
  const OpBounds bounds{1e-4, 1e-3, 0.1, 0.01};
  const std::vector<double> expected = {1, -1, 1, -1, 0, 0};  // rms 0.816
  std::vector<double> actual = expected;
  EXPECT_EQ(errors_of(actual, expected, 2, bounds, 0).mean_square, 0);
  actual[1] = -1.1;
  OpErrors errors = errors_of(actual, expected, 2, bounds, 0);
  EXPECT_NEAR(errors.mean_square, 0.01 / 4, 1e-12);
  EXPECT_NEAR(errors.worst_row, 0.01 / 2, 1e-12);
  EXPECT_NEAR(errors.worst_element, 0.1 / (0.1 * 0.8164966 + 0.01), 1e-6);
  // A row of zeros is measured by a hundredth of an average one.
  actual = expected;
  actual[4] = 0.01;
  EXPECT_NEAR(errors_of(actual, expected, 2, bounds, 0).worst_row, 1e-4 / (0.01 * 4 / 3), 1e-12);
  // Numbers far below the noise.
  EXPECT_NEAR(errors_of(actual, expected, 2, bounds, 10).mean_square, 1e-4 / 600, 1e-12);
}

TEST(OpCheck, WhatIsNotFiniteHasToBeEqual) {
  const OpBounds bounds{1, 1, 1, 1};
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const auto error = [&](double a, double b) {
    const std::vector<double> actual = {1, a}, expected = {1, b};
    return errors_of(actual, expected, 2, bounds, 0).mean_square;
  };
  EXPECT_EQ(error(nan, nan), 0);
  EXPECT_EQ(error(-kInfinity, -kInfinity), 0);
  EXPECT_EQ(error(nan, 1), kInfinity);
  EXPECT_EQ(error(1, nan), kInfinity);
  EXPECT_EQ(error(kInfinity, 1), kInfinity);
  EXPECT_EQ(error(kInfinity, -kInfinity), kInfinity);
}

}  // namespace
}  // namespace llm::test
