// A model folder is a Hugging Face folder: config.json, generation_config.json, model.safetensors
// and the tokenizer's files.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/file.h"
#include "model/gpt.h"
#include "text/tokenizer.h"
#include "text/tokenizer_facts.h"
#include "weights/model_tensors.h"

namespace llm {

// What a folder is written from. `store` tells names and shapes only.
struct ModelFolderContents {
  const ModelConfig& config;
  const ParameterStore& store;
  ReadParameter read;
  DType dtype = DType::f32;              // of the weights in the file
  const Tokenizer* tokenizer = nullptr;  // may stay null
  TokenizerFacts facts = {};             // of where it comes from
};

// Writes config.json, generation_config.json, model.safetensors (logical shapes, Hugging Face names
// with the prefix "transformer.", linear weights of GPT-2 transposed to (in, out), biases the
// config leaves out as zeros, lm_head.weight only if untied) and the tokenizer's files with a
// tokenizer_config.json. Every file is synced and replaces an older one whole. Deterministic to the
// byte.
void write_model_folder(const fs::path& directory, const ModelFolderContents& contents);
// The same of a model in memory, in float32.
void write_model_folder(const fs::path& directory, const Gpt& model, const Tokenizer* tokenizer);
// Its config.json alone, of weights in `dtype`.
void write_model_config(const fs::path& directory, const ModelConfig& config, DType dtype);
// Its tokenizer's part alone; nothing where that is null. Facts that name tokens which it has not
// are left out.
void write_tokenizer_files(const fs::path& directory, const ModelConfig& config,
                           const Tokenizer* tokenizer, const TokenizerFacts& facts = {});

// config.json of a model folder, validated. Throws Error{input}.
ModelConfig read_model_config(const fs::path& directory);
// Throws Error{input} if the config is of a classifier, which has no words to say.
void require_language_model(const ModelConfig& config, const std::string& where);
// Throws Error{input} if it is not of a classifier.
void require_classifier(const ModelConfig& config, const std::string& where);
// The tensors of model.safetensors or, where there is none, of the shards that
// model.safetensors.index.json tells. Throws Error{input}.
TensorSource open_folder_weights(const fs::path& directory);
// How a model with the config `whole` is read from a folder with the config `base`.
OutputLayer output_layer_of(const ModelConfig& base, const ModelConfig& whole);
// Reads them into the values of `model`. Names with and without "transformer."; mask buffers
// (attn.bias, attn.masked_bias) skipped; missing, extra and misshapen tensors are named, before any
// value is changed.
void read_model_weights(const fs::path& directory, Gpt& model,
                        OutputLayer output = OutputLayer::in_file);
// The model of a folder. The file is compared with the config before any memory is taken, so a
// config that claims a giant model costs nothing.
std::unique_ptr<Gpt> load_model(Backend& backend, const fs::path& directory,
                                const StoreOptions& options = {});

// The same of a config like that of the folder, but with adapters, whose values stay undefined, or
// of a classifier made of a language model, whose output layer does (OutputLayer::new_one).
std::unique_ptr<Gpt> load_model(Backend& backend, const fs::path& directory,
                                const ModelConfig& config, OutputLayer output,
                                const StoreOptions& options = {});

// Whether a folder has config.json and weights, whole or in shards.
bool has_weights(const fs::path& directory);

// The values of a model in memory, which must outlive this, one parameter after the other.
ReadParameter reader_of(const Gpt& model);

// Whether a folder has a tokenizer's files.
bool has_tokenizer(const fs::path& directory);
// A folder with a tokenizer in it, or nothing.
std::unique_ptr<Tokenizer> read_model_tokenizer(const fs::path& directory);

// The folder that an option MODEL means: a model folder, a run folder (its root weights, or the
// newest good checkpoint with a warning while a run has no root weights yet), a checkpoint folder,
// or, where there is no folder with a model of that name, the name of a downloaded model. Throws
// Error{input} saying what was looked for and, if it is a name, which command brings it.
fs::path resolve_model_folder(const std::string& model);

}  // namespace llm
