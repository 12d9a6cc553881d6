// Saving and loading checkpoints: exact, atomic under every failure, suspicious of every file.
#include <gtest/gtest.h>

#include <limits>

#include "support/expect_error.h"
#include "support/small_run.h"
#include "train/checkpoint.h"

namespace llm {
namespace {

using test::expect_error;
using test::SmallRun;

TrainState state_at(int64_t step) {
  TrainState state;
  state.step = step;
  state.samples = 4 * step;
  state.updates = static_cast<int32_t>(step);
  return state;
}

class CheckpointTest : public testing::Test {
 protected:
  void TearDown() override { set_file_hook({}); }

  // Another content for each step, so that a mix of two checkpoints would show.
  void save(int64_t step) {
    fill(step);
    save_checkpoint(run_.checkpoints(), run_.workspace().model, {}, state_at(step));
  }
  void fill(int64_t step) {
    ParameterStore& store = run_.workspace().model.parameters();
    store.initialize(static_cast<uint64_t>(step));
    run_.workspace().backend.fill(store.first_moments(), 0.5 * static_cast<double>(step));
    run_.workspace().backend.fill(store.second_moments(), static_cast<double>(step));
  }
  fs::path path(int64_t step) const { return run_.checkpoints() / checkpoint_name(step); }
  // The hash that the model has after loading the newest good checkpoint, and its step.
  std::pair<int64_t, std::string> load_newest() {
    run_.workspace().backend.fill(run_.workspace().model.parameters().values(), -1);
    const auto good = find_newest_good_checkpoint(run_.checkpoints(), /*set_aside=*/false);
    if (!good) return {-1, ""};
    const TrainState state = load_checkpoint(*good, run_.workspace().model);
    return {state.step, run_.tensors_hash()};
  }

  SmallRun run_;
};

TEST_F(CheckpointTest, LoadsWhatWasSaved) {
  save(7);
  const std::string saved = run_.tensors_hash();
  fill(8);
  ASSERT_NE(run_.tensors_hash(), saved);
  EXPECT_EQ(load_newest(), std::make_pair(int64_t{7}, saved));
}

TEST_F(CheckpointTest, SameStateGivesTheSameBytes) {
  save(3);
  const std::string first = read_text_file(path(3) / "manifest.json");
  save(3);
  EXPECT_EQ(read_text_file(path(3) / "manifest.json"), first);
}

TEST_F(CheckpointTest, IsAModelFolder) {
  save(3);
  EXPECT_TRUE(fs::exists(path(3) / "config.json"));
  EXPECT_TRUE(fs::exists(path(3) / "model.safetensors"));
  EXPECT_TRUE(fs::exists(path(3) / "generation_config.json"));
}

// Whatever call of a save fails, the checkpoint before loads, or the new one does, whole.
TEST_F(CheckpointTest, FailureOfAnyCallLeavesAGoodCheckpoint) {
  save(1);
  const std::string first = run_.tensors_hash();
  fill(2);
  const std::string second = run_.tensors_hash();
  int64_t calls = 0;
  set_file_hook([&](int64_t, FileOperation, const fs::path&) { ++calls; });
  save(2);
  set_file_hook({});
  ASSERT_GT(calls, 20);
  int64_t old_one = 0;
  for (bool onwards : {false, true}) {  // a slip, and a disk that stays full
    for (int64_t k = 1; k <= calls; ++k) {
      remove_tree(path(2));
      set_file_hook([=](int64_t number, FileOperation, const fs::path& where) {
        if (number == k || (onwards && number > k)) fail_disk(where.string(), "test", 28);
      });
      bool failed = false;
      try {
        save(2);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::disk) << error.what();
        failed = true;
      }
      set_file_hook({});
      const auto [step, hash] = load_newest();
      ASSERT_TRUE(step == 1 || step == 2) << "call " << k;
      EXPECT_EQ(hash, step == 1 ? first : second) << "call " << k;
      if (!failed) {
        EXPECT_EQ(step, 2) << "call " << k;
      }
      old_one += step == 1;
    }
  }
  EXPECT_GT(old_one, calls);  // the hook did hit the save itself
}

TEST_F(CheckpointTest, DamagedFilesAreFoundAndTheOneBeforeIsUsed) {
  save(1);
  const std::string first = run_.tensors_hash();
  std::vector<std::string> names;
  save(2);
  for (const auto& entry : fs::directory_iterator(path(2))) {
    names.push_back(entry.path().filename().string());
  }
  ASSERT_GE(names.size(), 6u);
  for (const std::string& name : names) {
    for (int damage : {0, 1, 2}) {
      remove_tree(path(2));
      save(2);
      verify_checkpoint(path(2));
      if (damage == 0) test::flip_byte(path(2) / name);
      if (damage == 1) test::truncate_half(path(2) / name);
      if (damage == 2) fs::remove(path(2) / name);
      testing::internal::CaptureStderr();
      EXPECT_EQ(load_newest(), std::make_pair(int64_t{1}, first)) << name << damage;
      const std::string warning = testing::internal::GetCapturedStderr();
      EXPECT_NE(warning.find("warning"), std::string::npos);
      EXPECT_NE(warning.find("step 2"), std::string::npos) << warning;
    }
  }
}

TEST_F(CheckpointTest, DamagedOneIsSetAsideAndRemovedOnceTheRunIsBeyondIt) {
  save(1);
  save(2);
  test::flip_byte(path(2) / "model.safetensors");
  find_newest_good_checkpoint(run_.checkpoints(), /*set_aside=*/true);
  EXPECT_EQ(list_checkpoints(run_.checkpoints()), std::vector<int64_t>{1});
  const fs::path aside = run_.checkpoints() / ".damaged-step_00000002";
  EXPECT_TRUE(fs::exists(aside));
  prune_checkpoints(run_.checkpoints(), 2, {});
  EXPECT_TRUE(fs::exists(aside));
  save(2);
  prune_checkpoints(run_.checkpoints(), 2, {});
  EXPECT_FALSE(fs::exists(aside));
  EXPECT_EQ(list_checkpoints(run_.checkpoints()), (std::vector<int64_t>{2, 1}));
}

TEST_F(CheckpointTest, AModelIsUsedOnlyIfItsOwnFilesAreWhole) {
  save(1);
  test::flip_byte(path(1) / "optimizer.safetensors");
  verify_model_files(path(1));
  test::flip_byte(path(1) / "model.safetensors");
  EXPECT_THROW(verify_model_files(path(1)), Error);
  fs::remove(path(1) / "manifest.json");
  verify_model_files(path(1));  // nothing to compare with
}

TEST_F(CheckpointTest, PruneKeepsTwoAndTheNamed) {
  for (int64_t step : {0, 1, 2, 3, 4, 5}) save(step);
  make_directories(run_.checkpoints() / ".tmp-step_00000009");
  prune_checkpoints(run_.checkpoints(), 0, {1});
  EXPECT_EQ(list_checkpoints(run_.checkpoints()), (std::vector<int64_t>{5, 4, 1}));
  EXPECT_FALSE(fs::exists(run_.checkpoints() / ".tmp-step_00000009"));
}

TEST_F(CheckpointTest, OtherNamesAreNoCheckpoints) {
  for (const char* name :
       {"step_1", "step_0000000x", "step_-0000001", "steps", ".tmp-step_00000001"}) {
    make_directories(run_.checkpoints() / name);
  }
  EXPECT_TRUE(list_checkpoints(run_.checkpoints()).empty());
  EXPECT_EQ(find_newest_good_checkpoint(run_.checkpoints(), true), std::nullopt);
}

TEST_F(CheckpointTest, RenamedCheckpointIsRefused) {
  save(1);
  rename_path(path(1), path(5));
  expect_error(ErrorKind::input, "is of step 1", [&] { verify_checkpoint(path(5)); });
}

TEST_F(CheckpointTest, NothingNotFiniteIsSaved) {
  ParameterStore& store = run_.workspace().model.parameters();
  for (Tensor arena : {store.values(), store.first_moments(), store.second_moments()}) {
    for (float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      fill(1);
      arena.f32()[arena.size() / 2] = bad;
      expect_error(ErrorKind::numerics, "NaN or infinite", [&] {
        save_checkpoint(run_.checkpoints(), run_.workspace().model, {}, state_at(1));
      });
      EXPECT_TRUE(list_checkpoints(run_.checkpoints()).empty());
    }
  }
}

TEST(ManifestTest, BadOnesAreRefused) {
  const std::string hash(64, 'a');
  Manifest manifest;
  manifest.step = 3;
  for (const char* name :
       {"config.json", "model.safetensors", "optimizer.safetensors", "train_state.json"}) {
    manifest.files[name] = {10, hash};
  }
  const Json good = to_json(manifest);
  EXPECT_EQ(parse_manifest(to_line(good), "m").files.size(), 4u);
  const auto refused = [&](const char* part, auto change) {
    Json json = good;
    change(json);
    expect_error(ErrorKind::input, part, [&] { parse_manifest(to_line(json), "m"); });
  };
  refused("format", [](Json& json) { json["format"] = 9; });
  refused("step", [](Json& json) { json["step"] = -1; });
  refused("train_state.json", [](Json& json) { json["files"].erase("train_state.json"); });
  refused("../x", [](Json& json) { json["files"]["../x"] = json["files"]["config.json"]; });
  refused("/etc/passwd",
          [](Json& json) { json["files"]["/etc/passwd"] = json["files"]["config.json"]; });
  refused("bytes", [](Json& json) { json["files"]["config.json"]["bytes"] = -5; });
  refused("sha256", [](Json& json) { json["files"]["config.json"]["sha256"] = "abc"; });
  refused("files", [](Json& json) { json["files"] = Json::array(); });
}

}  // namespace
}  // namespace llm
