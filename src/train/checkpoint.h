// Checkpoints: atomic, verified, with fallback. A checkpoint is a model folder, or one of adapters
// (adapter_config.json, adapter_model.safetensors and a config.json for what the model is), plus
// optimizer.safetensors (both moments of every trained parameter under its global name),
// train_state.json, plan.json where the device chose among algorithms, and manifest.json (size and
// SHA-256 of every other file).
//
// A folder step_00000100 exists completely or not at all: everything is written into
// .tmp-step_00000100, each file synced, the manifest last, then the folder is renamed. Tensors are
// stored whole and by name, so another number of ranks reads them alike.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "model/gpt.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "train/train_state.h"
#include "weights/adapter_folder.h"

namespace llm {

struct ManifestEntry {
  int64_t bytes = 0;
  std::string sha256;
};
struct Manifest {
  int64_t step = 0;
  std::map<std::string, ManifestEntry> files;
};
Json to_json(const Manifest& manifest);
// Throws Error{input} with `where`.
Manifest parse_manifest(std::string_view text, const std::string& where);

std::string checkpoint_name(int64_t step);  // "step_00000100"

// Steps of the checkpoints in a folder, the newest first. Does not look inside.
std::vector<int64_t> list_checkpoints(const fs::path& directory);

// What a checkpoint holds besides weights and the optimizer's state.
struct CheckpointForm {
  const Tokenizer* tokenizer = nullptr;  // may stay null
  // The model that the adapters are for, whose weights are then left out; no name: all weights.
  AdapterBase adapter_base;
  std::optional<ChatTemplate> chat_template;  // that the model was taught in
};

// Writes directory/step_N and reads it back. Throws Error{disk} if anything fails, Error{numerics}
// if a weight or moment is not finite. On an error the older checkpoints are as they were.
void save_checkpoint(const fs::path& directory, const Gpt& model, const CheckpointForm& form,
                     const TrainState& state);

// Compares all files with the manifest. Throws Error{input} naming the file that differs.
void verify_checkpoint(const fs::path& checkpoint);
// The same for the files that make the model (weights, config, tokenizer) of any model folder; one
// without a manifest passes.
void verify_model_files(const fs::path& folder);

// Reads weights, moments and state; of a checkpoint of adapters, those alone. Verify first. Throws
// Error{input}.
TrainState load_checkpoint(const fs::path& checkpoint, Gpt& model);

// Keeps the device to the algorithms that the run began with. False where the checkpoint has none
// (it was made on the CPU). Throws Error{device} if they are not for this device and its libraries.
bool load_plan(const fs::path& checkpoint, Backend& backend);

// The newest checkpoint that verifies; nothing if there is none. Each bad one before it is warned
// about and, with set_aside, renamed to .damaged-step_N, so that it neither counts as kept nor is
// in the way.
std::optional<fs::path> find_newest_good_checkpoint(const fs::path& directory, bool set_aside);

// Removes all but the newest `keep` (at least two) and those in `also_keep`, the remains of
// interrupted saves, and damaged ones up to the newest step. Call after the newest one verified.
void prune_checkpoints(const fs::path& directory, int64_t keep, const std::set<int64_t>& also_keep);

}  // namespace llm
