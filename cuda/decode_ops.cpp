#include "cuda/decode_ops.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "backend/checks.h"
#include "base/integer.h"
#include "cuda/decode_batch.h"
#include "cuda/memory_bound_ops.h"
#include "cuda/sampling.h"

namespace llm::cuda {
namespace {

constexpr const char* kOp = "transformer_decode";

DecodeShape shape_of(const DecodeModel& model) {
  const DecodeLayer& first = model.layers.front();
  return {static_cast<int>(model.layers.size()),    static_cast<int>(model.head.dim(1)),
          static_cast<int>(first.keys.dim(2)),      static_cast<int>(first.keys.dim(3)),
          static_cast<int>(first.up_weight.dim(0)), static_cast<int>(model.head.dim(0)),
          static_cast<int>(first.keys.dim(1))};
}

DecodeLinear linear_of(const Tensor& weight, const Tensor& bias) {
  return {weight.data, bias.data};
}

// The kernel copies whole units of 16 bytes.
void check_aligned(const Tensor& tensor) {
  LLM_ASSERT(!tensor || reinterpret_cast<uintptr_t>(tensor.data) % 16 == 0, "{}: {} is not aligned",
             kOp, tensor.describe());
}

void check_linear(const char* name, const Tensor& weight, const Tensor& bias, int64_t out,
                  int64_t in) {
  check_aligned(weight);
  check_aligned(bias);
  check_matrix(kOp, name, weight, out, in);
  check_optional_size(kOp, name, bias, out);
}

void check_layer(const DecodeLayer& layer, const DecodeShape& shape, const Tensor& block_table,
                 const Tensor& lengths) {
  const int64_t C = shape.C;
  check_alike(
      kOp, {layer.qkv_weight, layer.qkv_bias, layer.projection_weight, layer.projection_bias,
            layer.up_weight, layer.up_bias, layer.down_weight, layer.down_bias, layer.norm1_weight,
            layer.norm1_bias, layer.norm2_weight, layer.norm2_bias, layer.keys, layer.values});
  check_linear("qkv", layer.qkv_weight, layer.qkv_bias, 3 * C, C);
  check_linear("projection", layer.projection_weight, layer.projection_bias, C, C);
  check_linear("up", layer.up_weight, layer.up_bias, shape.hidden, C);
  check_linear("down", layer.down_weight, layer.down_bias, C, shape.hidden);
  for (const Tensor& weight : {layer.norm1_weight, layer.norm2_weight}) {
    check_matrix(kOp, "a norm", weight, 1, C);
    check_aligned(weight);
  }
  for (const Tensor& bias : {layer.norm1_bias, layer.norm2_bias}) {
    check_optional_size(kOp, "a norm's bias", bias, C);
    check_aligned(bias);
  }
  check_cache_shapes(kOp, layer.keys, layer.values, block_table, lengths, lengths.size());
  LLM_ASSERT(layer.keys.dim(2) == shape.H && layer.keys.dim(3) == shape.D, "{}: keys {}", kOp,
             layer.keys.describe());
}

int64_t exchange_bytes() { return round_up(transformer_decode_exchange_bytes(), int64_t{256}); }

// Whether decode_batch() takes the model, which transformer_decode() does.
bool in_batches(const DecodeModel& model) {
  return model.head.dtype == DType::bf16 && model.head.dim(0) % 4 == 0;
}

// Of so many channels and fewer, decode_batch() is the faster one for more than 4 sequences
// already: a step of 8 on an H200 takes it 323 us instead of 484 with GPT-2 124M, 2.18 ms instead
// of 1.89 with 1558M.
constexpr int kBatchedChannels = 1280;
constexpr int64_t kFewSequences = 4;

}  // namespace

DecodeOps::DecodeOps(Backend& backend, bool hopper, cudaStream_t stream) : stream_(stream) {
  if (!hopper) return;
  memory_ = backend.allocate(exchange_bytes() + decode_batch_bytes(), "decoding");
  backend.fill(Tensor(memory_->data(), DType::u8, {memory_->bytes()}), 0);
}

int64_t DecodeOps::sequences(const DecodeModel& model) const {
  const int64_t most = at_once(model);
  return most > 0 && in_batches(model) ? kDecodeBatch : most;
}

// That are best left to the kernel that takes a whole step.
int64_t DecodeOps::at_once(const DecodeModel& model) const {
  if (!memory_ || model.layers.empty()) return 0;
  // A cache of another type than the model's is not for the kernels.
  if (model.layers.front().keys.dtype != model.head.dtype) return 0;
  const DecodeShape shape = shape_of(model);
  const int64_t most = transformer_decode_sequences(shape, element_of(model.head.dtype));
  const bool soon = in_batches(model) && shape.C <= kBatchedChannels;
  return soon ? std::min(most, kFewSequences) : most;
}

void DecodeOps::run(Tensor logits, Tensor tokens, Tensor positions, Tensor block_table,
                    Tensor lengths, const DecodeModel& model, bool after_sampling) {
  const DecodeShape shape = shape_of(model);
  const int64_t S = tokens.size();
  check_vector(kOp, "tokens", tokens, DType::i32, S);
  check_vector(kOp, "positions", positions, DType::i32, S);
  check_vector(kOp, "lengths", lengths, DType::i32, S);
  check_vector(kOp, "logits", logits, DType::f32, S * shape.vocab);
  check_alike(kOp, {model.head, model.token_table, model.position_table, model.norm_weight,
                    model.norm_bias});
  check_matrix(kOp, "norm", model.norm_weight, 1, shape.C);
  check_optional_size(kOp, "norm's bias", model.norm_bias, shape.C);
  for (const Tensor& vector : {model.norm_weight, model.norm_bias}) check_aligned(vector);
  check_aligned(logits);
  for (const Tensor& table : {model.token_table, model.position_table, model.head}) {
    check_aligned(table);
    check_matrix(kOp, "a table", table, table.dim(0), shape.C);
  }

  TransformerDecode decode{};
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const DecodeLayer& layer = model.layers[i];
    check_layer(layer, shape, block_table, lengths);
    decode.blocks[i] = {
        {{layer.norm1_weight.data, layer.norm1_bias.data},
         {layer.norm2_weight.data, layer.norm2_bias.data}},
        {linear_of(layer.qkv_weight, layer.qkv_bias),
         linear_of(layer.projection_weight, layer.projection_bias),
         linear_of(layer.up_weight, layer.up_bias), linear_of(layer.down_weight, layer.down_bias)},
        layer.keys.data,
        layer.values.data};
  }
  decode.norm = {model.norm_weight.data, model.norm_bias.data};
  decode.head = model.head.data;
  decode.token_table = model.token_table.data;
  decode.position_table = model.position_table.data;
  decode.exchange = memory_->data();
  decode.layers = shape.layers, decode.C = shape.C, decode.H = shape.H, decode.D = shape.D;
  decode.hidden = shape.hidden, decode.vocab = shape.vocab;
  decode.block_shift = std::countr_zero(static_cast<uint32_t>(shape.block_size));
  decode.max_blocks = static_cast<int>(block_table.dim(1));
  decode.epsilon = model.epsilon;
  decode.scale = 1 / std::sqrt(static_cast<float>(shape.D));
  decode.batch_invariant = model.batch_invariant;
  const int64_t few = at_once(model);
  const bool batch = in_batches(model) && (S > few || model.batch_invariant);
  const int64_t most = batch ? kDecodeBatch : few;
  for (int64_t begin = 0; begin < S; begin += most) {
    decode.S = static_cast<int>(std::min(most, S - begin));
    decode.after_sampling = after_sampling && begin == 0;
    decode.tokens = tokens.i32() + begin;
    decode.positions = positions.i32() + begin;
    decode.lengths = lengths.i32() + begin;
    decode.block_table = block_table.i32() + begin * block_table.dim(1);
    decode.logits = logits.f32() + begin * shape.vocab;
    if (batch) {
      decode_batch(decode, static_cast<std::byte*>(memory_->data()) + exchange_bytes(), stream_);
    } else {
      cuda::transformer_decode(decode, element_of(model.head.dtype), stream_);
    }
  }
}

void DecodeOps::sample(const SampledSequences& sequences, Tensor logits, int64_t vocab,
                       const SamplingOptions& options) {
  check_sampling("sample_tokens", sequences, logits, vocab);
  SamplingProblem problem{};
  problem.logits = logits.f32();
  problem.S = sequences.tokens.size(), problem.vocab = vocab, problem.padded = logits.columns();
  problem.history = sequences.history.i32(), problem.N = sequences.history.dim(1);
  problem.lengths = sequences.lengths.i32(), problem.draws = sequences.draws.i32();
  problem.tokens = sequences.tokens.i32(), problem.positions = sequences.positions.i32();
  problem.log = sequences.log.i32(), problem.log_rows = sequences.log.dim(0);
  problem.streams = sequences.streams.i64(), problem.seed = sequences.seed;
  problem.temperature = options.temperature, problem.top_k = options.top_k;
  problem.top_p = options.top_p, problem.min_p = options.min_p;
  problem.repetition_penalty = options.repetition_penalty;
  cuda::sample_tokens(problem, stream_);
}

}  // namespace llm::cuda
