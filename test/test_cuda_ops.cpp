// Every op of the CUDA backend against the plain CPU loops: what `llm check` does, op by op.
#include <gtest/gtest.h>

#include <random>

#include "cli/op_check.h"
#include "support/gpu.h"

namespace llm::test {
namespace {

class CudaOps : public testing::TestWithParam<std::string> {};

void expect_as_the_plain_loops(Backend& backend, OpCheckOptions options) {
  options.seed = std::random_device()();
  options.seen = [](const OpCase& each, const OpOutcome& outcome) {
    EXPECT_TRUE(outcome.passed()) << each.op << " " << dtype_name(each.dtype) << " " << each.shape
                                  << ": " << outcome.problem;
  };
  require_passed(check_ops(backend, options), backend.name(), options.seed);
}

TEST_P(CudaOps, AsThePlainLoops) {
  const auto backend = gpu_backend();
  if (!backend) GTEST_SKIP() << "no GPU here";
  OpCheckOptions options;
  options.ops = {GetParam()};
  expect_as_the_plain_loops(*backend, options);
}

// Our kernels may not rely on what cuDNN asked for, scratch memory for one.
TEST(CudaAttention, AsThePlainLoopsWithoutCudnn) {
  DeviceOptions device;
  device.attention = "own";
  const auto backend = gpu_backend(device);
  if (!backend) GTEST_SKIP() << "no GPU here";
  OpCheckOptions options;
  options.ops = {"attention_forward", "attention_backward"};
  options.large = false;
  expect_as_the_plain_loops(*backend, options);
}

INSTANTIATE_TEST_SUITE_P(Ops, CudaOps, testing::ValuesIn(op_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace llm::test
