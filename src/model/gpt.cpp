#include "model/gpt.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/integer.h"

namespace llm {
namespace {

constexpr uint32_t kEmbeddingDropoutSite = 0;
constexpr uint32_t kScoreAdapter = 4;  // the place of its dropout in the layer after the last block

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
  const int last = static_cast<int>(config.layers) + 1;
  LayerParameters output(parameters, last, "");
  final_norm_ = output.norm("ln_f", C, config.bias, config.norm_epsilon);
  if (config.tied) {
    parameters[static_cast<size_t>(token_table_)].aliases = {"lm_head.weight"};
  } else if (!config.is_classifier()) {
    head_ = add_table(parameters, "lm_head.weight", last, config.vocab_size, padded_vocab_, C);
  }
  if (config.is_classifier()) {
    const int64_t labels = std::ssize(config.labels);
    padded_labels_ = round_up(labels, backend.vocab_multiple());
    score_ = output.output_layer("score", labels, padded_labels_, C);
    if (config.lora.rank > 0 && config.lora.score) {
      score_.adapter = output.adapter("score", padded_labels_, C, config.lora, {{0, labels}},
                                      dropout_site(config.layers, kScoreAdapter));
    }
  }
  if (config.lora.rank > 0) {
    adapter_scale_memory_ = backend.allocate(4, "parameters");
    adapter_scale_ = Tensor(adapter_scale_memory_->data(), DType::f32, {1});
    backend.fill(adapter_scale_, config.lora.scale());
  }
  store_ = std::make_unique<ParameterStore>(backend, std::move(parameters), options);
}

BlockContext Gpt::context_of(ActivationArena& arena, const ModelInput& input, Pass pass,
                             uint64_t dropout_seed, KvCache* cache) {
  const bool training = pass == Pass::training;
  return {backend_,
          *store_,
          arena,
          input.tokens.dim(0),
          input.tokens.dim(1),
          training,
          /*keep=*/training,
          /*recompute=*/training && recompute_,
          dropout_seed,
          input.sample_ids,
          input.sequence_offsets,
          adapter_scale_,
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
  return context.dropout(config_.embedding_dropout, kEmbeddingDropoutSite);
}

// kept: one per block, or one in all where nothing is kept.
void Gpt::run_blocks(const BlockContext& context, std::vector<BlockKept>& kept, Tensor& stream,
                     Tensor delta) {
  BlockContext passing = context;
  passing.keep = passing.recompute = false;
  BlockKept passed;
  bool pending = false;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const int layer = static_cast<int>(i) + 1;
    const bool keeps = context.keep && layer >= store_->first_trained_layer();
    store_->acquire(layer);
    blocks_[i].forward(keeps ? context : passing, keeps ? kept[i] : passed, stream, delta, pending);
    store_->release(layer);
    pending = true;
  }
}

bool Gpt::trains_below_head() const {
  const std::span<const Parameter> parameters = store_->parameters();
  return std::any_of(parameters.begin(), parameters.end(), [&](const Parameter& parameter) {
    return parameter.trainable && !parameter.name.starts_with("score.") &&
           !parameter.name.starts_with("lm_head.");
  });
}

Tensor Gpt::forward(ActivationArena& arena, const ModelInput& input, uint64_t dropout_seed) {
  const BlockContext context = context_of(arena, input, Pass::training, dropout_seed, nullptr);
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
  const BlockContext context =
      context_of(arena, input, Pass::training, kept_.dropout_seed, nullptr);
  const int last = static_cast<int>(blocks_.size()) + 1;
  const int first = store_->first_trained_layer();
  const Tensor dstream =
      dhidden ? dhidden.view({context.batch * context.length, config_.channels}) : Tensor();

  if (dstream) {
    store_->acquire(last);
    const Tensor below = first < last ? blocks_.back().output_bias_gradient(context) : Tensor();
    final_norm_.backward(context, dstream, below, dstream, kept_.final_input, kept_.final_mean,
                         kept_.final_rstd, /*accumulate=*/false);
    store_->release(last);
  }
  store_->gradient_ready(last);
  for (int layer = last - 1; layer >= std::max(first, 1); --layer) {
    const auto i = static_cast<size_t>(layer) - 1;
    store_->acquire(layer);
    const ArenaScope scope(arena);
    if (recompute_) blocks_[i].recompute(context, kept_.blocks[i], kept_.delta);
    const Tensor below =
        layer > 1 && layer > first ? blocks_[i - 1].output_bias_gradient(context) : Tensor();
    blocks_[i].backward(context, kept_.blocks[i], dstream, below, /*needs_input=*/layer > first);
    store_->release(layer);
    store_->gradient_ready(layer);
  }
  if (first == 0) embed_backward(context, input, dstream);
  arena.rewind(kept_.mark);
}

void Gpt::embed_backward(const BlockContext& context, const ModelInput& input, Tensor dstream) {
  const Tensor dembedding = dstream.view({context.batch, context.length, config_.channels});
  const Dropout mask = embedding_dropout(context);
  if (mask.rate > 0) backend_.dropout(dembedding, dembedding, mask);
  backend_.embedding_backward(store_->gradient(token_table_), store_->gradient(position_table_),
                              dembedding, input.tokens, input.positions);
  store_->gradient_ready(0);
}

Tensor Gpt::forward_inference(ActivationArena& arena, const ModelInput& input, KvCache* cache) {
  const BlockContext context = context_of(arena, input, Pass::inference, 0, cache);
  const int64_t B = context.batch, T = context.length, C = config_.channels, rows = B * T;
  LLM_ASSERT(cache == nullptr || (input.positions && cache->sequences() == B));
  const Tensor hidden = arena.take(dtype(), {B, T, C});
  const ArenaScope scope(arena);
  Tensor stream = embed(context, input);
  const Tensor delta = arena.take(dtype(), {rows, C});
  std::vector<BlockKept> none;
  run_blocks(context, none, stream, delta);
  const int last = static_cast<int>(blocks_.size()) + 1;
  store_->acquire(last);
  final_norm_.forward_residual(context, stream, hidden.view({rows, C}), {}, {}, stream, delta);
  store_->release(last);
  return hidden;
}

bool Gpt::has_plain_blocks() const {
  return !config_.is_classifier() && config_.lora.rank == 0 && config_.kv_heads == config_.heads;
}

DecodeModel Gpt::decode_model(const KvCache& cache) const {
  LLM_ASSERT(has_plain_blocks());
  const auto value = [&](int index) { return index < 0 ? Tensor() : store_->value(index); };
  DecodeModel model;
  model.token_table = value(token_table_);
  model.position_table = value(position_table_);
  for (const Block& block : blocks_) model.layers.push_back(block.decode_layer(*store_, cache));
  model.norm_weight = value(final_norm_.weight);
  model.norm_bias = value(final_norm_.bias);
  model.head = value(head_);
  model.epsilon = config_.norm_epsilon;
  return model;
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

Tensor Gpt::classify(ActivationArena& arena, const ModelInput& input, Tensor hidden,
                     bool training) {
  LLM_ASSERT(config_.is_classifier());
  const BlockContext context = context_of(arena, input, training ? Pass::training : Pass::inference,
                                          kept_.dropout_seed, nullptr);
  const Tensor logits = arena.take(dtype(), {context.batch, padded_labels_});
  const Tensor pooled = kept_.pooled = arena.take(dtype(), {context.batch, config_.channels});
  backend_.pool_forward(pooled, hidden, input.pool_begin, input.pool_end);
  score_.forward(context, logits, kept_.score_low, pooled);
  return logits;
}

void Gpt::classify_backward(ActivationArena& arena, const ModelInput& input, Tensor dhidden,
                            Tensor dlogits) {
  const BlockContext context =
      context_of(arena, input, Pass::training, kept_.dropout_seed, nullptr);
  const ArenaScope scope(arena);
  const Tensor dpooled =
      dhidden ? arena.take(dtype(), {context.batch, config_.channels}) : Tensor();
  score_.backward(context, dpooled, dlogits, kept_.score_low, kept_.pooled);
  if (dhidden) backend_.pool_backward(dhidden, dpooled, input.pool_begin, input.pool_end);
}

}  // namespace llm
