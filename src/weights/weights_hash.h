// What the weights of a model are, as one hash: adapters are worth nothing with others.
#pragma once

#include <string>

#include "base/file.h"

namespace llm {

// SHA-256, as 64 hex digits, of the weights in a model folder: of the names of its tensors (without
// "transformer."), their shapes, and their values rounded to bfloat16. So it is the same for the
// same model in one file or in shards, in f32 or rounded to bf16, as GPUs run it by default, with
// or without mask buffers and a second copy of tied weights. Several tensors at a time: 0.3 seconds
// for 124M parameters on two cores. Throws Error{input} for a folder that cannot be read.
std::string hash_of_weights(const fs::path& model_folder);

}  // namespace llm
