// The folder of a run: run.json, log.jsonl, checkpoints/ and, in the end, the files of a model.
//
// Records of log.jsonl, one JSON object per line; keys in [] only where they apply, `seconds` and
// `tokens_per_second` are the only ones that differ when the same run is repeated:
//   {"type": "step", "step", "loss", "lr", "norm", "applied", "tokens", "tokens_per_second",
//    "seconds"}           tokens: trained on so far; seconds: of this step
//   {"type": "skipped", "step", "reason": "not finite" | "spike", "loss", "norm", ["limit"],
//    "first_sample", "last_sample"}
//   {"type": "eval", "step", "val_loss", "targets", "best", "seconds", ["parts": {NAME: loss}],
//    ["mixture": {NAME: share of the samples so far}]}
//   {"type": "sample", "step", "prompt", "text"}
//   {"type": "save", "step", "seconds", ["error"]}
// A loss that is not finite is null.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "train/options.h"

namespace llm {

// log.jsonl that outlives a full disk: records that cannot be written wait in memory for the next
// call. The first failure is warned about.
class RunLog {
 public:
  explicit RunLog(fs::path path);
  void append(const Json& record);
  // Writes what waits and syncs. Throws Error{disk} if it cannot.
  void sync();

 private:
  void write_waiting();

  fs::path path_;
  std::unique_ptr<JsonLinesLog> log_;
  std::vector<Json> waiting_;
  bool torn_ = false;  // the file may end in half a line
  bool warned_ = false;
};

class RunFolder {
 public:
  explicit RunFolder(fs::path path) : path_(std::move(path)) {}

  const fs::path& path() const { return path_; }
  fs::path checkpoints() const { return path_ / "checkpoints"; }
  fs::path log_path() const { return path_ / "log.jsonl"; }
  fs::path description_path() const { return path_ / "run.json"; }

  // Throws Error{usage} if the folder holds anything but the remains of a start that did not get as
  // far as the checkpoint of step 0.
  void require_new() const;
  // Throws Error{input} if there is no run in it.
  RunDescription read_description() const;
  // Creates the folder and takes its lock, held while this object lives. Error{usage} if another
  // process holds it.
  void open();

  void write_description(const RunDescription& run) const;
  // Removes the log of an attempt that never began.
  void clear_log() const;
  // Cuts off what came after the checkpoint of `step`; its own "save" record is written again.
  void cut_log(int64_t step) const;
  // Copies the model files of a checkpoint to the root of the folder, model.safetensors last.
  void publish(const fs::path& checkpoint) const;

 private:
  fs::path path_;
  std::unique_ptr<DirectoryLock> lock_;
};

}  // namespace llm
