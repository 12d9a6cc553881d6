// Which tensor of a Hugging Face GPT-2 file holds which parameter.
#pragma once

#include <string>
#include <vector>

#include "model/parameter_store.h"
#include "weights/safetensors.h"

namespace llm {

struct FileTensor {
  std::string name;            // as written, with its prefix
  std::string bare_name;       // the other accepted form, without "transformer."
  int parameter = -1;          // index in the store; -1: a bias that the config leaves out, zeros
  std::vector<int64_t> shape;  // in the file
  bool transposed = false;     // the file has (in, out), memory has (out, in)
};

// All tensors of the file, in the order of the store, each left-out bias behind its weight.
std::vector<FileTensor> file_tensors(const ParameterStore& store);

// A tensor that files of GPT-2 may carry and that says nothing: a causal mask.
bool is_mask_buffer(const std::string& name);

// Copies a tensor of a file, as it is, to the place of a parameter in an arena, a piece at a time.
void copy_tensor(ParameterStore& store, int index, Tensor arena, const SafetensorsFile& file,
                 const TensorInfo& tensor);

}  // namespace llm
