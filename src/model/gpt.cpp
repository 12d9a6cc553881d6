#include "model/gpt.h"

#include <utility>

#include "base/error.h"

namespace llm {
namespace {

constexpr uint32_t kEmbeddingDropoutSite = 0;

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

int add_table(std::vector<Parameter>& parameters, const std::string& name, int layer, int64_t rows,
              int64_t padded_rows, int64_t channels) {
  Parameter table;
  table.name = name;
  table.layer = layer;
  table.shape = {rows, channels};
  table.padded_rows = padded_rows;
  table.decay = true;
  table.init = Init::normal;
  table.init_deviation = 0.02f;
  parameters.push_back(std::move(table));
  return static_cast<int>(parameters.size()) - 1;
}

}  // namespace

Gpt::Gpt(Backend& backend, const ModelConfig& config, const StoreOptions& options)
    : backend_(backend),
      config_(config),
      padded_vocab_(round_up(config.vocab_size, backend.vocab_multiple())) {
  validate(config, "model");
  std::vector<Parameter> parameters;
  const int64_t C = config.channels;
  token_table_ = head_ =
      add_table(parameters, "wte.weight", 0, config.vocab_size, padded_vocab_, C);
  position_table_ = add_table(parameters, "wpe.weight", 0, config.context, config.context, C);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    blocks_.emplace_back(config, layer, parameters);
  }
  final_norm_ = make_norm("ln_f", static_cast<int>(config.layers) + 1, C, config.bias,
                          config.norm_epsilon, parameters);
  if (config.tied) {
    parameters[static_cast<size_t>(token_table_)].aliases = {"lm_head.weight"};
  } else {
    head_ = add_table(parameters, "lm_head.weight", static_cast<int>(config.layers) + 1,
                      config.vocab_size, padded_vocab_, C);
  }
  store_ = std::make_unique<ParameterStore>(backend, std::move(parameters), options);
}

BlockContext Gpt::context_of(ActivationArena& arena, const ModelInput& input, bool keep,
                             uint64_t dropout_seed, KvCache* cache) {
  return {backend_,
          *store_,
          arena,
          input.tokens.dim(0),
          input.tokens.dim(1),
          keep,
          keep && recompute_,
          dropout_seed,
          input.sample_ids,
          input.sequence_offsets,
          cache};
}

Tensor Gpt::embed(const BlockContext& context, const ModelInput& input) {
  const int64_t B = context.batch, T = context.length, C = config_.channels;
  LLM_ASSERT(input.positions || T <= config_.context, "{} tokens, context {}", T, config_.context);
  const Tensor stream = context.arena.take(dtype(), {B, T, C});
  store_->acquire(0);
  backend_.embedding_forward(stream, input.tokens, input.positions, store_->value(token_table_),
                             store_->value(position_table_));
  store_->release(0);
  const Dropout mask = embedding_dropout(context);
  if (mask.rate > 0) backend_.dropout(stream, stream, mask);
  return stream.view({B * T, C});
}

Dropout Gpt::embedding_dropout(const BlockContext& context) const {
  Dropout result;
  if (!context.keep || config_.embedding_dropout == 0) return result;
  result.rate = config_.embedding_dropout;
  result.seed = context.dropout_seed;
  result.site = kEmbeddingDropoutSite;
  result.sample_ids = context.sample_ids;
  return result;
}

void Gpt::run_blocks(const BlockContext& context, std::vector<BlockKept>& kept, Tensor& stream,
                     Tensor delta) {
  bool pending = false;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    store_->acquire(static_cast<int>(i) + 1);
    blocks_[i].forward(context, kept[context.keep ? i : 0], stream, delta, pending);
    store_->release(static_cast<int>(i) + 1);
    pending = true;
  }
}

Tensor Gpt::forward(ActivationArena& arena, const ModelInput& input, uint64_t dropout_seed) {
  const BlockContext context = context_of(arena, input, /*keep=*/true, dropout_seed, nullptr);
  const int64_t B = context.batch, T = context.length, C = config_.channels, rows = B * T;
  kept_.mark = arena.mark();
  kept_.dropout_seed = dropout_seed;
  kept_.blocks.assign(blocks_.size(), {});

  Tensor stream = embed(context, input);
  const Tensor delta = kept_.delta = arena.take(dtype(), {rows, C});
  run_blocks(context, kept_.blocks, stream, delta);

  const int last = static_cast<int>(blocks_.size()) + 1;
  kept_.final_input = arena.take(dtype(), {rows, C});
  kept_.final_mean = arena.take(DType::f32, {rows});
  kept_.final_rstd = arena.take(DType::f32, {rows});
  const Tensor hidden = arena.take(dtype(), {B, T, C});
  store_->acquire(last);
  final_norm_.forward_residual(context, kept_.final_input, hidden.view({rows, C}), kept_.final_mean,
                               kept_.final_rstd, stream, delta);
  store_->release(last);
  return hidden;
}

void Gpt::backward(ActivationArena& arena, const ModelInput& input, Tensor dhidden) {
  const BlockContext context = context_of(arena, input, /*keep=*/true, kept_.dropout_seed, nullptr);
  const int64_t B = context.batch, T = context.length, C = config_.channels;
  const Tensor dstream = dhidden.view({B * T, C});
  const int last = static_cast<int>(blocks_.size()) + 1;

  store_->acquire(last);
  final_norm_.backward(context, dstream, blocks_.back().output_bias_gradient(context), dstream,
                       kept_.final_input, kept_.final_mean, kept_.final_rstd,
                       /*accumulate=*/false);
  store_->release(last);
  store_->gradient_ready(last);
  for (size_t i = blocks_.size(); i-- > 0;) {
    const int layer = static_cast<int>(i) + 1;
    store_->acquire(layer);
    const ArenaScope scope(arena);
    if (recompute_) blocks_[i].recompute(context, kept_.blocks[i], kept_.delta);
    blocks_[i].backward(context, kept_.blocks[i], dstream,
                        i > 0 ? blocks_[i - 1].output_bias_gradient(context) : Tensor());
    store_->release(layer);
    store_->gradient_ready(layer);
  }
  const Tensor dembedding = dstream.view({B, T, C});
  const Dropout mask = embedding_dropout(context);
  if (mask.rate > 0) backend_.dropout(dembedding, dembedding, mask);
  backend_.embedding_backward(store_->gradient(token_table_), store_->gradient(position_table_),
                              dembedding, input.tokens, input.positions);
  store_->gradient_ready(0);
  arena.rewind(kept_.mark);
}

Tensor Gpt::forward_inference(ActivationArena& arena, const ModelInput& input, KvCache* cache) {
  const BlockContext context = context_of(arena, input, /*keep=*/false, 0, cache);
  const int64_t B = context.batch, T = context.length, C = config_.channels, rows = B * T;
  LLM_ASSERT(cache == nullptr || (input.positions && cache->sequences() == B));
  const Tensor hidden = arena.take(dtype(), {B, T, C});
  const ArenaScope scope(arena);
  Tensor stream = embed(context, input);
  const Tensor delta = arena.take(dtype(), {rows, C});
  std::vector<BlockKept> scratch(1);
  run_blocks(context, scratch, stream, delta);
  const int last = static_cast<int>(blocks_.size()) + 1;
  store_->acquire(last);
  final_norm_.forward_residual(context, stream, hidden.view({rows, C}), {}, {}, stream, delta);
  store_->release(last);
  return hidden;
}

void Gpt::head_forward(Tensor logits, Tensor hidden) {
  Weight weight;
  weight.data = store_->value(head_);
  backend_.linear_forward(logits, hidden, weight, {});
}

void Gpt::head_backward(Tensor dhidden, Tensor dlogits, Tensor hidden) {
  Weight weight;
  weight.data = store_->value(head_);
  backend_.linear_backward(dhidden, store_->gradient(head_), {}, dlogits, hidden, weight,
                           /*accumulate=*/false);
}

}  // namespace llm
