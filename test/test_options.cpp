#include <gtest/gtest.h>

#include <limits>

#include "support/expect_error.h"
#include "support/small_model.h"
#include "train/options.h"
#include "train/train_state.h"

namespace llm {
namespace {

using test::expect_error;

TrainOptions good_options() {
  TrainOptions options;
  options.model = test::golden_config();
  options.data = {{"a", "data/a", 0.6, "1234", "5678", 1000, 100}};
  options.length = 32;
  options.batch = 2;
  options.total_batch_tokens = 128;
  options.steps = 10;
  return options;
}

RunDescription good_run() {
  RunDescription run;
  run.version = "0.1.0";
  run.command = {"llm", "pretrain"};
  run.device = "cpu";
  run.threads = 2;
  run.options = good_options();
  return run;
}

TEST(OptionsTest, DefaultsOfNanoGpt) {
  const TrainOptions options;
  EXPECT_EQ(options.beta1, 0.9);
  EXPECT_EQ(options.beta2, 0.95);
  EXPECT_EQ(options.epsilon, 1e-8);
  EXPECT_EQ(options.weight_decay, 0.1);
  EXPECT_EQ(options.grad_clip, 1.0);
  EXPECT_EQ(options.schedule, ScheduleKind::cosine);
  EXPECT_EQ(options.seed, 42);
}

TEST(OptionsTest, RunJsonGoesBothWays) {
  RunDescription run = good_run();
  run.options.lr = 0.1 + 0.2;  // not a short decimal
  run.options.prompt = "\"\n\xff";
  run.options.on_spike = SpikeAction::stop;
  run.options.schedule = ScheduleKind::wsd;
  run.options.keep_best = true;
  const std::string text = to_pretty_text(to_json(run));
  const RunDescription again = parse_run_description(text, "run.json");
  EXPECT_EQ(again.options.lr, run.options.lr);
  EXPECT_EQ(to_pretty_text(to_json(again)), text);
}

TEST(OptionsTest, ValidateNamesTheOption) {
  validate(good_options(), 1);
  validate(good_options(), 2);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto refused = [](const char* option, auto change) {
    TrainOptions options = good_options();
    change(options);
    expect_error(ErrorKind::usage, option, [&] { validate(options, 1); });
  };
  refused("--steps", [](auto& o) { o.steps = 0; });
  refused("--steps", [](auto& o) { o.steps = int64_t{1} << 60; });
  refused("--length", [](auto& o) { o.length = 33; });
  refused("--batch", [](auto& o) { o.batch = 0; });
  refused("--total-batch-tokens", [](auto& o) { o.total_batch_tokens = 100; });
  refused("--lr", [](auto& o) { o.lr = 0; });
  refused("--lr", [&](auto& o) { o.lr = nan; });
  refused("--min-lr", [](auto& o) { o.min_lr = 1; });
  refused("--warmup", [](auto& o) { o.warmup = 11; });
  refused("--beta1", [](auto& o) { o.beta1 = 1; });
  refused("--beta2", [](auto& o) { o.beta2 = -0.1; });
  refused("--epsilon", [](auto& o) { o.epsilon = 0; });
  refused("--grad-clip", [](auto& o) { o.grad_clip = -1; });
  refused("--weight-decay", [&](auto& o) { o.weight_decay = nan; });
  refused("--decay-share", [](auto& o) { o.decay_share = 1.5; });
  refused("--keep", [](auto& o) { o.keep = 1; });
  refused("--eval-every", [](auto& o) { o.eval_every = -1; });
  refused("--seed", [](auto& o) { o.seed = -1; });
  refused("heads", [](auto& o) { o.model.heads = 5; });
}

TEST(OptionsTest, TotalBatchMustDivideAmongRanks) {
  TrainOptions options = good_options();
  expect_error(ErrorKind::usage, "for example 192", [&] { validate(options, 3); });
}

TEST(OptionsTest, OnlySomeMayChangeOnResume) {
  TrainOptions now = good_options();
  now.steps = 20;
  now.batch = 4;
  now.eval_every = 1;
  now.save_every = 3;
  now.keep = 7;
  now.data[0].path = "elsewhere/a";
  require_resumable(good_options(), now, "run");
  const auto refused = [](const char* part, auto change) {
    TrainOptions options = good_options();
    change(options);
    expect_error(ErrorKind::usage, part,
                 [&] { require_resumable(good_options(), options, "run"); });
  };
  refused("--lr is 0.5, but the run began with 0.0006", [](auto& o) { o.lr = 0.5; });
  refused("--seed is 7, but the run began with 42", [](auto& o) { o.seed = 7; });
  refused("--layers is 3, but the run began with 2", [](auto& o) { o.model.layers = 3; });
  refused("--untied is true", [](auto& o) { o.model.tied = false; });
  refused("--no-qkv-bias", [](auto& o) { o.model.qkv_bias = false; });
  refused("--dropout", [](auto& o) { o.model.set_dropout(0.5); });
  refused("--data", [](auto& o) { o.data[0].hash = "other"; });
  refused("--data", [](auto& o) { o.data[0].weight = 1; });
  refused("--total-batch-tokens", [](auto& o) { o.total_batch_tokens = 64; });
  refused("--schedule is \"linear\"", [](auto& o) { o.schedule = ScheduleKind::linear; });
  refused("--on-spike", [](auto& o) { o.on_spike = SpikeAction::ignore; });
}

TEST(OptionsTest, BadRunJsonIsRefusedWithTheKey) {
  const Json good = to_json(good_run());
  const auto refused = [&](const char* part, auto change) {
    Json json = good;
    change(json);
    expect_error(ErrorKind::input, part, [&] { run_description_from_json(json, "run/run.json"); });
  };
  refused("format", [](Json& json) { json["format"] = 2; });
  refused("lr", [](Json& json) { json["options"].erase("lr"); });
  refused("steps", [](Json& json) { json["options"]["steps"] = "many"; });
  refused("--lr", [](Json& json) { json["options"]["lr"] = -1; });
  refused("schedule", [](Json& json) { json["options"]["schedule"] = "zigzag"; });
  refused("n_layer", [](Json& json) { json["model"]["n_layer"] = 0; });
  refused("weight", [](Json& json) { json["data"][0]["weight"] = nullptr; });
  refused("options", [](Json& json) { json["options"] = 3; });
}

TEST(TrainStateTest, GoesBothWays) {
  TrainState state;
  state.step = 100;
  state.samples = 1200;
  state.tokens = 76800;
  state.updates = 98;
  state.seed = 42;
  state.bad_in_a_row = 1;
  state.skipped = 2;
  state.val_loss = 1.0 / 3;
  state.best_val_loss = 0.1 + 0.2;
  state.best_step = 90;
  for (int64_t step = 50; step < 100; ++step)
    state.window.add(step, 1.0f / static_cast<float>(step));
  const std::string text = to_pretty_text(to_json(state));
  const TrainState again = parse_train_state(text, "train_state.json");
  EXPECT_EQ(to_pretty_text(to_json(again)), text);
  EXPECT_EQ(again.best_val_loss, state.best_val_loss);
  ASSERT_EQ(again.window.entries().size(), 50u);
  for (size_t i = 0; i < 50; ++i) {
    EXPECT_EQ(again.window.entries()[i].loss, state.window.entries()[i].loss);
  }
  EXPECT_EQ(to_pretty_text(to_json(parse_train_state(to_pretty_text(to_json(TrainState{})), "s"))),
            to_pretty_text(to_json(TrainState{})));
}

TEST(TrainStateTest, BadOnesAreRefused) {
  const Json good = to_json(TrainState{});
  const auto refused = [&](const char* key, const Json& value) {
    Json json = good;
    json[key] = value;
    expect_error(ErrorKind::input, key, [&] { parse_train_state(to_line(json), "state"); });
  };
  refused("step", -1);
  refused("updates", int64_t{1} << 40);
  refused("best_step", 5);
  refused("window", Json::parse("[[1, 2.0]]"));  // later than step
  refused("window", Json::parse("[[0, 2.0]]"));
  refused("window", Json::parse("[[1, 1e60]]"));
  refused("window", Json::parse("[1, 2]"));
  refused("val_loss", "low");
}

}  // namespace
}  // namespace llm
