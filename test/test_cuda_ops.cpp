// Every op of the CUDA backend against the plain CPU loops: what `llm check` does, op by op.
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "cli/device.h"
#include "cli/op_check.h"

namespace llm::test {
namespace {

class CudaOps : public testing::TestWithParam<std::string> {};

TEST_P(CudaOps, AsThePlainLoops) {
  std::unique_ptr<Backend> backend;
  try {
    backend = make_backend("cuda");
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::device) throw;
    GTEST_SKIP() << error.what();
  }
  OpCheckOptions options;
  options.ops = {GetParam()};
  options.seed = std::random_device()();
  options.seen = [](const OpCase& each, const OpOutcome& outcome) {
    EXPECT_TRUE(outcome.passed()) << each.op << " " << dtype_name(each.dtype) << " " << each.shape
                                  << ": " << outcome.problem;
  };
  require_passed(check_ops(*backend, options), backend->name(), options.seed);
}

INSTANTIATE_TEST_SUITE_P(Ops, CudaOps, testing::ValuesIn(op_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace llm::test
