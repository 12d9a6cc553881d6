#include "train/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "train/optimizer_file.h"
#include "weights/adapter_folder.h"
#include "weights/model_folder.h"

namespace llm {
namespace {

constexpr const char* kManifestFile = "manifest.json";
constexpr const char* kStateFile = "train_state.json";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr const char* kPlanFile = "plan.json";
constexpr const char* kTemporaryPrefix = ".tmp-";
constexpr const char* kDamagedPrefix = ".damaged-";

// The step in "step_00000100", -1 for another name.
int64_t step_of_name(std::string_view name) {
  constexpr std::string_view kPrefix = "step_";
  if (!name.starts_with(kPrefix)) return -1;
  name.remove_prefix(kPrefix.size());
  if (name.size() < 8 || name.size() > 16) return -1;
  int64_t step = 0;
  for (char digit : name) {
    if (digit < '0' || digit > '9') return -1;
    step = step * 10 + (digit - '0');
  }
  return step;
}

void write_synced(const fs::path& path, std::string_view text) {
  FileWriter file(path);
  file.write(text);
  file.sync();
  file.close();
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool all_finite(Backend& backend, Tensor arena, Tensor sum) {
  // A sum of squares is finite only if every term is. Pieces, so that large models do not overflow.
  constexpr int64_t kPiece = int64_t{1} << 22;
  for (int64_t begin = 0; begin < arena.size(); begin += kPiece) {
    backend.fill(sum, 0);
    backend.squared_norm(sum, arena.slice(0, begin, std::min(kPiece, arena.size() - begin)));
    float value = 0;
    backend.copy_to_host(&value, sum);
    if (!std::isfinite(value)) return false;
  }
  return true;
}

void require_finite(const Gpt& model, const fs::path& directory, int64_t step) {
  Backend& backend = model.backend();
  const ParameterStore& store = model.parameters();
  for (const Tensor& arena : {store.values(), store.first_moments(), store.second_moments()}) {
    if (all_finite(backend, arena, store.spare_scalar())) continue;
    throw Error(ErrorKind::numerics, directory.string(),
                fmt::format("not saved at step {}: a weight or moment is NaN or infinite", step),
                "use a smaller --lr, and resume from an earlier checkpoint");
  }
}

Manifest describe_files(const fs::path& folder, int64_t step) {
  Manifest manifest;
  manifest.step = step;
  for (const std::string& name : names_in(folder)) {
    ManifestEntry entry;
    entry.bytes = static_cast<int64_t>(fs::file_size(folder / name));
    entry.sha256 = sha256_of_file(folder / name);
    manifest.files[name] = entry;
  }
  return manifest;
}

Manifest read_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifestFile;
  return parse_manifest(read_text_file(path, 1 << 20), path.string());
}

void verify_files(const fs::path& folder, const Manifest& manifest) {
  for (const auto& [name, entry] : manifest.files) {  // sizes first, they cost nothing
    std::error_code error;
    const auto bytes = static_cast<int64_t>(fs::file_size(folder / name, error));
    if (error) fail_input((folder / name).string(), error.message());
    if (bytes != entry.bytes) {
      fail_input((folder / name).string(),
                 fmt::format("{} bytes, the manifest says {} (truncated?)", with_commas(bytes),
                             with_commas(entry.bytes)));
    }
  }
  for (const auto& [name, entry] : manifest.files) {
    if (sha256_of_file(folder / name) != entry.sha256) {
      fail_input((folder / name).string(), "SHA-256 differs from the manifest (damaged)");
    }
  }
}

void remove_quietly(const fs::path& path) {
  try {
    remove_tree(path);
  } catch (const Error& error) {
    log_warning(error.what());
  }
}

}  // namespace

Json to_json(const Manifest& manifest) {
  Json json;
  json["format"] = 1;
  json["step"] = manifest.step;
  json["files"] = Json::object();
  for (const auto& [name, entry] : manifest.files) {
    json["files"][name] = Json{{"bytes", entry.bytes}, {"sha256", entry.sha256}};
  }
  return json;
}

Manifest parse_manifest(std::string_view text, const std::string& where) {
  const Json json = parse_json(text, where, {.max_bytes = 1 << 20});
  const JsonObject object(json, where);
  object.integer("format", 1, 1);
  Manifest manifest;
  manifest.step = object.integer("step", 0, kMaxJsonInteger);
  const JsonObject files = object.object("files");
  for (const auto& [name, value] : files.json().items()) {
    if (name.empty() || name.find('/') != std::string::npos || name == "." || name == ".." ||
        name == kManifestFile) {
      fail_input(where, fmt::format("lists \"{}\", which is no file of a checkpoint", name));
    }
    const JsonObject file(value, where);
    ManifestEntry entry{file.integer("bytes", 0, kMaxJsonInteger), file.text("sha256")};
    if (entry.sha256.size() != 64) file.fail("sha256", "is not a SHA-256");
    manifest.files[name] = entry;
  }
  const bool adapters = manifest.files.contains(kAdapterWeightsFile);
  for (const char* name : {"config.json", adapters ? kAdapterConfigFile : "model.safetensors",
                           kOptimizerFile, kStateFile}) {
    if (!manifest.files.contains(name)) fail_input(where, fmt::format("does not list {}", name));
  }
  return manifest;
}

std::string checkpoint_name(int64_t step) { return fmt::format("step_{:08}", step); }

std::vector<int64_t> list_checkpoints(const fs::path& directory) {
  std::vector<int64_t> steps;
  for (const std::string& name : names_in(directory)) {
    const int64_t step = step_of_name(name);
    if (step >= 0 && fs::is_directory(directory / name)) steps.push_back(step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

namespace {

void write_model(const fs::path& folder, const Gpt& model, const CheckpointForm& form) {
  if (form.adapter_base.name.empty()) {
    write_model_folder(folder, model, form.tokenizer);
  } else {
    write_adapter_folder(folder, model, form.adapter_base, model.config().is_classifier());
    write_tokenizer_files(folder, model.config(), form.tokenizer);
    write_model_config(folder, model.config(), DType::f32);
  }
  if (form.chat_template) write_chat_file(folder, *form.chat_template);
}

}  // namespace

void save_checkpoint(const fs::path& directory, const Gpt& model, const CheckpointForm& form,
                     const TrainState& state) {
  require_finite(model, directory, state.step);
  const std::string name = checkpoint_name(state.step);
  const fs::path temporary = directory / (kTemporaryPrefix + name), final = directory / name;
  try {
    remove_tree(temporary);
    make_directories(temporary);
    write_model(temporary, model, form);
    write_optimizer_file(temporary / kOptimizerFile, model);
    write_synced(temporary / kStateFile, to_pretty_text(to_json(state)));
    const std::string plan = model.backend().plan();
    if (!plan.empty()) write_synced(temporary / kPlanFile, plan);
    const Manifest manifest = describe_files(temporary, state.step);
    write_synced(temporary / kManifestFile, to_pretty_text(to_json(manifest)));
    sync_directory(temporary);
    remove_tree(final);  // only a damaged one could be there
    rename_path(temporary, final);
    sync_directory(directory);
  } catch (...) {
    remove_quietly(temporary);
    throw;
  }
  try {
    verify_checkpoint(final);
  } catch (const Error& error) {
    throw Error(
        ErrorKind::disk, error.where(),
        fmt::format("read back, the checkpoint differs from what was written: {}", error.problem()),
        "the disk may be failing");
  }
}

void verify_checkpoint(const fs::path& checkpoint) {
  const Manifest manifest = read_manifest(checkpoint);
  if (manifest.step != step_of_name(checkpoint.filename().string())) {
    fail_input((checkpoint / kManifestFile).string(),
               fmt::format("is of step {}, not of this folder", manifest.step));
  }
  verify_files(checkpoint, manifest);
}

void verify_model_files(const fs::path& folder) {
  if (!fs::exists(folder / kManifestFile)) return;
  Manifest manifest = read_manifest(folder);
  manifest.files.erase(kOptimizerFile);
  manifest.files.erase(kStateFile);
  manifest.files.erase(kPlanFile);
  with_hint("use another checkpoint of the run", [&] {
    verify_files(folder, manifest);
    return 0;
  });
}

TrainState load_checkpoint(const fs::path& checkpoint, Gpt& model) {
  return with_hint("remove this checkpoint to go on from the one before", [&] {
    const fs::path path = checkpoint / kStateFile;
    TrainState state = parse_train_state(read_text_file(path, 1 << 20), path.string());
    if (fs::exists(checkpoint / kAdapterWeightsFile)) {
      read_adapter_weights(checkpoint, model);
    } else {
      read_model_weights(checkpoint, model);
    }
    read_optimizer_file(checkpoint / kOptimizerFile, model);
    return state;
  });
}

bool load_plan(const fs::path& checkpoint, Backend& backend) {
  const fs::path path = checkpoint / kPlanFile;
  if (!fs::exists(path)) return false;
  backend.load_plan(read_text_file(path, 16 << 20), path.string());
  return true;
}

std::optional<fs::path> find_newest_good_checkpoint(const fs::path& directory, bool set_aside) {
  for (int64_t step : list_checkpoints(directory)) {
    const fs::path checkpoint = directory / checkpoint_name(step);
    try {
      verify_checkpoint(checkpoint);
      return checkpoint;
    } catch (const Error& error) {
      log_warning(
          fmt::format("checkpoint of step {} is not usable, falling back to the one "
                      "before: {}",
                      step, error.what()));
      if (!set_aside) continue;
      const fs::path aside = directory / (kDamagedPrefix + checkpoint_name(step));
      remove_tree(aside);
      rename_path(checkpoint, aside);
    }
  }
  return std::nullopt;
}

void prune_checkpoints(const fs::path& directory, int64_t keep,
                       const std::set<int64_t>& also_keep) {
  const std::vector<int64_t> steps = list_checkpoints(directory);
  const int64_t newest = steps.empty() ? -1 : steps.front();
  const size_t kept = static_cast<size_t>(std::max<int64_t>(keep, 2));
  for (size_t i = kept; i < steps.size(); ++i) {
    if (also_keep.contains(steps[i])) continue;
    // Renamed first: a folder that is being removed must not look like a checkpoint.
    const fs::path gone = directory / (kTemporaryPrefix + checkpoint_name(steps[i]));
    remove_tree(gone);
    rename_path(directory / checkpoint_name(steps[i]), gone);
    remove_tree(gone);
  }
  for (const std::string& name : names_in(directory)) {
    const std::string_view view = name;
    const bool damaged =
        view.starts_with(kDamagedPrefix) &&
        step_of_name(view.substr(std::string_view(kDamagedPrefix).size())) <= newest;
    if (damaged || view.starts_with(kTemporaryPrefix)) remove_tree(directory / name);
  }
}

}  // namespace llm
