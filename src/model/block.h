// The block that a transformer is stacked from; which parts it has follows from the config.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "model/config.h"
#include "model/layer.h"

namespace llm {

// What a block keeps from its forward pass, all in the arena. rows = B T.
struct BlockKept {
  Tensor input, mean1, rstd1, normed1;   // residual stream before attention (rows, C); statistics
  Tensor qkv;                            // (B, T, (H + 2 KV) D)
  Tensor attention, lse;                 // (B, T, H, D), (B, H, T)
  Tensor middle, mean2, rstd2, normed2;  // residual stream before the MLP
  Tensor pre, hidden;                    // (rows, hidden) before and after the activation
  Tensor qkv_low, projection_low, up_low, down_low;  // of adapters
};

class Block {
 public:
  // Appends the parameters of layer `index` (0-based) to `parameters` under their global names.
  Block(const ModelConfig& config, int64_t index, std::vector<Parameter>& parameters);

  // The residual stream enters as `stream` plus, where `pending`, `delta`, and leaves the same way
  // (then always pending), so that each sum is fused with the norm that follows it. Both are
  // (B T, C); `stream` moves to what the block keeps, `delta` is one buffer that all blocks share.
  void forward(const BlockContext& context, BlockKept& kept, Tensor& stream, Tensor delta,
               bool pending) const;
  // From kept.input everything else that the backward pass needs, once more.
  void recompute(const BlockContext& context, BlockKept& kept, Tensor delta) const;
  // dstream: (B T, C) gradient at the block's result, becomes the gradient at its input. Whoever
  // made it added its column sums to output_bias_gradient(), and the block adds those of its result
  // to input_sum, the same of the block before (both may be empty). Without needs_input nobody
  // wants the gradient at the block's input, and dstream is left with something else.
  void backward(const BlockContext& context, const BlockKept& kept, Tensor dstream,
                Tensor input_sum, bool needs_input) const;
  // Parameters and cache for Backend::transformer_decode.
  DecodeLayer decode_layer(const ParameterStore& store, const KvCache& cache) const;
  // Gradient of the last bias, where the column sums of the gradient at the block's result are it;
  // empty where dropout lies between or there is no bias.
  Tensor output_bias_gradient(const BlockContext& context) const;

 private:
  void add_adapters(const LoraConfig& lora, LayerParameters& layer);
  void take_first_norm(const BlockContext& context, BlockKept& kept) const;
  void run_to_hidden(const BlockContext& context, BlockKept& kept, Tensor delta) const;
  void attend(const BlockContext& context, BlockKept& kept, Tensor delta) const;
  void attend_backward(const BlockContext& context, const BlockKept& kept, Tensor dstream,
                       Tensor input_sum, bool needs_input) const;
  void mlp_backward(const BlockContext& context, const BlockKept& kept, Tensor dstream) const;
  // The gradient before a dropout: dy itself where there is none, else a masked copy.
  Tensor dropout_backward(const BlockContext& context, Tensor dy, uint32_t place) const;
  AttentionOptions attention_options(const BlockContext& context) const;
  Dropout dropout(const BlockContext& context, float rate, uint32_t place) const;

  int64_t index_, channels_, hidden_, heads_, kv_heads_, head_size_;
  float attention_dropout_, residual_dropout_;
  Norm norm1_, norm2_;
  Linear qkv_, projection_, up_, down_;
};

}  // namespace llm
