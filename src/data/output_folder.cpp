#include "data/output_folder.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "data/dataset_writer.h"

namespace llm {
namespace {

constexpr std::string_view kTemporaryPrefix = ".prepare-";

bool is_shard_name(const std::string& name) {
  return (name.starts_with("train_") || name.starts_with("val_")) && name.ends_with(".bin");
}

// What a dataset consists of, but for dataset.json.
bool is_part_of_dataset(const std::string& name) {
  return is_shard_name(name) || name == "tokenizer.json" || name == "vocab.json" ||
         name == "merges.txt";
}

bool is_left_behind(const std::string& name) {
  const bool temporary =
      name.starts_with(kTemporaryPrefix) || name.ends_with(".json.tmp") || name == "merges.txt.tmp";
  return temporary || is_part_of_dataset(name) || name == ".lock";
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    names.push_back(entry.path().filename().string());
  }
  if (error) fail_input(folder.string(), "cannot list the folder: " + error.message());
  return names;
}

}  // namespace

OutputFolder::OutputFolder(fs::path path, bool force) : path_(std::move(path)) {
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  if (fs::exists(status) && !fs::is_directory(status)) {
    fail_usage(path_.string(), "is a file, a folder is to be written", "choose another with -o");
  }
  if (fs::is_directory(status) && !force) {
    const std::vector<std::string> names = names_in(path_);
    // Shards alone may be somebody's data; the lock shows that a run of this program was here.
    const bool interrupted = std::find(names.begin(), names.end(), ".lock") != names.end() &&
                             std::all_of(names.begin(), names.end(), is_left_behind);
    if (!names.empty() && !interrupted) {
      fail_usage(path_.string(), "the folder is not empty",
                 "choose another with -o, or replace the dataset in it with --force");
    }
  }
  made_ = !fs::exists(status);
  make_directories(path_);
  try {
    lock_ = std::make_unique<DirectoryLock>(path_);
  } catch (...) {
    if (made_) fs::remove(path_, error);  // only if it is empty
    throw;
  }
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  for (const fs::path& path : temporaries_) fs::remove(path, ignored);
  if (writing_ && !committed_) {
    fs::remove(path_ / kDatasetFile, ignored);
    for (const auto& entry : fs::directory_iterator(path_, ignored)) {
      if (is_left_behind(entry.path().filename().string())) fs::remove(entry.path(), ignored);
    }
  }
  fs::remove(path_ / ".lock", ignored);
  if (made_ && !committed_) fs::remove(path_, ignored);  // only if it is empty
}

fs::path OutputFolder::temporary(const std::string& name) {
  return temporaries_.emplace_back(path_ / (std::string(kTemporaryPrefix) + name));
}

void OutputFolder::remove_old_dataset() {
  remove_tree(path_ / kDatasetFile);
  writing_ = true;  // from here on what is there is no dataset any more
  for (const std::string& name : names_in(path_)) {
    if (is_part_of_dataset(name)) remove_tree(path_ / name);
  }
}

}  // namespace llm
