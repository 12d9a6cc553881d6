// Brings a model from the hub into a folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "weights/hub.h"

namespace llm {

struct DownloadOptions {
  std::string model;  // is_model_name()
  fs::path folder;
  HubOptions hub;
  bool force = false;  // replace files that are not of this model
};

struct DownloadSummary {
  std::string repository, commit;                // commit: empty where the server does not say
  int64_t files = 0, bytes = 0;                  // of the model
  int64_t fetched_files = 0, fetched_bytes = 0;  // now
  double seconds = 0;
};

// Brings config.json, the tokenizer's files, generation_config.json and the weights in safetensors
// (one file, or the shards of model.safetensors.index.json). Files that are there and right are not
// fetched again. Every file is checked before it gets its name, and the weights come last, so a
// folder with weights is whole. When it is interrupted, parts stay and the next call goes on.
// Throws Error as Hub does; usage if the folder holds other files of these names.
DownloadSummary download_model(const DownloadOptions& options);

}  // namespace llm
