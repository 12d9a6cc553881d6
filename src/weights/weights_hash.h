// What the weights of a model are, as one hash: adapters are worth nothing with others.
#pragma once

#include <string>

#include "base/file.h"

namespace llm {

// "bf16:" and 64 hex digits, the SHA-256 of the weights in a model folder: of the names of its
// tensors (without "transformer."), their shapes, and their values rounded to bfloat16. So it is
// the same for the same model in one file or in shards, in f32 or rounded to bf16 (not to f16), as
// GPUs run it by default, with or without mask buffers, a second copy of tied weights and the zero
// biases of a model that has none. Several tensors at a time: 0.3 seconds
// for 124M parameters on two cores. Throws Error{input} for a folder that cannot be read.
std::string hash_of_weights(const fs::path& model_folder);

// Whether `hash` is that of the weights in the folder. One of another kind, of another version of
// the program, cannot be compared: a warning says so, and the answer is yes.
bool are_weights_of(const std::string& hash, const fs::path& model_folder);

}  // namespace llm
