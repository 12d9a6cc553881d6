// What the commands that run a model share: which model, its tokenizer, device and number format;
// and how tokens are drawn.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/file.h"
#include "infer/sampler.h"
#include "model/gpt.h"
#include "text/tokenizer.h"

namespace llm {

struct ModelArguments {
  std::string model, tokenizer, tokenizer_dir, device, dtype;
};

// MODEL, --tokenizer, --tokenizer-dir, --device and --dtype.
void add_model_options(CLI::App& command, ModelArguments& arguments);

// A model folder with everything but its weights.
struct OpenedModel {
  fs::path folder;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Tokenizer> tokenizer;  // never null
  ModelConfig config;
  DType dtype = DType::f32;
};

// Throws what a wrong argument or folder deserves, Error{input} also where the folder has no
// tokenizer and none is given, before the weights are read.
OpenedModel open_model(const ModelArguments& arguments);
std::unique_ptr<Gpt> load_weights(const OpenedModel& opened);

// Throws Error{usage} for an empty text of --stop, which ends nothing.
void require_stop_texts(const std::vector<std::string>& stops);

// --temperature, --top-k, --top-p, --min-p, --repetition-penalty and --seed.
void add_sampler_options(CLI::App& command, SamplerOptions& sampler, int64_t& seed);

}  // namespace llm
