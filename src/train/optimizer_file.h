// optimizer.safetensors: AdamW's moments of every parameter as "first_moment.NAME" and
// "second_moment.NAME", float32, in the logical shape of the parameter (out, in).
#pragma once

#include "base/file.h"
#include "model/gpt.h"

namespace llm {

void write_optimizer_file(const fs::path& path, const Gpt& model);
// Throws Error{input} naming a tensor that is missing, unknown or of another shape.
void read_optimizer_file(const fs::path& path, Gpt& model);

}  // namespace llm
