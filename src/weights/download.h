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
  bool force = false;  // take over a folder that no download of this model made
};

struct DownloadSummary {
  std::string repository, commit;                // commit: empty where the server does not say
  int64_t files = 0, bytes = 0;                  // of the model
  int64_t files_without_hash = 0;                // of which the server told the size at most
  int64_t fetched_files = 0, fetched_bytes = 0;  // now
  double seconds = 0;
};

// Brings config.json, the tokenizer's files, generation_config.json and the weights in safetensors
// (one file, or the shards of model.safetensors.index.json). Files that are there and right are not
// fetched again: those whose hash is the server's, or, where it tells none, that of what came
// before. Every file is checked before it gets its name, and the weights come last, so a folder
// with weights is whole. When it is interrupted, parts stay and the next call goes on.
// Throws Error as Hub does; usage if the folder holds a model that no download of this one made.
DownloadSummary download_model(const DownloadOptions& options);

}  // namespace llm
