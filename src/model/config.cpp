#include "model/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <unordered_set>

#include "base/error.h"

namespace llm {
namespace {

struct Preset {
  const char* name;
  int64_t layers, heads, channels, context;
};

// Radford et al. 2019 (GPT-2) and Brown et al. 2020, table 2.1 (GPT-3).
constexpr std::array kPresets = {
    Preset{"gpt2", 12, 12, 768, 1024},        Preset{"gpt2-medium", 24, 16, 1024, 1024},
    Preset{"gpt2-large", 36, 20, 1280, 1024}, Preset{"gpt2-xl", 48, 25, 1600, 1024},
    Preset{"gpt3-small", 12, 12, 768, 2048},  Preset{"gpt3-medium", 24, 16, 1024, 2048},
    Preset{"gpt3-large", 24, 16, 1536, 2048}, Preset{"gpt3-xl", 24, 16, 2048, 2048},
    Preset{"gpt3-2.7b", 32, 32, 2560, 2048},  Preset{"gpt3-6.7b", 32, 32, 4096, 2048},
    Preset{"gpt3-13b", 40, 40, 5120, 2048},   Preset{"gpt3-175b", 96, 96, 12288, 2048},
};

constexpr std::array<std::string_view, 3> kPoolings = {"last-token", "last",
                                                       "mean"};  // as the enum

// Far beyond any model, and small enough that products of a few of them fit in 64 bits.
constexpr int64_t kMaxLayers = 10'000, kMaxWidth = 1 << 20, kMaxContext = 1 << 24,
                  kMaxVocab = 1 << 24;

void check_range(const std::string& where, const char* name, int64_t value, int64_t low,
                 int64_t high) {
  if (value < low || value > high) {
    fail_usage(where, fmt::format("{} is {}, must be in [{}, {}]", name, value, low, high));
  }
}

void check_rate(const std::string& where, const char* name, float rate) {
  if (!(rate >= 0 && rate < 1)) {
    fail_usage(where, fmt::format("{} is {}, must be in [0, 1)", name, rate));
  }
}

void validate_lora(const ModelConfig& config, const std::string& where) {
  const LoraConfig& lora = config.lora;
  check_range(where, "rank of the adapters", lora.rank, 0, kMaxWidth);
  if (lora.rank == 0) return;
  if (!(lora.alpha > 0 && lora.alpha < 1e6f)) {
    fail_usage(where, fmt::format("alpha of the adapters is {}, must be in (0, 1e6)", lora.alpha));
  }
  check_rate(where, "dropout of the adapters", lora.dropout);
  const bool parts = lora.q || lora.k || lora.v;
  if (lora.qkv && parts) {
    fail_usage(where, "q, k and v have one adapter together or one each, not both");
  }
  if (lora.score && !config.is_classifier()) {
    fail_usage(where, "an adapter of the classes' output layer needs a classifier");
  }
  if (!lora.qkv && !parts && !lora.projection && !lora.up && !lora.down && !lora.score) {
    fail_usage(where, "adapters of no layer", "name layers, for example q,v or all");
  }
}

}  // namespace

void validate(const ModelConfig& config, const std::string& where) {
  check_range(where, "number of layers", config.layers, 1, kMaxLayers);
  check_range(where, "number of channels", config.channels, 1, kMaxWidth);
  check_range(where, "number of heads", config.heads, 1, config.channels);
  check_range(where, "number of key-value heads", config.kv_heads, 1, config.heads);
  check_range(where, "MLP width", config.hidden, 1, 16 * kMaxWidth);
  check_range(where, "context", config.context, 1, kMaxContext);
  check_range(where, "vocabulary size", config.vocab_size, 1, kMaxVocab);
  if (config.channels % config.heads != 0) {
    fail_usage(where, fmt::format("{} channels cannot be divided among {} heads", config.channels,
                                  config.heads));
  }
  if (config.heads % config.kv_heads != 0) {
    fail_usage(where, fmt::format("{} heads cannot share {} key-value heads", config.heads,
                                  config.kv_heads));
  }
  if (config.gated || config.cross_attention) {
    fail_usage(where, "gated MLPs and cross-attention are not supported by this version");
  }
  if (!(config.norm_epsilon > 0 && config.norm_epsilon < 1)) {
    fail_usage(where, fmt::format("norm epsilon is {}, must be in (0, 1)", config.norm_epsilon));
  }
  check_rate(where, "embedding dropout", config.embedding_dropout);
  check_rate(where, "attention dropout", config.attention_dropout);
  check_rate(where, "residual dropout", config.residual_dropout);
  check_range(where, "number of labels", std::ssize(config.labels), 0, kMaxVocab);
  validate_lora(config, where);
}

ModelConfig model_preset(const std::string& name) {
  for (const Preset& preset : kPresets) {
    if (name != preset.name) continue;
    ModelConfig config;
    config.layers = preset.layers;
    config.heads = config.kv_heads = preset.heads;
    config.channels = preset.channels;
    config.hidden = 4 * preset.channels;
    config.context = preset.context;
    return config;
  }
  fail_usage("--model", fmt::format("no preset \"{}\"", name),
             fmt::format("presets: {}", fmt::join(model_preset_names(), ", ")));
}

std::vector<std::string> model_preset_names() {
  std::vector<std::string> names;
  names.reserve(std::size(kPresets));
  for (const Preset& preset : kPresets) names.emplace_back(preset.name);
  return names;
}

std::string_view pooling_name(Pooling pooling) { return kPoolings[static_cast<size_t>(pooling)]; }

Pooling pooling_named(const std::string& name, const std::string& where) {
  const auto* const found = std::find(kPoolings.begin(), kPoolings.end(), name);
  if (found == kPoolings.end()) {
    fail_usage(where, fmt::format("\"{}\" is no pooling", name),
               fmt::format("one of {}", fmt::join(kPoolings, ", ")));
  }
  return static_cast<Pooling>(found - kPoolings.begin());
}

int64_t parameter_count_without_positions(const ModelConfig& config) {
  const int64_t width = config.channels;
  const int64_t kv_width = config.kv_heads * config.head_size();
  const int64_t qkv = width + 2 * kv_width;
  const int64_t norm = config.bias ? 2 * width : width;
  int64_t block = 2 * norm + qkv * width + width * width + 2 * width * config.hidden;
  if (config.has_qkv_bias()) block += qkv;
  if (config.bias) block += width + config.hidden + width;
  const int64_t tables = config.vocab_size * width * (config.tied ? 1 : 2);
  return tables + config.layers * block + norm;
}

int64_t parameter_count(const ModelConfig& config) {
  return parameter_count_without_positions(config) + config.context * config.channels;
}

double training_flop_per_token(const ModelConfig& config, int64_t length) {
  return 6.0 * static_cast<double>(parameter_count_without_positions(config)) +
         6.0 * static_cast<double>(config.layers) * static_cast<double>(config.channels) *
             static_cast<double>(length);
}

namespace {

constexpr const char* kClassifier = "GPT2ForSequenceClassification";

void add_labels(Json& json, const ModelConfig& config) {
  Json id_to_label = Json::object(), label_to_id = Json::object();
  for (size_t i = 0; i < config.labels.size(); ++i) {
    id_to_label[fmt::to_string(i)] = config.labels[i];
    label_to_id[config.labels[i]] = i;
  }
  json["id2label"] = id_to_label;
  json["label2id"] = label_to_id;
  json["pad_token_id"] = config.eos_token_id < 0 ? Json(nullptr) : Json(config.eos_token_id);
  json["pooling"] = pooling_name(config.pooling);
  if (config.pad_length > 0) json["pad_length"] = config.pad_length;
}

// "id2label" names each of the numbers from 0 on; two unnamed labels without it, as in
// transformers.
void read_labels(ModelConfig& config, const JsonObject& object) {
  const std::string pooling = object.text("pooling", "last-token");
  if (std::find(kPoolings.begin(), kPoolings.end(), pooling) == kPoolings.end()) {
    object.fail("pooling",
                fmt::format("\"{}\" is not one of {}", pooling, fmt::join(kPoolings, ", ")));
  }
  config.pooling = pooling_named(pooling, object.where());
  config.pad_length = object.integer("pad_length", 0, config.context, 0);
  if (!object.has("id2label")) {
    config.labels = {"LABEL_0", "LABEL_1"};
    return;
  }
  const JsonObject labels = object.object("id2label");
  if (labels.json().empty()) object.fail("id2label", "names no label");
  std::unordered_set<std::string> seen;
  for (size_t i = 0; i < labels.json().size(); ++i) {
    config.labels.push_back(labels.text(fmt::to_string(i)));
    if (!seen.insert(config.labels.back()).second) {
      object.fail("id2label", fmt::format("\"{}\" is there twice", config.labels.back()));
    }
  }
}

bool names_classifier(const JsonObject& object) {
  if (!object.has("architectures")) return false;
  const Json& names = object.array("architectures");
  return std::any_of(names.begin(), names.end(),
                     [](const Json& name) { return name == kClassifier; });
}

}  // namespace

Json to_hugging_face(const ModelConfig& config) {
  Json json;
  json["model_type"] = "gpt2";
  json["architectures"] = {config.is_classifier() ? kClassifier : "GPT2LMHeadModel"};
  json["n_layer"] = config.layers;
  json["n_head"] = config.heads;
  json["n_embd"] = config.channels;
  json["n_inner"] = config.hidden == 4 * config.channels ? Json(nullptr) : Json(config.hidden);
  json["n_positions"] = config.context;
  json["n_ctx"] = config.context;
  json["vocab_size"] = config.vocab_size;
  json["activation_function"] = "gelu_new";
  json["layer_norm_epsilon"] = decimal(config.norm_epsilon);
  json["embd_pdrop"] = decimal(config.embedding_dropout);
  json["attn_pdrop"] = decimal(config.attention_dropout);
  json["resid_pdrop"] = decimal(config.residual_dropout);
  json["tie_word_embeddings"] = config.tied;
  json["bos_token_id"] = config.bos_token_id < 0 ? Json(nullptr) : Json(config.bos_token_id);
  json["eos_token_id"] = config.eos_token_id < 0 ? Json(nullptr) : Json(config.eos_token_id);
  json["torch_dtype"] = "float32";
  json["bias"] = config.bias;
  json["qkv_bias"] = config.qkv_bias;
  if (config.is_classifier()) add_labels(json, config);
  return json;
}

ModelConfig from_hugging_face(const Json& json, const std::string& where) {
  const JsonObject object(json, where);
  const std::string type = object.text("model_type", "gpt2");
  if (type != "gpt2") {
    object.fail("model_type", fmt::format("\"{}\" is not supported, only \"gpt2\" is", type));
  }
  const std::string activation = object.text("activation_function", "gelu_new");
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh") {
    object.fail(
        "activation_function",
        fmt::format("\"{}\" is not supported, only \"gelu_new\" (tanh form) is", activation));
  }
  for (const char* key : {"scale_attn_by_inverse_layer_idx", "add_cross_attention"}) {
    if (object.boolean(key, false)) object.fail(key, "true is not supported");
  }
  if (!object.boolean("scale_attn_weights", true)) {
    object.fail("scale_attn_weights", "false is not supported");
  }
  ModelConfig config;
  config.layers = object.integer("n_layer", 1, kMaxLayers);
  config.heads = config.kv_heads = object.integer("n_head", 1, kMaxWidth);
  config.channels = object.integer("n_embd", 1, kMaxWidth);
  config.hidden = object.integer("n_inner", 1, 16 * kMaxWidth, 4 * config.channels);
  config.context = object.integer("n_positions", 1, kMaxContext);
  config.vocab_size = object.integer("vocab_size", 1, kMaxVocab);
  config.norm_epsilon = static_cast<float>(object.number("layer_norm_epsilon", 1e-12, 0.5, 1e-5));
  // Hugging Face's defaults are 0.1, but a file without the keys says nothing about training here.
  config.embedding_dropout = static_cast<float>(object.number("embd_pdrop", 0, 0.999, 0));
  config.attention_dropout = static_cast<float>(object.number("attn_pdrop", 0, 0.999, 0));
  config.residual_dropout = static_cast<float>(object.number("resid_pdrop", 0, 0.999, 0));
  config.tied = object.boolean("tie_word_embeddings", true);
  config.bos_token_id = object.integer("bos_token_id", -1, kMaxVocab, -1);
  config.eos_token_id = object.integer("eos_token_id", -1, kMaxVocab, -1);
  config.bias = object.boolean("bias", true);
  config.qkv_bias = object.boolean("qkv_bias", true);
  if (names_classifier(object)) read_labels(config, object);
  try {
    validate(config, where);
  } catch (const Error& error) {  // the numbers come from a file, not from the command line
    fail_input(error.where(), error.problem(), error.hint());
  }
  return config;
}

}  // namespace llm
