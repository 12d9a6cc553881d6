// Which tensor of a file holds which parameter, in the conventions of those who write such files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/parameter_store.h"
#include "weights/safetensors.h"

namespace llm {

enum class Naming {
  // "transformer.h.0.attn.c_attn.weight", with or without the prefix; linear weights (in, out).
  hugging_face,
  // "trf_blocks.0.att.W_query.weight" of the book's GPTModel; q, k and v apart, weights (out, in).
  book,
  // The order of llm.c's files, which have no names: those of the parameters; weights (out, in).
  llm_c,
};

struct FileTensor {
  std::string name;            // as written, with its prefix
  std::string bare_name;       // the other accepted form; the same where there is none
  int parameter = -1;          // index in the store; -1: a bias that the config leaves out, zeros
  int64_t row_begin = 0;       // of the parameter's rows, where the file has q, k and v apart
  std::vector<int64_t> shape;  // in the file
  bool transposed = false;     // the file has (in, out), memory has (out, in)

  int64_t rows() const;  // of the parameter that it holds: all, but for q, k and v apart
  int64_t columns() const;
};

// All tensors of the file, in the order of the store, each left-out bias behind its weight (of the
// book's q, k and v none: its model leaves them out too). Adapters have files of their own.
std::vector<FileTensor> file_tensors(const ParameterStore& store,
                                     Naming naming = Naming::hugging_face);

// The name of a parameter that a file holds under another name as well: the tied output layer.
std::string alias_in_files(const std::string& alias, Naming naming);

// A tensor that files of GPT-2 may carry and that says nothing: a causal mask.
bool is_mask_buffer(const std::string& name);

// Copies a tensor of a file, as it is, to the place of a parameter in an arena, a piece at a time.
void copy_tensor(ParameterStore& store, int index, Tensor arena, const SafetensorsFile& file,
                 const TensorInfo& tensor);

}  // namespace llm
