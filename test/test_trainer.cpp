// The training loop in this process: gating of bad steps, spikes, exact resume, full disks.
#include <gtest/gtest.h>
#include <signal.h>

#include <cmath>
#include <limits>
#include <set>

#include "support/expect_error.h"
#include "support/small_run.h"
#include "train/signals.h"
#include "train/trainer.h"

namespace llm {
namespace {

using test::expect_error;
using test::small_options;
using test::SmallRun;
using test::without_times;

// Next-token training whose loss becomes another value, or whose gradient NaN, at chosen steps.
class Disturbed : public Objective {
 public:
  const char* name() const override { return "disturbed"; }
  double count(const Batch& batch, const BatchBuffers& buffers) const override {
    return plain_.count(batch, buffers);
  }
  void accumulate(Tensor loss, Gpt& model, ActivationArena& arena, const DeviceBatch& batch,
                  Tensor inverse_targets, uint64_t seed) override {
    plain_.accumulate(loss, model, arena, batch, inverse_targets, seed);
    const int64_t step = micro_batches++ / 2 + 1;
    if (losses.contains(step)) loss.f32()[0] = losses[step];
    if (bad_gradients.contains(step)) {
      model.parameters().gradients().f32()[3] = std::numeric_limits<float>::infinity();
    }
  }
  void evaluate(Tensor sum, Gpt& model, ActivationArena& arena, const DeviceBatch& batch) override {
    plain_.evaluate(sum, model, arena, batch);
  }

  int64_t micro_batches = 0;
  std::map<int64_t, float> losses;
  std::set<int64_t> bad_gradients;

 private:
  NextToken plain_;
};

constexpr float kNanLoss = std::numeric_limits<float>::quiet_NaN();

std::vector<Json> of_type(const std::vector<Json>& records, const std::string& type) {
  std::vector<Json> result;
  for (const Json& record : records) {
    if (record["type"] == type) result.push_back(record);
  }
  return result;
}

class TrainerTest : public testing::Test {
 protected:
  void TearDown() override { set_file_hook({}); }
};

TEST_F(TrainerTest, LearnsAndWritesItsLog) {
  TrainOptions options = small_options();
  options.steps = 60;
  options.eval_every = 20;
  SmallRun run(options);
  const TrainSummary summary = run.train();
  EXPECT_EQ(summary.steps, 60);
  EXPECT_EQ(summary.tokens, 60 * 64);
  const std::vector<Json> log = run.log();
  const std::vector<Json> steps = of_type(log, "step"), evals = of_type(log, "eval");
  ASSERT_EQ(steps.size(), 60u);
  ASSERT_EQ(evals.size(), 4u);  // 0, 20, 40, 60
  for (size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i]["step"], i + 1);
  EXPECT_LT(evals[3]["val_loss"].get<double>(), evals[0]["val_loss"].get<double>() - 0.3);
  EXPECT_EQ(evals[3]["val_loss"].get<double>(), summary.val_loss);
  EXPECT_EQ(of_type(log, "save").size(), 13u);
  EXPECT_EQ(run.log().front()["type"], "eval");
}

TEST_F(TrainerTest, UtilizationIsLoggedWhereThePeakIsKnown) {
  TrainOptions options = small_options();
  options.steps = 2;
  SmallRun unknown(options), known(options);
  unknown.train();
  EXPECT_FALSE(of_type(unknown.log(), "step").front().contains("mfu"));
  known.set_peak_rate(1e6);
  testing::internal::CaptureStderr();
  known.train();
  EXPECT_NE(testing::internal::GetCapturedStderr().find("% MFU"), std::string::npos);
  const Json step = of_type(known.log(), "step").front();
  EXPECT_NEAR(step["mfu"].get<double>(), step["tokens_per_second"].get<double>() / 1e6, 1e-6);
}

TEST_F(TrainerTest, ValidationCountsEveryTargetOnce) {
  SmallRun run;
  run.train();
  const int64_t targets = of_type(run.log(), "eval")[0]["targets"];
  EXPECT_NEAR(static_cast<double>(targets), 400, 10);  // a tenth of the text, less one
}

TEST_F(TrainerTest, MicroBatchesGiveTheMeanOverTheWholeBatch) {
  TrainOptions one = small_options(), four = small_options();
  one.batch = 4;
  four.batch = 1;
  SmallRun a(one), b(four);
  const double x = a.train().val_loss, y = b.train().val_loss;
  EXPECT_NEAR(x, y, 1e-5 * x);
}

TEST_F(TrainerTest, NotFiniteChangesNoBit) {
  // Steps 1 to 4 normally; 5 and 6 bad in two ways. The run that stops after 4 must have the same
  // tensors, update count and window.
  for (bool in_loss : {true, false}) {
    TrainOptions options = small_options();
    options.decay_steps = 20;
    options.steps = 4;
    SmallRun clean(options);
    clean.train();

    Disturbed disturbed;
    options.steps = 6;
    if (in_loss) {
      disturbed.losses = {{5, kNanLoss}, {6, std::numeric_limits<float>::infinity()}};
    } else {
      disturbed.bad_gradients = {5, 6};
    }
    SmallRun run(options, &disturbed);
    run.train();
    EXPECT_EQ(run.tensors_hash(), clean.tensors_hash());
    EXPECT_EQ(run.workspace().step.updates(), 4);
    EXPECT_EQ(run.state().window.entries().size(), 4u);
    EXPECT_EQ(run.state().bad_in_a_row, 2);
    EXPECT_EQ(run.state().samples, 6 * 4);

    const std::vector<Json> skipped = of_type(run.log(), "skipped");
    ASSERT_EQ(skipped.size(), 2u);
    EXPECT_EQ(skipped[0]["step"], 5);
    EXPECT_EQ(skipped[0]["reason"], "not finite");
    EXPECT_EQ(skipped[0]["first_sample"], 16);
    EXPECT_EQ(skipped[0]["last_sample"], 19);
  }
}

TEST_F(TrainerTest, ThreeInARowStopTheRunOneStepLateAtMost) {
  TrainOptions options = small_options();
  options.steps = 40;
  Disturbed disturbed;
  // Two, a good one, then three.
  disturbed.losses = {{2, kNanLoss}, {3, kNanLoss}, {11, kNanLoss}, {12, kNanLoss}, {13, kNanLoss}};
  SmallRun run(options, &disturbed);
  expect_error(ErrorKind::numerics, "3 times in a row", [&] { run.train(); });
  EXPECT_LE(run.state().step, 14);
  EXPECT_EQ(list_checkpoints(run.checkpoints()).front(), 10);
}

TEST_F(TrainerTest, BadStepsInARowAreCountedAcrossAResume) {
  TrainOptions options = small_options();
  Disturbed disturbed;
  disturbed.losses = {{9, kNanLoss}, {10, kNanLoss}, {11, kNanLoss}};
  SmallRun run(options, &disturbed);
  run.train();
  run.options().steps = 20;
  const TrainState state = run.resume();
  EXPECT_EQ(state.bad_in_a_row, 2);
  expect_error(ErrorKind::numerics, "step 11", [&] { run.train(state); });
}

TEST_F(TrainerTest, SpikesAreSkippedAndLogged) {
  TrainOptions options = small_options();
  options.steps = 45;
  Disturbed disturbed;
  disturbed.losses = {{40, 1e6f}};
  SmallRun run(options, &disturbed);
  EXPECT_EQ(run.train().skipped, 1);
  const std::vector<Json> skipped = of_type(run.log(), "skipped");
  ASSERT_EQ(skipped.size(), 1u);
  EXPECT_EQ(skipped[0]["reason"], "spike");
  EXPECT_LT(skipped[0]["limit"].get<double>(), 20);
  EXPECT_EQ(run.workspace().step.updates(), 44);
}

TEST_F(TrainerTest, SpikesStopTheRunWhereAsked) {
  TrainOptions options = small_options();
  options.steps = 45;
  options.on_spike = SpikeAction::stop;
  Disturbed disturbed;
  disturbed.losses = {{40, 1e6f}};
  SmallRun run(options, &disturbed);
  expect_error(ErrorKind::numerics, "step 40", [&] { run.train(); });
  EXPECT_LE(run.state().step, 41);
}

TEST_F(TrainerTest, SpikesAreIgnoredWhereAsked) {
  TrainOptions options = small_options();
  options.steps = 45;
  options.on_spike = SpikeAction::ignore;
  Disturbed disturbed;
  disturbed.losses = {{40, 1e6f}};
  SmallRun run(options, &disturbed);
  EXPECT_EQ(run.train().skipped, 0);
}

// Straight, and stopped at every step with a resume each time: same bits, same log. A spike in the
// middle checks that the window is part of the state.
TEST_F(TrainerTest, ResumeAtEveryStepIsExact) {
  TrainOptions options = small_options();
  options.steps = options.decay_steps = 40;
  options.save_every = 1;
  options.model.set_dropout(0.1f);
  Disturbed disturbed, again;
  disturbed.losses = again.losses = {{36, 100.0f}};
  SmallRun straight(options, &disturbed);
  straight.train();

  SmallRun stopped(options, &again);
  TrainState state;
  for (int64_t step = 1; step <= 40; ++step) {
    stopped.options().steps = step;
    // Evaluations belong to steps that are multiples of 5 only, not to each end.
    stopped.train(state);
    stopped.workspace().backend.fill(stopped.workspace().model.parameters().values(), 0);
    state = stopped.resume();
    again.micro_batches = 2 * step;
  }
  EXPECT_EQ(stopped.tensors_hash(), straight.tensors_hash());
  const auto steps_of = [](const SmallRun& run) {
    std::vector<Json> records = without_times(run.log());
    std::erase_if(records, [](const Json& record) {
      return record["type"] != "step" && record["type"] != "skipped";
    });
    return records;
  };
  EXPECT_EQ(steps_of(stopped), steps_of(straight));
}

TEST_F(TrainerTest, ResumedLogIsThatOfAStraightRun) {
  TrainOptions options = small_options();
  options.steps = 20;
  SmallRun straight(options), resumed(options);
  straight.train();
  resumed.train();
  // As if killed after step 20: the newest checkpoint is lost, so training goes on from 15.
  remove_tree(resumed.checkpoints() / checkpoint_name(20));
  const TrainState state = resumed.resume();
  EXPECT_EQ(state.step, 15);
  resumed.train(state);
  EXPECT_EQ(without_times(resumed.log()), without_times(straight.log()));
  EXPECT_EQ(resumed.tensors_hash(), straight.tensors_hash());
}

// Each part of the state is needed: without it the result differs.
TEST_F(TrainerTest, ResumeWithoutOnePartOfTheStateDiffers) {
  TrainOptions options = small_options();
  options.steps = 20;
  SmallRun straight(options);
  straight.train();
  const auto hash_after = [&](auto spoil) {
    SmallRun run(options);
    run.train();
    remove_tree(run.checkpoints() / checkpoint_name(20));
    TrainState state = run.resume();
    spoil(run, state);
    run.train(state);
    return run.tensors_hash();
  };
  EXPECT_EQ(hash_after([](SmallRun&, TrainState&) {}), straight.tensors_hash());
  const std::string expected = straight.tensors_hash();
  EXPECT_NE(hash_after([](SmallRun& run, TrainState&) { run.workspace().step.set_updates(0); }),
            expected);
  EXPECT_NE(hash_after([](SmallRun&, TrainState& state) { state.samples = 0; }), expected);
  EXPECT_NE(hash_after([](SmallRun& run, TrainState&) {
              run.workspace().backend.fill(run.workspace().model.parameters().first_moments(), 0);
            }),
            expected);
  EXPECT_NE(hash_after([](SmallRun& run, TrainState&) {
              run.workspace().backend.fill(run.workspace().model.parameters().second_moments(),
                                           1e-6);
            }),
            expected);
}

TEST_F(TrainerTest, FullDiskAtASaveDoesNotStopTraining) {
  TrainOptions options = small_options();
  options.steps = 20;
  SmallRun plain(options), run(options);
  plain.train();
  set_file_hook([](int64_t, FileOperation operation, const fs::path& path) {
    if (operation != FileOperation::remove &&
        path.string().find(".tmp-step_00000010") != std::string::npos) {
      fail_disk(path.string(), "write", 28);
    }
  });
  testing::internal::CaptureStderr();
  run.train();
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("step 10 not saved"), std::string::npos) << said;
  EXPECT_NE(said.find("No space left"), std::string::npos) << said;
  EXPECT_EQ(run.tensors_hash(), plain.tensors_hash());
  EXPECT_EQ(list_checkpoints(run.checkpoints()), (std::vector<int64_t>{20, 15}));
}

TEST_F(TrainerTest, FullDiskForTheLogAloneKeepsTheRecords) {
  TrainOptions options = small_options();
  options.steps = 20;
  SmallRun plain(options), run(options);
  plain.train();
  // Three writes right after the checkpoint of step 5: the ninth is the record of that save.
  int64_t writes = 0;
  set_file_hook([&](int64_t, FileOperation operation, const fs::path& path) {
    if (operation != FileOperation::write || path.filename() != "log.jsonl") return;
    if (++writes >= 10 && writes < 13) fail_disk(path.string(), "write", 28);
  });
  run.train();
  EXPECT_GT(writes, 13);
  EXPECT_EQ(without_times(run.log()), without_times(plain.log()));
}

TEST_F(TrainerTest, FullDiskAtTheLastSaveIsAnError) {
  SmallRun run;
  set_file_hook([](int64_t, FileOperation operation, const fs::path& path) {
    if (operation != FileOperation::remove &&
        path.string().find("step_00000010") != std::string::npos) {
      fail_disk(path.string(), "write", 28);
    }
  });
  expect_error(ErrorKind::disk, "No space left", [&] { run.train(); });
  set_file_hook({});
  EXPECT_EQ(list_checkpoints(run.checkpoints()).front(), 5);
}

TEST_F(TrainerTest, KeepBestKeepsTheBest) {
  TrainOptions options = small_options();
  options.lr = 3;  // gets worse after a while
  options.min_lr = 1;
  options.steps = 30;
  options.eval_every = 1;
  options.save_every = 0;
  options.keep_best = true;
  options.on_spike = SpikeAction::ignore;
  SmallRun run(options);
  const TrainSummary summary = run.train();
  double best = 1e9;
  int64_t best_step = -1;
  for (const Json& record : of_type(run.log(), "eval")) {
    if (record["val_loss"].get<double>() >= best) continue;
    best = record["val_loss"];
    best_step = record["step"];
  }
  EXPECT_EQ(summary.best_step, best_step);
  EXPECT_EQ(summary.best_val_loss, best);
  EXPECT_TRUE(fs::exists(run.checkpoints() / checkpoint_name(best_step)));
}

TEST_F(TrainerTest, SignalSavesAndStops) {
  TrainOptions options = small_options();
  options.steps = 1000;
  options.save_every = 0;
  class Stopping : public Disturbed {
   public:
    void accumulate(Tensor loss, Gpt& model, ActivationArena& arena, const DeviceBatch& batch,
                    Tensor inverse_targets, uint64_t seed) override {
      if (micro_batches == 12) raise(SIGTERM);  // in the middle of step 7
      Disturbed::accumulate(loss, model, arena, batch, inverse_targets, seed);
    }
  } stopping;
  SmallRun run(options, &stopping);
  const StopSignals signals;
  expect_error(ErrorKind::preempted, "SIGTERM after step 7", [&] { run.train(); });
  EXPECT_EQ(list_checkpoints(run.checkpoints()).front(), 7);
  verify_checkpoint(run.checkpoints() / checkpoint_name(7));
}

TEST_F(TrainerTest, SignalBeforeTheFirstStepStopsThere) {
  const StopSignals signals;
  raise(SIGTERM);
  SmallRun run(small_options());
  expect_error(ErrorKind::preempted, "SIGTERM after step 0", [&] { run.train(); });
  EXPECT_EQ(list_checkpoints(run.checkpoints()), std::vector<int64_t>{0});
}

}  // namespace
}  // namespace llm
