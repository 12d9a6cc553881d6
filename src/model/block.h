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
  bool recompute;            // of that, keep only the block's input
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
  // dx_sum: empty, or the bias gradient of the linear layer that dx is the gradient of.
  void backward(const BlockContext& context, Tensor dx, Tensor dx_sum, Tensor dy, Tensor x,
                Tensor mean, Tensor rstd, bool accumulate) const;
};

struct Linear {
  int weight = -1, bias = -1;

  Weight weight_of(const BlockContext& context) const;
  Tensor bias_of(const BlockContext& context) const;
  void forward(const BlockContext& context, Tensor y, Tensor x) const;
  void forward_gelu(const BlockContext& context, Tensor y, Tensor pre, Tensor x) const;
  // with_bias false: the bias's gradient is summed up by whoever makes dy.
  void backward(const BlockContext& context, Tensor dx, Tensor dy, Tensor x,
                bool with_bias = true) const;
  // The layer behind a GELU, down to what the GELU reads; below_bias: gradient of the bias below.
  void backward_gelu(const BlockContext& context, Tensor dpre, Tensor below_bias, Tensor dy,
                     Tensor x, Tensor pre, bool with_bias) const;
  Tensor bias_gradient(const BlockContext& context) const;  // empty where there is none
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
  // From kept.input everything else that the backward pass needs, once more.
  void recompute(const BlockContext& context, BlockKept& kept, Tensor delta) const;
  // dstream: (B T, C) gradient at the block's result, becomes the gradient at its input. Whoever
  // made it added its column sums to output_bias_gradient(), and the block adds those of its result
  // to input_sum, the same of the block before (both may be empty).
  void backward(const BlockContext& context, const BlockKept& kept, Tensor dstream,
                Tensor input_sum) const;
  // Gradient of the last bias, where the column sums of the gradient at the block's result are it;
  // empty where dropout lies between or there is no bias.
  Tensor output_bias_gradient(const BlockContext& context) const;

 private:
  void take_first_norm(const BlockContext& context, BlockKept& kept) const;
  void run_to_hidden(const BlockContext& context, BlockKept& kept, Tensor delta) const;
  void attend(const BlockContext& context, BlockKept& kept, Tensor delta) const;
  void attend_backward(const BlockContext& context, const BlockKept& kept, Tensor dstream,
                       Tensor input_sum) const;
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
