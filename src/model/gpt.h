// A decoder-only transformer, written once for every backend: forward and backward as a sequence of
// backend ops. (Radford et al., "Language models are unsupervised multitask learners", 2019.)
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "model/activation_arena.h"
#include "model/block.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/parameter_store.h"

namespace llm {

// What a forward pass reads. All on the device.
struct ModelInput {
  Tensor tokens;            // (B, T) i32
  Tensor positions;         // (B, T) i32, empty: 0..T-1
  Tensor sample_ids;        // (B) i64 global sample index; needed for dropout
  Tensor sequence_offsets;  // (N + 1) i32 of packed rows (B = 1), else empty
  // (B) i32 each: a classifier reads the mean of the hidden states [pool_begin, pool_end) of a row.
  Tensor pool_begin, pool_end;
};

class Gpt {
 public:
  // Takes the memory of the parameters; their values are undefined until initialize() or loading.
  Gpt(Backend& backend, const ModelConfig& config, const StoreOptions& options);

  const ModelConfig& config() const { return config_; }
  ParameterStore& parameters() { return *store_; }
  const ParameterStore& parameters() const { return *store_; }
  Backend& backend() const { return backend_; }
  int64_t padded_vocab() const { return padded_vocab_; }
  int64_t padded_labels() const { return padded_labels_; }  // of a classifier, else 0
  DType dtype() const { return store_->dtype(); }           // of activations and logits

  // Keeps only the input of each block for the backward pass, which computes the rest of a block
  // again when it gets there: the same results in less memory and more time.
  void set_recompute(bool on) { recompute_ = on; }

  // Training: runs the blocks and the final norm, keeping in `arena` what backward() needs, which
  // is nothing of blocks below the lowest trained parameter; dropout with `seed`. Returns the
  // hidden states (B, T, C), in the arena.
  Tensor forward(ActivationArena& arena, const ModelInput& input, uint64_t dropout_seed);
  // The reverse: dhidden (B, T, C) is the gradient at forward()'s result and is overwritten; empty
  // where !trains_below_head(). Gradients of parameters are accumulated. Everything the forward
  // pass kept is given back.
  void backward(ActivationArena& arena, const ModelInput& input, Tensor dhidden);

  // Whether anything but the output layer is trained.
  bool trains_below_head() const;

  // Evaluation and prefill: nothing is kept but the result. With a cache, the T tokens of each
  // sequence are appended to it (cache.lengths already count them).
  Tensor forward_inference(ActivationArena& arena, const ModelInput& input, KvCache* cache);

  // Whether the model is what Backend::transformer_decode takes: no adapters, as many key/value
  // heads as heads, a language model.
  bool has_plain_blocks() const;
  // Its parameters and the cache's memory for that op.
  DecodeModel decode_model(const KvCache& cache) const;

  // The output layer. logits: (rows, padded vocab), hidden: (rows, C).
  void head_forward(Tensor logits, Tensor hidden);
  // dhidden overwritten, the weight's gradient accumulated.
  void head_backward(Tensor dhidden, Tensor dlogits, Tensor hidden);

  // The output layer of a classifier, in training after forward(), otherwise after
  // forward_inference(): pools hidden (B, T, C). Returns logits (B, padded labels), in the arena.
  Tensor classify(ActivationArena& arena, const ModelInput& input, Tensor hidden, bool training);
  // dhidden: overwritten, or empty where !trains_below_head().
  void classify_backward(ActivationArena& arena, const ModelInput& input, Tensor dhidden,
                         Tensor dlogits);

 private:
  enum class Pass { training, inference };
  BlockContext context_of(ActivationArena& arena, const ModelInput& input, Pass pass,
                          uint64_t dropout_seed, KvCache* cache);
  Tensor embed(const BlockContext& context, const ModelInput& input);
  void embed_backward(const BlockContext& context, const ModelInput& input, Tensor dstream);
  Dropout embedding_dropout(const BlockContext& context) const;
  void run_blocks(const BlockContext& context, std::vector<BlockKept>& kept, Tensor& stream,
                  Tensor delta);

  Backend& backend_;
  ModelConfig config_;
  int64_t padded_vocab_, padded_labels_ = 0;
  std::unique_ptr<ParameterStore> store_;
  bool recompute_ = false;
  int token_table_ = -1, position_table_ = -1, head_ = -1;
  std::vector<Block> blocks_;
  Norm final_norm_;
  Linear score_;
  std::unique_ptr<DeviceMemory> adapter_scale_memory_;
  Tensor adapter_scale_;

  // What the last training forward pass kept.
  struct Kept {
    int64_t mark = 0;
    uint64_t dropout_seed = 0;
    std::vector<BlockKept> blocks;
    Tensor delta;  // the buffer that blocks share
    Tensor final_input, final_mean, final_rstd;
    Tensor pooled, score_low;
  };
  Kept kept_;
};

}  // namespace llm
