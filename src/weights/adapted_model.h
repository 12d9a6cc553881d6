// What an option MODEL names: a model folder, or adapters and the model that they are for.
#pragma once

#include <memory>
#include <string>

#include "base/file.h"
#include "model/gpt.h"

namespace llm {

struct ModelLocation {
  fs::path folder;    // with config.json and weights
  fs::path adapters;  // adapters for it; empty: none

  bool adapted() const { return !adapters.empty(); }
  // What MODEL names: where to look first for what belongs to the model, like its tokenizer.
  const fs::path& named() const { return adapted() ? adapters : folder; }
};

// A folder with adapters: `folder` itself or, of a run that trains some and has none of its own
// yet, its newest checkpoint, which a warning names. Any other folder as it is.
fs::path find_adapters(const fs::path& folder);

// model: as resolve_model_folder() takes it, or a folder with adapter_config.json, whose
// base_model_name_or_path is a path in that folder's view or this process's, or the name of a
// downloaded model. base: of adapters, if it is not that; empty otherwise. Throws Error{input}
// where the base is not there, and says what to do; for a folder with both weights and adapters;
// and Error{usage} at --base for a model that is no adapters.
ModelLocation locate_model(const std::string& model, const std::string& base = {});

// The config of the whole. Throws Error{input}.
ModelConfig read_config(const ModelLocation& location);
// The model, its adapters beside its weights as in training. Shapes are compared before any memory
// is taken. Throws Error{input}, also where the adapters tell the hash of their base and it is
// another.
std::unique_ptr<Gpt> load_model(Backend& backend, const ModelLocation& location,
                                const StoreOptions& options = {});
// The same with the adapters merged into the weights, in float32.
std::unique_ptr<Gpt> load_merged_model(Backend& backend, const ModelLocation& location);

}  // namespace llm
