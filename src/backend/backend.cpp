#include "backend/backend.h"

#include <cmath>

namespace llm {

std::unique_ptr<CapturedWork> Backend::capture(const std::function<void()>&) { return nullptr; }
void Backend::replay(const CapturedWork&) {}
int64_t Backend::scratch_bytes(const std::string&, Tensor, Tensor) const { return 0; }
void Backend::reserve_scratch(int64_t) {}
void Backend::set_tuning(bool) {}
std::string Backend::plan() const { return {}; }
void Backend::load_plan(const std::string&, const std::string&) {}
void Backend::set_profiling(bool) {}
std::vector<OpTime> Backend::op_times() { return {}; }

void Backend::residual_layernorm_forward(Tensor sum, Tensor y, Tensor mean, Tensor rstd, Tensor a,
                                         Tensor b, Tensor weight, Tensor bias, float epsilon) {
  add(sum, a, b);
  layernorm_forward(y, mean, rstd, sum, weight, bias, epsilon);
}

void Backend::linear_gelu_forward(Tensor y, Tensor pre, Tensor x, const Weight& weight,
                                  Tensor bias) {
  linear_forward(pre ? pre : y, x, weight, bias);
  gelu_forward(y, pre ? pre : y);
}

void Backend::linear_backward_gelu(Tensor dpre, Tensor dweight, Tensor dbias, Tensor dpre_bias,
                                   Tensor dy, Tensor x, Tensor pre, const Weight& weight) {
  linear_backward(dpre, dweight, dbias, dy, x, weight, /*accumulate=*/false);
  gelu_backward(dpre, dpre, pre);
  if (dpre_bias) bias_backward(dpre_bias, dpre);
}

int64_t Backend::decode_sequences(const DecodeModel&) const { return 0; }

void Backend::transformer_decode(Tensor logits, Tensor tokens, Tensor positions, Tensor block_table,
                                 Tensor lengths, const DecodeModel& model) {
  const DecodeLayer& first = model.layers.front();
  const int64_t S = tokens.size(), C = model.head.dim(1), hidden = first.up_weight.dim(0),
                H = first.keys.dim(2), D = first.keys.dim(3), vocab = model.head.dim(0);
  const DType dtype = model.head.dtype;
  const int64_t row = 7 * C + hidden + vocab;
  const auto memory = allocate(S * row * dtype_bytes(dtype), "decoding");
  auto* next = static_cast<std::byte*>(memory->data());
  const auto take = [&](int64_t columns) {
    const Tensor tensor(next, dtype, {S, columns});
    next += tensor.bytes();
    return tensor;
  };
  const Tensor stream = take(C), normed = take(C), delta = take(C), attended = take(C);
  const Tensor qkv = take(3 * C).view({S, 1, 3 * H, D}), inner = take(hidden);
  const auto linear = [&](Tensor y, Tensor x, Tensor weight, Tensor bias) {
    linear_forward(y, x, {weight, {}, {}}, bias);
  };

  embedding_forward(stream.view({S, 1, C}), tokens.view({S, 1}), positions.view({S, 1}),
                    model.token_table, model.position_table);
  for (const DecodeLayer& layer : model.layers) {
    layernorm_forward(normed, {}, {}, stream, layer.norm1_weight, layer.norm1_bias, model.epsilon);
    linear(qkv.view({S, 3 * C}), normed, layer.qkv_weight, layer.qkv_bias);
    cache_append(layer.keys, layer.values, qkv.slice(2, H, H), qkv.slice(2, 2 * H, H), block_table,
                 lengths);
    attention_decode(attended.view({S, 1, H, D}), qkv.slice(2, 0, H), layer.keys, layer.values,
                     block_table, lengths, 1 / std::sqrt(static_cast<float>(D)));
    linear(delta, attended, layer.projection_weight, layer.projection_bias);
    residual_layernorm_forward(stream, normed, {}, {}, stream, delta, layer.norm2_weight,
                               layer.norm2_bias, model.epsilon);
    linear_gelu_forward(inner, {}, normed, {layer.up_weight, {}, {}}, layer.up_bias);
    linear(delta, inner, layer.down_weight, layer.down_bias);
    add(stream, stream, delta);
  }
  layernorm_forward(normed, {}, {}, stream, model.norm_weight, model.norm_bias, model.epsilon);
  if (dtype == DType::f32) return linear(logits, normed, model.head, {});
  const Tensor rounded = take(vocab);
  linear(rounded, normed, model.head, {});
  convert(logits, rounded);
}

void Backend::cross_entropy_forward_backward(Tensor losses, Tensor logits, Tensor targets,
                                             int64_t vocab, Tensor gradient_scale) {
  cross_entropy_forward(losses, logits, targets, vocab);
  cross_entropy_backward(logits, logits, targets, vocab, gradient_scale);
}

}  // namespace llm
