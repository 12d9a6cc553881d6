// Writes a state dict of the book's GPTModel ("Build a Large Language Model (From Scratch)").
#pragma once

#include "base/file.h"
#include "model/config.h"
#include "weights/model_tensors.h"

namespace llm {

// model.load_state_dict(torch.load(path)) takes it, of a GPTModel made with this config's numbers
// and qkv_bias: the parameters, the causal masks and out_head.weight, which shares the data of the
// token embedding where the model is tied. Other biases that the config leaves out become zeros.
void write_book_file(const fs::path& path, const ModelConfig& config, const ParameterStore& store,
                     const ReadParameter& read, DType dtype);

}  // namespace llm
