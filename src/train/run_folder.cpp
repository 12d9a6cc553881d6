#include "train/run_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "train/checkpoint.h"

namespace llm {
namespace {

// What a checkpoint holds beyond the model.
constexpr std::array kNotOfTheModel = {"manifest.json", "optimizer.safetensors", "train_state.json",
                                       "plan.json"};

bool is_one_of(std::string_view name, std::span<const char* const> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void copy_synced(const fs::path& from, const fs::path& to) {
  FileReader source(from);  // in pieces: a mapped file counts as memory of the process
  FileWriter writer(to);
  std::vector<char> piece(size_t{1} << 20);
  while (const size_t count = source.read(piece)) {
    writer.write(std::string_view(piece.data(), count));
  }
  writer.sync();
  writer.close();
}

}  // namespace

RunLog::RunLog(fs::path path) : path_(std::move(path)) {}

void RunLog::write_waiting() {
  if (torn_ && fs::exists(path_)) {
    log_.reset();
    rewrite_log(path_, [](const Json&) { return true; });
    torn_ = false;
  }
  if (!log_) log_ = std::make_unique<JsonLinesLog>(path_);
  for (size_t written = 0; written < waiting_.size(); ++written) {
    try {
      log_->append(waiting_[written]);
    } catch (...) {
      torn_ = true;
      waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<int64_t>(written));
      throw;
    }
  }
  waiting_.clear();
}

void RunLog::append(const Json& record) {
  waiting_.push_back(record);
  try {
    write_waiting();
    warned_ = false;
  } catch (const Error& error) {
    if (!warned_) {
      log_warning(
          fmt::format("{}; training goes on, the records are kept in memory until they can "
                      "be written",
                      error.what()));
    }
    warned_ = true;
  }
}

void RunLog::sync() {
  write_waiting();
  if (log_) log_->sync();
}

void RunFolder::require_new() const {
  if (!fs::exists(path_)) return;
  if (!fs::is_directory(path_)) fail_usage(path_.string(), "is there and is no folder");
  constexpr std::array kRemains = {".lock",         "run.json",    "run.json.tmp", "log.jsonl",
                                   "log.jsonl.tmp", "checkpoints", "data"};
  const bool begun = !list_checkpoints(checkpoints()).empty();
  for (const fs::directory_entry& entry : fs::directory_iterator(path_)) {
    if (!begun && is_one_of(entry.path().filename().string(), kRemains)) continue;
    if (begun || fs::exists(description_path())) {
      fail_usage(path_.string(), "there is a run in this folder",
                 "add --resume to continue it, or choose another folder");
    }
    fail_usage(path_.string(),
               fmt::format("the folder is not empty ({})", entry.path().filename().string()),
               "choose a new folder for the run");
  }
}

RunDescription RunFolder::read_description() const {
  if (!fs::exists(description_path())) {
    fail_input(path_.string(), "nothing to resume: no run.json in it",
               "leave --resume out to begin a run");
  }
  return with_hint("restore the file from a copy, or begin a new run in another folder", [&] {
    return parse_run_description(read_text_file(description_path(), 16 << 20),
                                 description_path().string());
  });
}

void RunFolder::open() {
  make_directories(path_);
  lock_ = std::make_unique<DirectoryLock>(path_);
  make_directories(checkpoints());
}

void RunFolder::write_description(const RunDescription& run) const {
  write_file_atomically(description_path(), to_pretty_text(to_json(run)));
}

void RunFolder::clear_log() const {
  if (fs::exists(log_path())) write_file_atomically(log_path(), "");
}

void RunFolder::cut_log(int64_t step) const {
  if (!fs::exists(log_path())) return;
  rewrite_log(log_path(), [&](const Json& record) {
    const JsonObject object(record, log_path().string());
    const int64_t at = object.integer("step", 0, int64_t{1} << 53);
    return at < step || (at == step && object.text("type") != "save");
  });
}

void RunFolder::publish(const fs::path& checkpoint) const {
  const fs::path temporary = path_ / ".tmp-model";
  remove_tree(temporary);
  make_directories(temporary);
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoint)) {
    const std::string name = entry.path().filename().string();
    if (!is_one_of(name, kNotOfTheModel)) names.push_back(name);
  }
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    const bool a_last = a.ends_with("model.safetensors"), b_last = b.ends_with("model.safetensors");
    return a_last != b_last ? b_last : a < b;
  });
  for (const std::string& name : names) copy_synced(checkpoint / name, temporary / name);
  sync_directory(temporary);
  for (const std::string& name : names) rename_path(temporary / name, path_ / name);
  sync_directory(path_);
  remove_tree(temporary);
}

}  // namespace llm
