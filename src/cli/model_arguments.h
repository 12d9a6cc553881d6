// What the commands that run a model share: which model, its tokenizer, device and number format;
// and how tokens are drawn.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/file.h"
#include "infer/sampler.h"
#include "model/gpt.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "weights/adapted_model.h"

namespace llm {

// What the option MODEL of all commands takes.
inline constexpr const char* kModelHelp =
    "model folder, run folder, checkpoint folder, folder of adapters or the name of a downloaded "
    "model";

// The config of a preset, a config.json or a model folder, for its shape. Throws Error{usage} for a
// preset that does not exist and Error{input} for files that are not there or no config.
ModelConfig shape_named(const std::string& model);

struct ModelArguments {
  std::string model, base, tokenizer, tokenizer_dir, device, dtype;
};

// MODEL, --base, --tokenizer, --tokenizer-dir, --device and --dtype.
void add_model_options(CLI::App& command, ModelArguments& arguments);
// --base alone.
void add_base_option(CLI::App& command, std::string& base);

enum class ModelKind { language, classifier };

// A model with everything but its weights.
struct OpenedModel {
  ModelLocation location;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Tokenizer> tokenizer;  // never null
  ModelConfig config;
  DType dtype = DType::f32;
};

// Throws what a wrong argument or folder deserves, Error{input} also where the model is not of this
// kind or has no tokenizer and none is given, before the weights are read.
OpenedModel open_model(const ModelArguments& arguments, ModelKind kind = ModelKind::language);
std::unique_ptr<Gpt> load_weights(const OpenedModel& opened);

// The template that a model was taught in, where its folder, or that of the base of adapters, names
// one.
std::optional<ChatTemplate> chat_template_of(const ModelLocation& location);
// Where the tokenizer lies: in the folder of adapters or else in that of their base.
fs::path tokenizer_folder_of(const ModelLocation& location);
// The tokenizer there; null if there is none.
std::unique_ptr<Tokenizer> read_tokenizer_of(const ModelLocation& location);

// Throws Error{usage} for an empty text of --stop, which ends nothing.
void require_stop_texts(const std::vector<std::string>& stops);

// --temperature, --top-k, --top-p, --min-p, --repetition-penalty and --seed.
void add_sampler_options(CLI::App& command, SamplerOptions& sampler, int64_t& seed);

}  // namespace llm
