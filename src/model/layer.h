// The layers that blocks and heads are made of: norms and linear layers, the latter with a low-rank
// adapter where the config wants one. Each knows its parameters by index and runs forward and
// backward on a backend.
#pragma once

#include <cstdint>
#include <optional>
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
  bool training;             // with dropout
  bool keep;                 // keep what the backward pass needs
  bool recompute;            // of that, keep only the block's input
  uint64_t dropout_seed;     // used where training
  Tensor sample_ids;         // (B) i64
  Tensor sequence_offsets;   // (N + 1) i32 or empty
  Tensor adapter_scale;      // (1) f32 alpha / rank, where there are adapters
  KvCache* cache = nullptr;  // inference only

  // Dropout at a site of the model; none unless training.
  Dropout dropout(float rate, uint32_t site) const;
};

// Sites of dropout: 0 the embedding, 16 (layer + 1) + place in the block of a layer (0-based), the
// output layer counting as one more.
uint32_t dropout_site(int64_t layer, uint32_t place);

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
  bool is_trained(const BlockContext& context) const;
};

// What is added to a linear layer: y += scale (x A^T) B^T (Hu et al., "LoRA", 2021). A layer that
// is several in one, as q, k and v are, may have an adapter of rank r for some of these parts: A
// holds theirs below each other, and B the r columns of each part that meet the part's rows, zeros
// elsewhere.
struct Adapter {
  int a = -1;  // (R, in), R = r times the number of parts
  int b = -1;  // (R, out): B transposed, so that adding to y and its backward pass are the products
               // that linear layers have anyway
  float dropout = 0;               // of x
  uint32_t site = 0;               // of the dropout
  std::vector<ColumnRange> parts;  // of y; one: everything
};

struct Linear {
  int weight = -1, bias = -1;
  std::optional<Adapter> adapter;

  Weight weight_of(const BlockContext& context) const;
  Tensor bias_of(const BlockContext& context) const;
  // `low` is what the backward pass needs of the adapter, scale x A^T (rows, R), in the arena;
  // nothing where there is no adapter.
  void forward(const BlockContext& context, Tensor y, Tensor& low, Tensor x) const;
  void forward_gelu(const BlockContext& context, Tensor y, Tensor pre, Tensor& low, Tensor x) const;
  // `low` alone, once more.
  Tensor forward_low(const BlockContext& context, Tensor x) const;
  // dx may be empty: nothing below wants it. with_bias false: the bias's gradient is summed up by
  // whoever makes dy.
  void backward(const BlockContext& context, Tensor dx, Tensor dy, Tensor low, Tensor x,
                bool with_bias = true) const;
  // The layer behind a GELU, down to what the GELU reads; below_bias: gradient of the bias below.
  void backward_gelu(const BlockContext& context, Tensor dpre, Tensor below_bias, Tensor dy,
                     Tensor low, Tensor x, Tensor pre, bool with_bias) const;
  Tensor bias_gradient(const BlockContext& context) const;  // empty where there is none

 private:
  Tensor dropped(const BlockContext& context, Tensor x) const;
  void add_adapter(const BlockContext& context, Tensor y, Tensor low) const;
  void adapter_backward(const BlockContext& context, Tensor dx, Tensor dy, Tensor low,
                        Tensor x) const;
};

// Appends parameters of one layer and returns what refers to them.
class LayerParameters {
 public:
  // prefix: of all names, such as "h.3."
  LayerParameters(std::vector<Parameter>& parameters, int layer, std::string prefix)
      : parameters_(parameters), layer_(layer), prefix_(std::move(prefix)) {}

  // NAME.weight (out, in) and, with bias, NAME.bias (out).
  Linear linear(const std::string& name, int64_t out, int64_t in, bool bias, float deviation);
  // An output layer: NAME.weight (out, in), padded_out rows in memory, stored as it is in files.
  Linear output_layer(const std::string& name, int64_t out, int64_t padded_out, int64_t in);
  Norm norm(const std::string& name, int64_t channels, bool bias, float epsilon);
  // NAME.lora_A and NAME.lora_B of an adapter for a linear layer of `in` to `out` numbers.
  Adapter adapter(const std::string& name, int64_t out, int64_t in, const LoraConfig& config,
                  std::vector<ColumnRange> parts, uint32_t site);

 private:
  Parameter named(const std::string& name, std::vector<int64_t> shape, Init init) const;
  int add(Parameter parameter);
  int vector(const std::string& name, int64_t size, Init init);

  std::vector<Parameter>& parameters_;
  int layer_;
  std::string prefix_;
};

}  // namespace llm
