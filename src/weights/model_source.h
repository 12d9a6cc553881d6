// A model as others keep it, whatever its form: what is in the file, and what the file says about
// the model.
#pragma once

#include <optional>
#include <string>

#include "base/file.h"
#include "model/config.h"
#include "weights/tensor_map.h"
#include "weights/tensor_source.h"

namespace llm {

struct ModelSource {
  std::string format;  // for people: "safetensors", "PyTorch state dict", "llm.c, version 3"
  TensorSource tensors;
  std::optional<Naming> naming;       // nothing: names of no form that is known
  std::optional<ModelConfig> config;  // where the file or a config.json beside it tells
  fs::path folder;                    // where a tokenizer may lie
};

// A folder (a Hugging Face folder with model.safetensors, shards of it or pytorch_model.bin, a run
// folder, a checkpoint folder, one with model.pth or model.bin), a file (safetensors,
// torch.save, llm.c), told apart by their first bytes, or the name of a downloaded model. Throws
// Error{input}.
ModelSource open_model_source(const fs::path& path);

// What a state dict does not say.
struct ModelFacts {
  std::optional<int64_t> heads;
  bool untied = false;  // keep an output layer that equals the token embedding as one of its own
};

// The config of the source; where it has none, what names and shapes tell and `facts` add. Throws
// Error{usage} naming the option for what is missing or contradicts the source, Error{input} for
// tensors of no known form.
ModelConfig config_of(const ModelSource& source, const ModelFacts& facts);

}  // namespace llm
