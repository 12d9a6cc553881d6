// Model files of llm.c: 256 int32 (magic 20240326, version 3 with f32 or 5 with bf16, context,
// vocabulary, layers, heads, channels, padded vocabulary), then all parameters, those of one kind
// together for all layers. Weights are (out, in); the output layer is tied; every bias is there.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"
#include "model/config.h"
#include "weights/model_tensors.h"

namespace llm {

bool is_llmc_file(Bytes bytes);  // by its first bytes

struct LlmcModel {
  ModelConfig config;
  std::vector<SourceTensor> tensors;  // under the names of the parameters; padded rows left out
};

// Throws Error{input} with `where` for another version, numbers that make no model, and a size that
// is not exactly what they ask for.
LlmcModel parse_llmc_file(Bytes bytes, const std::string& where);

// Throws Error{usage} for an untied model and for a type that the format cannot hold.
void require_llmc_form(const ModelConfig& config, DType dtype);

// Writes the parameters of `store`, in f32 or bf16; biases that the config leaves out become zeros.
// The vocabulary is padded with zeros to a multiple of 128.
void write_llmc_file(const fs::path& path, const ModelConfig& config, const ParameterStore& store,
                     const ReadParameter& read, DType dtype);

}  // namespace llm
