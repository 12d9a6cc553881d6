#include "model/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace llm {
namespace {

constexpr float kInitDeviation = 0.02f;

// Places of dropout in a block; of adapters, what they read.
enum DropoutPlace : uint32_t {
  kAttentionProbabilities = 0,
  kAttentionOutput = 1,
  kMlpOutput = 2,
  kQkvAdapter = 4,
  kProjectionAdapter = 5,
  kUpAdapter = 6,
  kDownAdapter = 7,
};

// While training, sums get memory of their own since the backward pass of the norms reads them;
// otherwise the stream is updated in place.
Tensor new_sum(const BlockContext& context, const Tensor& stream) {
  return context.keep ? context.arena.take(stream.dtype, {stream.rows(), stream.columns()})
                      : stream;
}
// Mean or rstd of each row, for the backward pass.
Tensor statistic(const BlockContext& context) {
  return context.keep ? context.arena.take(DType::f32, {context.batch * context.length}) : Tensor();
}

}  // namespace

Block::Block(const ModelConfig& config, int64_t index, std::vector<Parameter>& parameters)
    : index_(index),
      channels_(config.channels),
      hidden_(config.hidden),
      heads_(config.heads),
      kv_heads_(config.kv_heads),
      head_size_(config.head_size()),
      attention_dropout_(config.attention_dropout),
      residual_dropout_(config.residual_dropout) {
  LayerParameters layer(parameters, static_cast<int>(index) + 1, fmt::format("h.{}.", index));
  // Radford et al. 2019: the residual stream adds 2 L projections, so each starts smaller.
  const float projection_deviation =
      kInitDeviation / std::sqrt(2.0f * static_cast<float>(config.layers));
  const int64_t qkv_width = (heads_ + 2 * kv_heads_) * head_size_;
  norm1_ = layer.norm("ln_1", channels_, config.bias, config.norm_epsilon);
  qkv_ = layer.linear("attn.c_attn", qkv_width, channels_, config.has_qkv_bias(), kInitDeviation);
  projection_ =
      layer.linear("attn.c_proj", channels_, channels_, config.bias, projection_deviation);
  norm2_ = layer.norm("ln_2", channels_, config.bias, config.norm_epsilon);
  up_ = layer.linear("mlp.c_fc", hidden_, channels_, config.bias, kInitDeviation);
  down_ = layer.linear("mlp.c_proj", channels_, hidden_, config.bias, projection_deviation);
  if (config.lora.rank > 0) add_adapters(config.lora, layer);
}

void Block::add_adapters(const LoraConfig& lora, LayerParameters& layer) {
  const auto add = [&](Linear& linear, const char* name, int64_t out, int64_t in,
                       std::vector<ColumnRange> parts, DropoutPlace place) {
    linear.adapter =
        layer.adapter(name, out, in, lora, std::move(parts), dropout_site(index_, place));
  };
  const int64_t q_width = heads_ * head_size_, kv_width = kv_heads_ * head_size_;
  const int64_t qkv_width = q_width + 2 * kv_width;
  std::vector<ColumnRange> parts;
  if (lora.qkv) parts.push_back({0, qkv_width});
  if (lora.q) parts.push_back({0, q_width});
  if (lora.k) parts.push_back({q_width, kv_width});
  if (lora.v) parts.push_back({q_width + kv_width, kv_width});
  if (!parts.empty()) {
    add(qkv_, "attn.c_attn", qkv_width, channels_, std::move(parts), kQkvAdapter);
  }
  if (lora.projection) {
    add(projection_, "attn.c_proj", channels_, channels_, {{0, channels_}}, kProjectionAdapter);
  }
  if (lora.up) add(up_, "mlp.c_fc", hidden_, channels_, {{0, hidden_}}, kUpAdapter);
  if (lora.down) add(down_, "mlp.c_proj", channels_, hidden_, {{0, channels_}}, kDownAdapter);
}

Dropout Block::dropout(const BlockContext& context, float rate, uint32_t place) const {
  return context.dropout(rate, dropout_site(index_, place));
}

AttentionOptions Block::attention_options(const BlockContext& context) const {
  AttentionOptions options;
  options.mask = MaskKind::causal;
  options.scale = 1.0f / std::sqrt(static_cast<float>(head_size_));
  options.dropout = dropout(context, attention_dropout_, kAttentionProbabilities);
  options.query_offsets = options.key_offsets = context.sequence_offsets;
  return options;
}

void Block::take_first_norm(const BlockContext& context, BlockKept& kept) const {
  const int64_t rows = context.batch * context.length;
  kept.mean1 = statistic(context);
  kept.rstd1 = statistic(context);
  kept.normed1 = context.arena.take(kept.input.dtype, {rows, channels_});
}

void Block::forward(const BlockContext& context, BlockKept& kept, Tensor& stream, Tensor delta,
                    bool pending) const {
  ActivationArena& arena = context.arena;
  const int64_t rows = context.batch * context.length;
  int64_t mark = arena.mark();
  kept.input = pending ? new_sum(context, stream) : stream;
  if (context.recompute) mark = arena.mark();
  take_first_norm(context, kept);
  if (pending) {
    norm1_.forward_residual(context, kept.input, kept.normed1, kept.mean1, kept.rstd1, stream,
                            delta);
  } else {
    norm1_.forward(context, kept.normed1, kept.mean1, kept.rstd1, kept.input);
  }
  run_to_hidden(context, kept, delta);
  down_.forward(context, delta, kept.down_low, kept.hidden);
  const Dropout mask = dropout(context, residual_dropout_, kMlpOutput);
  if (mask.rate > 0) {
    const Tensor rows_view = delta.view({context.batch, context.length, channels_});
    context.backend.dropout(rows_view, rows_view, mask);
  }
  stream = kept.middle;
  if (context.keep && !context.recompute) return;
  // What is given back includes the stream. Its next reader is the norm that adds delta to it,
  // which writes the sum and its normalized rows where qkv, before the stream, was.
  arena.rewind(mark);
  LLM_ASSERT(!context.recompute || rows == 0 ||
             static_cast<std::byte*>(kept.middle.data) >=
                 static_cast<std::byte*>(kept.normed1.data) + 3 * kept.normed1.bytes());
}

void Block::recompute(const BlockContext& context, BlockKept& kept, Tensor delta) const {
  take_first_norm(context, kept);
  norm1_.forward(context, kept.normed1, kept.mean1, kept.rstd1, kept.input);
  run_to_hidden(context, kept, delta);
  kept.down_low = down_.forward_low(context, kept.hidden);
}

void Block::run_to_hidden(const BlockContext& context, BlockKept& kept, Tensor delta) const {
  ActivationArena& arena = context.arena;
  const int64_t rows = context.batch * context.length;
  attend(context, kept, delta);
  kept.middle = new_sum(context, kept.input);
  kept.mean2 = statistic(context);
  kept.rstd2 = statistic(context);
  kept.normed2 = arena.take(kept.input.dtype, {rows, channels_});
  norm2_.forward_residual(context, kept.middle, kept.normed2, kept.mean2, kept.rstd2, kept.input,
                          delta);
  kept.pre = context.keep ? arena.take(kept.input.dtype, {rows, hidden_}) : Tensor();
  kept.hidden = arena.take(kept.input.dtype, {rows, hidden_});
  up_.forward_gelu(context, kept.hidden, kept.pre, kept.up_low, kept.normed2);
}

void Block::attend(const BlockContext& context, BlockKept& kept, Tensor delta) const {
  ActivationArena& arena = context.arena;
  Backend& backend = context.backend;
  const int64_t B = context.batch, T = context.length, H = heads_, KV = kv_heads_, D = head_size_;
  kept.qkv = arena.take(delta.dtype, {B, T, H + 2 * KV, D});
  kept.attention = arena.take(delta.dtype, {B, T, H, D});
  kept.lse = context.keep ? arena.take(DType::f32, {B, H, T}) : Tensor();
  qkv_.forward(context, kept.qkv.view({B * T, (H + 2 * KV) * D}), kept.qkv_low, kept.normed1);

  const Tensor q = kept.qkv.slice(2, 0, H);
  const Tensor k = kept.qkv.slice(2, H, KV);
  const Tensor v = kept.qkv.slice(2, H + KV, KV);
  const AttentionOptions options = attention_options(context);
  bool first = true;  // nothing was cached before these tokens
  if (KvCache* cache = context.cache) {
    backend.cache_append(cache->keys(index_), cache->values(index_), k, v, cache->block_table(),
                         cache->lengths());
    first = std::all_of(cache->host_lengths().begin(), cache->host_lengths().end(),
                        [&](int32_t length) { return length == T; });
  }
  if (first) {
    backend.attention_forward(kept.attention, kept.lse, q, k, v, options);
  } else {
    KvCache* cache = context.cache;
    backend.attention_decode(kept.attention, q, cache->keys(index_), cache->values(index_),
                             cache->block_table(), cache->lengths(), options.scale);
  }

  projection_.forward(context, delta, kept.projection_low, kept.attention.view({B * T, H * D}));
  const Dropout mask = dropout(context, residual_dropout_, kAttentionOutput);
  if (mask.rate > 0) {
    const Tensor rows_view = delta.view({B, T, channels_});
    backend.dropout(rows_view, rows_view, mask);
  }
}

DecodeLayer Block::decode_layer(const ParameterStore& store, const KvCache& cache) const {
  const auto value = [&](int index) { return index < 0 ? Tensor() : store.value(index); };
  return {value(norm1_.weight), value(norm1_.bias),        value(qkv_.weight),
          value(qkv_.bias),     value(projection_.weight), value(projection_.bias),
          value(norm2_.weight), value(norm2_.bias),        value(up_.weight),
          value(up_.bias),      value(down_.weight),       value(down_.bias),
          cache.keys(index_),   cache.values(index_)};
}

void Block::backward(const BlockContext& context, const BlockKept& kept, Tensor dstream,
                     Tensor input_sum, bool needs_input) const {
  mlp_backward(context, kept, dstream);
  attend_backward(context, kept, dstream, input_sum, needs_input);
}

Tensor Block::output_bias_gradient(const BlockContext& context) const {
  return dropout(context, residual_dropout_, kMlpOutput).rate > 0 ? Tensor()
                                                                  : down_.bias_gradient(context);
}

Tensor Block::dropout_backward(const BlockContext& context, Tensor dy, uint32_t place) const {
  const Dropout mask = dropout(context, residual_dropout_, place);
  if (mask.rate == 0) return dy;
  const Tensor masked = context.arena.take(dy.dtype, {context.batch, context.length, channels_});
  context.backend.dropout(masked, dy.view({context.batch, context.length, channels_}), mask);
  return masked.view({context.batch * context.length, channels_});
}

void Block::mlp_backward(const BlockContext& context, const BlockKept& kept, Tensor dstream) const {
  const ArenaScope scope(context.arena);
  const int64_t rows = context.batch * context.length;
  const Tensor doutput = dropout_backward(context, dstream, kMlpOutput);
  const bool dropped = doutput.data != dstream.data;
  const Tensor dpre = context.arena.take(dstream.dtype, {rows, hidden_});
  const Tensor dnormed = context.arena.take(dstream.dtype, {rows, channels_});
  down_.backward_gelu(context, dpre, up_.bias_gradient(context), doutput, kept.down_low,
                      kept.hidden, kept.pre, /*with_bias=*/dropped);
  up_.backward(context, dnormed, dpre, kept.up_low, kept.normed2, /*with_bias=*/false);
  const Tensor sum = dropped ? Tensor() : projection_.bias_gradient(context);
  norm2_.backward(context, dstream, sum, dnormed, kept.middle, kept.mean2, kept.rstd2,
                  /*accumulate=*/true);
}

void Block::attend_backward(const BlockContext& context, const BlockKept& kept, Tensor dstream,
                            Tensor input_sum, bool needs_input) const {
  const ArenaScope scope(context.arena);
  const int64_t B = context.batch, T = context.length, H = heads_, KV = kv_heads_, D = head_size_;
  const Tensor doutput = dropout_backward(context, dstream, kAttentionOutput);
  const Tensor dattention = context.arena.take(dstream.dtype, {B, T, H, D});
  const Tensor dqkv = context.arena.take(dstream.dtype, {B, T, H + 2 * KV, D});
  const bool needs_normed = needs_input || norm1_.is_trained(context);
  const Tensor dnormed =
      needs_normed ? context.arena.take(dstream.dtype, {B * T, channels_}) : Tensor();
  projection_.backward(context, dattention.view({B * T, H * D}), doutput, kept.projection_low,
                       kept.attention.view({B * T, H * D}),
                       /*with_bias=*/doutput.data != dstream.data);
  context.backend.attention_backward(dqkv.slice(2, 0, H), dqkv.slice(2, H, KV),
                                     dqkv.slice(2, H + KV, KV), dattention, kept.attention,
                                     kept.lse, kept.qkv.slice(2, 0, H), kept.qkv.slice(2, H, KV),
                                     kept.qkv.slice(2, H + KV, KV), attention_options(context));
  qkv_.backward(context, dnormed, dqkv.view({B * T, (H + 2 * KV) * D}), kept.qkv_low, kept.normed1);
  if (!needs_normed) return;
  norm1_.backward(context, dstream, input_sum, dnormed, kept.input, kept.mean1, kept.rstd1,
                  /*accumulate=*/true);
}

}  // namespace llm
