#include <gtest/gtest.h>

#include <fstream>

#include "backend/tuning_plan.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

using test::expect_error;

const TuningPlan::Identity kHere = {{"gpu", "NVIDIA Imaginary"}, {"cublasLt", "130100"}};

TuningPlan sample_plan() {
  TuningPlan plan(kHere);
  plan.set("forward 64 x 768 to 2304", Json{{"variant", "bias"}, {"tile", 29}});
  plan.set("attention \"quoted\"", Json{{"kernel", "hopper"}, {"us", 261.5}});
  return plan;
}

TEST(TuningPlan, IsReadAsItWasWritten) {
  const TuningPlan plan = sample_plan();
  TuningPlan again(kHere);
  again.from_json(plan.to_json(), "plan.json");
  EXPECT_EQ(again.to_json(), plan.to_json());
  ASSERT_NE(again.find("attention \"quoted\""), nullptr);
  EXPECT_EQ((*again.find("attention \"quoted\""))["kernel"], "hopper");
  EXPECT_EQ(again.find("another"), nullptr);
  TuningPlan empty(kHere);
  empty.from_json(TuningPlan(kHere).to_json(), "empty.json");
  EXPECT_TRUE(empty.empty());
}

TEST(TuningPlan, KnowsWhatIsNotSavedYet) {
  const test::TemporaryDirectory directory;
  TuningPlan plan = sample_plan();
  EXPECT_TRUE(plan.changed());
  plan.save(directory / "deep/plan.json");
  EXPECT_FALSE(plan.changed());
  TuningPlan again(kHere);
  EXPECT_TRUE(again.load(directory / "deep/plan.json"));
  EXPECT_FALSE(again.changed());
  EXPECT_EQ(again.to_json(), plan.to_json());
  EXPECT_FALSE(again.load(directory / "none.json"));
}

TEST(TuningPlan, IsForOneDeviceAndItsLibraries) {
  const test::TemporaryDirectory directory;
  TuningPlan plan = sample_plan();
  plan.save(directory / "plan.json");
  TuningPlan elsewhere(TuningPlan::Identity{{"gpu", "another"}, {"cublasLt", "130100"}});
  // The cache does without it; a resumed run must not.
  EXPECT_FALSE(elsewhere.load(directory / "plan.json"));
  EXPECT_TRUE(elsewhere.empty());
  expect_error(ErrorKind::device, "NVIDIA Imaginary",
               [&] { elsewhere.from_json(plan.to_json(), "plan.json"); });
  EXPECT_TRUE(elsewhere.empty());
}

TEST(TuningPlan, RefusesWhatIsDamaged) {
  const std::string good = sample_plan().to_json();
  const auto refused = [&](const std::string& text, const std::string& part) {
    TuningPlan plan(kHere);
    expect_error(ErrorKind::input, part, [&] { plan.from_json(text, "plan.json"); });
    EXPECT_TRUE(plan.empty()) << text;
  };
  refused("", "plan.json");
  refused(good.substr(0, good.size() / 2), "plan.json");
  refused("[]", "plan.json");
  refused(R"({"format": "llm tuning plan 2", "identity": {}, "choices": {}})", "format");
  refused(R"({"format": "llm tuning plan 1", "identity": {"gpu": 1}, "choices": {}})", "gpu");
  refused(R"({"format": "llm tuning plan 1", "identity": {}, "choices": {"a": 1}})", "no object");
  refused(R"({"format": "llm tuning plan 1", "identity": {}, "choices": {"": {}}})", "key");
  refused(R"({"format": "llm tuning plan 1", "identity": {}})", "choices");
}

TEST(TuningPlan, ADamagedCacheSaysWhatToDo) {
  const test::TemporaryDirectory directory;
  std::ofstream(directory / "plan.json") << "{";
  TuningPlan plan(kHere);
  expect_error(ErrorKind::input, "delete the file", [&] { plan.load(directory / "plan.json"); });
}

}  // namespace
}  // namespace llm
