// What a model is made of. GPT-2 is one setting of these switches.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace llm {

enum class NormKind { layernorm };
enum class NormPlace { pre };         // where in the block: before attention and MLP
enum class PositionKind { learned };  // a table of positions, added to the token embedding
enum class Activation { gelu_tanh };

// Low-rank adapters (Hu et al., "LoRA", 2021) beside linear layers.
struct LoraConfig {
  int64_t rank = 0;                      // 0: no adapters
  float alpha = 16;                      // what an adapter adds is scaled by alpha / rank
  float dropout = 0;                     // of what an adapter reads
  bool qkv = false;                      // one adapter for the layer that makes q, k and v
  bool q = false, k = false, v = false;  // or one for each of these
  bool projection = false;               // the output of attention
  bool up = false, down = false;         // the MLP
  bool score = false;                    // the output layer of a classifier

  float scale() const { return alpha / static_cast<float>(rank); }
};

// What a classifier looks at.
enum class Pooling {
  last_token,  // the hidden state of the last token that is not padding
  last,        // of the last position of the row, padding or not
  mean,        // the mean over the tokens that are not padding
};

struct ModelConfig {
  std::string family = "gpt2";
  int64_t layers = 12;
  int64_t heads = 12;
  int64_t kv_heads = 12;       // equal to heads unless grouped-query attention
  int64_t channels = 768;      // width C of the residual stream
  int64_t hidden = 3072;       // width of the MLP
  int64_t context = 1024;      // longest sequence T
  int64_t vocab_size = 50257;  // without padding

  NormKind norm = NormKind::layernorm;
  NormPlace norm_place = NormPlace::pre;
  PositionKind position = PositionKind::learned;
  Activation activation = Activation::gelu_tanh;
  bool gated = false;            // MLP with a gate (Llama)
  bool cross_attention = false;  // decoder of an encoder-decoder

  bool bias = true;      // biases of linear layers and norms
  bool qkv_bias = true;  // bias of the q, k, v projection; only where bias
  bool tied = true;      // output layer shares the token embedding
  float norm_epsilon = 1e-5f;

  float embedding_dropout = 0, attention_dropout = 0, residual_dropout = 0;
  int64_t bos_token_id = -1, eos_token_id = -1;  // -1: none

  std::vector<std::string> labels;  // of a classifier, which has an output layer for them
  Pooling pooling = Pooling::last_token;
  int64_t pad_length = 0;  // with Pooling::last: the tokens that every row is padded to; else 0
  LoraConfig lora;

  int64_t head_size() const { return channels / heads; }
  bool is_classifier() const { return !labels.empty(); }
  bool has_qkv_bias() const { return bias && qkv_bias; }
  void set_dropout(float rate) { embedding_dropout = attention_dropout = residual_dropout = rate; }
};

// Throws Error{usage} with `where` if the numbers do not make a model this build can run.
void validate(const ModelConfig& config, const std::string& where);

// "gpt2", "gpt2-medium", ..., "gpt3-175b". Throws Error{usage} listing the names.
ModelConfig model_preset(const std::string& name);
std::vector<std::string> model_preset_names();

// Parameters of a language model (the tied output layer counted once, padding not at all), and
// those without the position table, which is the N of the FLOP formula. Neither adapters nor the
// output layer of a classifier are counted.
int64_t parameter_count(const ModelConfig& config);
int64_t parameter_count_without_positions(const ModelConfig& config);
// FLOP for one token of training, forward and backward: 6 N + 6 L C T, causal attention counted
// once.
double training_flop_per_token(const ModelConfig& config, int64_t length);

std::string_view pooling_name(Pooling pooling);  // "last-token", "last", "mean"
// Throws Error{usage} at `where`, with the names there are.
Pooling pooling_named(const std::string& name, const std::string& where);

// Hugging Face config.json of GPT-2, as a language model or, with labels, as a sequence classifier.
// More keys, which others ignore, carry what GPT-2 has no word for: "bias", "qkv_bias" (biases left
// out here are zeros in the file), "pooling" and "pad_length". Adapters are not part of it.
Json to_hugging_face(const ModelConfig& config);
ModelConfig from_hugging_face(const Json& json, const std::string& where);

}  // namespace llm
