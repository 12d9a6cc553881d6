// The parts that a transformer is stacked from. Each part knows its parameters by index and runs
// forward and backward on a backend; which parts there are follows from the config.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "model/activation_arena.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/parameter_store.h"

namespace llm {

// What every part needs while it runs.
struct BlockContext {
  Backend& backend;
  ParameterStore& store;
  ActivationArena& arena;
  int64_t batch, length;     // B, T
  bool keep;                 // training: keep what the backward pass needs
  uint64_t dropout_seed;     // used where keep
  Tensor sample_ids;         // (B) i64
  Tensor sequence_offsets;   // (N + 1) i32 or empty
  KvCache* cache = nullptr;  // inference only
};

struct Norm {
  int weight = -1, bias = -1;
  float epsilon = 1e-5f;

  // y = norm(x)
  void forward(const BlockContext& context, Tensor y, Tensor mean, Tensor rstd, Tensor x) const;
  // sum = a + b; y = norm(sum)
  void forward_residual(const BlockContext& context, Tensor sum, Tensor y, Tensor mean, Tensor rstd,
                        Tensor a, Tensor b) const;
  void backward(const BlockContext& context, Tensor dx, Tensor dy, Tensor x, Tensor mean,
                Tensor rstd, bool accumulate) const;
};

struct Linear {
  int weight = -1, bias = -1;

  Weight weight_of(const BlockContext& context) const;
  Tensor bias_of(const BlockContext& context) const;
  void forward(const BlockContext& context, Tensor y, Tensor x) const;
  void forward_gelu(const BlockContext& context, Tensor y, Tensor pre, Tensor x) const;
  void backward(const BlockContext& context, Tensor dx, Tensor dy, Tensor x) const;
};

// A norm over `channels`, its parameters appended to `parameters` as NAME.weight and NAME.bias.
Norm make_norm(const std::string& name, int layer, int64_t channels, bool bias, float epsilon,
               std::vector<Parameter>& parameters);

// What a block keeps from its forward pass, all in the arena. rows = B T.
struct BlockKept {
  Tensor input, mean1, rstd1, normed1;   // residual stream before attention (rows, C); statistics
  Tensor qkv;                            // (B, T, (H + 2 KV) D)
  Tensor attention, lse;                 // (B, T, H, D), (B, H, T)
  Tensor middle, mean2, rstd2, normed2;  // residual stream before the MLP
  Tensor pre, hidden;                    // (rows, hidden) before and after the activation
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
  // dstream: (B T, C) gradient at the block's result, becomes the gradient at its input.
  void backward(const BlockContext& context, const BlockKept& kept, Tensor dstream) const;

 private:
  void attend(const BlockContext& context, BlockKept& kept, Tensor delta) const;
  void attend_backward(const BlockContext& context, const BlockKept& kept, Tensor dstream) const;
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
