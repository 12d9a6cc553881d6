// The folder that a dataset is written to: locked, refused if it holds something else, and cleaned
// up again if the work fails.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file.h"

namespace llm {

class OutputFolder {
 public:
  // Makes the folder. Throws Error{usage} if it is not empty, unless force is given or all it holds
  // is what an interrupted run left behind.
  OutputFolder(fs::path path, bool force);
  // Removes what was written, unless commit() was called.
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const fs::path& path() const { return path_; }
  // A path for a temporary file, removed in any case.
  fs::path temporary(const std::string& name);
  // Removes the dataset that is there, dataset.json first; other files stay.
  void remove_old_dataset();
  // The dataset is complete.
  void commit() { committed_ = true; }

 private:
  fs::path path_;
  bool made_ = false, writing_ = false, committed_ = false;
  std::unique_ptr<DirectoryLock> lock_;
  std::vector<fs::path> temporaries_;
};

}  // namespace llm
