// The complete list of what a device can do: memory, copies, queues, and every op as a pair of
// forward and backward. Primitive ops are pure virtual, so a missing twin does not compile. A fused
// op has a default body (backend.cpp) that composes primitives: unfused is the definition.
//
// Conventions of all ops
//  - Outputs come first, then what is kept for the backward pass, then inputs, then numbers.
//  - Activations and weights are f32 or bf16, all of one op alike unless it says otherwise.
//    Statistics (mean, rstd, lse, losses) and gradients of parameters are always f32. Arithmetic
//    is f32 or better.
//  - "dx" is overwritten, "dweight"-like gradients of parameters are accumulated into (+=), so that
//    they add up over micro-batches. An empty gradient tensor is not computed.
//  - Tensors are contiguous unless the op says "strided".
//  - Programmer errors (shapes that do not fit) assert.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/tensor.h"

namespace llm {

enum class Queue { compute, communication, copy };

// A point in a queue that another queue or the host can wait for. Opaque.
class Event {
 public:
  virtual ~Event() = default;
};

// Work that was recorded once and can be repeated. Opaque.
class CapturedWork {
 public:
  virtual ~CapturedWork() = default;
};

// Device memory, freed on destruction.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 protected:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

// What `linear` multiplies with. data is out x in, always.
struct Weight {
  Tensor data;        // (out, in)
  Tensor scale;       // per-tensor or per-row scales of quantized data, else empty
  Tensor transposed;  // (in, out) copy for devices whose products need it, else empty
};

// Dropout whose mask is a pure function of (seed, site, global sample index, element of the
// sample): element e of sample s at a site is dropped iff uniform < rate, with the 32-bit number e
// of Random(seed, hash of (site, s)); see backend/dropout_mask.h. Kept elements are scaled by 1 /
// (1 - rate).
struct Dropout {
  float rate = 0;
  uint64_t seed = 0;
  uint32_t site = 0;  // distinguishes layers and places in a layer
  Tensor sample_ids;  // (B) i64
};

enum class MaskKind {
  causal,  // query i of Tq sees keys j <= i + Tk - Tq: the last query sees all keys
  full,    // every query sees every key
  window,  // causal, and of those only the last `window` keys: j > i + Tk - Tq - window
};

struct AttentionOptions {
  MaskKind mask = MaskKind::causal;
  int64_t window = 0;
  float scale = 1;  // of q k^T, usually 1/sqrt(D)
  Dropout dropout;  // on the probabilities; element (h * Tq + i) * Tk + j of the sample
  // Packed rows, N sequences behind each other in one row (B = 1): offsets (N + 1) i32, from 0 to
  // Tq and Tk. Sequence n attends within itself only. Both or neither.
  Tensor query_offsets;
  Tensor key_offsets;
};

// Scalars of the optimizer that live on the device.
struct UpdateState {
  Tensor learning_rate;   // (1) f32, written by the host before each step
  Tensor gradient_norm;   // (1) f32
  Tensor gradient_scale;  // (1) f32 what gradients are multiplied with: clipping
  Tensor apply;           // (1) i32 0: this step changes nothing (NaN or Inf, or a spike)
  Tensor updates;         // (1) i32 number of updates applied so far: Adam's t
};

struct AdamWOptions {
  float beta1 = 0.9f, beta2 = 0.95f, epsilon = 1e-8f;
};

// A GPT-2-like transformer as transformer_decode takes it: pre-norm blocks of attention with as
// many key/value heads as heads and a GELU MLP, learned positions. All of one type; biases may be
// empty.
struct DecodeLayer {
  Tensor norm1_weight, norm1_bias;            // (C)
  Tensor qkv_weight, qkv_bias;                // (3 C, C), (3 C)
  Tensor projection_weight, projection_bias;  // (C, C), (C)
  Tensor norm2_weight, norm2_bias;            // (C)
  Tensor up_weight, up_bias;                  // (hidden, C), (hidden)
  Tensor down_weight, down_bias;              // (C, hidden), (C)
  Tensor keys, values;                        // (blocks, block size, H, D)
};
struct DecodeModel {
  Tensor token_table, position_table;  // (V, C), (P, C)
  std::vector<DecodeLayer> layers;
  Tensor norm_weight, norm_bias;  // (C)
  Tensor head;                    // (padded vocab, C)
  float epsilon = 1e-5f;
  bool batch_invariant = false;  // a sequence's logits must not depend on how many others run
};

// How a token is drawn from logits.
struct SamplingOptions {
  double temperature = 0.8;       // 0: always the most likely token
  int64_t top_k = 200;            // only the k most likely tokens; 0: all
  double top_p = 1;               // the fewest tokens whose probabilities add up to p (Holtzman et
                                  // al., "The curious case of neural text degeneration", 2020)
  double min_p = 0;               // tokens at least this fraction as likely as the most likely one
  double repetition_penalty = 1;  // on tokens that occurred (Keskar et al., "CTRL", 2019)
};

// The sequences that sample_tokens goes on with, S of them. All on the device, all changed by it.
struct SampledSequences {
  Tensor history;    // (S, N) i32: the tokens of each sequence so far
  Tensor lengths;    // (S) i32: how many
  Tensor draws;      // (S) i32: how many of them were drawn
  Tensor tokens;     // (S) i32: the last one drawn
  Tensor positions;  // (S) i32: its place
  Tensor log;        // (R, S) i32: draw n at row n mod R
  Tensor streams;    // (S) i64 of random numbers; not changed
  uint64_t seed = 0;
};

// How long the calls of an op on one shape took.
struct OpTime {
  std::string op, shape;
  int64_t calls = 0;
  double seconds = 0;
};

// Parameters start at multiples of this many elements in their arena; chunk_decay below has one
// entry per chunk of this size.
inline constexpr int64_t kParameterAlignment = 64;

class Backend {
 public:
  virtual ~Backend() = default;

  // --- The device

  virtual std::string name() const = 0;          // "cpu (2 threads)", "cuda:0 NVIDIA H200"
  virtual bool is_host() const = 0;              // tensors can be read through their pointers
  virtual int64_t memory_available() const = 0;  // bytes free for the program
  virtual int64_t memory_total() const = 0;      // bytes that the device has, free or not
  // Bytes that this backend holds for itself: workspace of libraries and the like.
  virtual int64_t own_memory() const { return 0; }
  // Bytes that the driver, its libraries and other processes hold now.
  virtual int64_t foreign_memory() const { return 0; }
  // The most bytes that allocations of this backend held at one time; 0 where nobody counts.
  virtual int64_t peak_memory() const { return 0; }
  // The vocabulary is padded to a multiple of this in memory.
  virtual int64_t vocab_multiple() const = 0;

  // --- Memory, copies, queues

  // Aligned to 256 bytes, contents undefined. Throws Error{memory} naming `purpose` and the sizes.
  virtual std::unique_ptr<DeviceMemory> allocate(int64_t bytes, const std::string& purpose) = 0;
  // Whole tensor, contiguous. In the order of the compute queue; `from` may change on return.
  virtual void copy_to_device(Tensor to, const void* from) = 0;
  // The host waits for what is in `queue`, compute or copy.
  virtual void copy_to_host(void* to, Tensor from, Queue queue) = 0;
  void copy_to_host(void* to, Tensor from) { copy_to_host(to, from, Queue::compute); }
  virtual std::unique_ptr<Event> record(Queue queue) = 0;
  virtual void wait(Queue queue, const Event& event) = 0;  // the queue waits, the host does not
  // Device time between two events of one queue; the host waits for the second.
  virtual double seconds_between(const Event& begin, const Event& end) = 0;
  virtual void synchronize() = 0;  // the host waits for all queues

  // --- Repeated work

  // Calls work(), which queues ops and nothing else, and records instead of running them. Returns
  // null, and calls nothing, where the device gains nothing by it: the caller then calls work()
  // each time. The recorded ops keep their tensors' addresses and their numbers.
  virtual std::unique_ptr<CapturedWork> capture(const std::function<void()>& work);
  virtual void replay(const CapturedWork& work);

  // --- Scratch memory and choices

  // Bytes of scratch that `op` ("attention_backward", "attention_backward dropout", ...) takes on
  // tensors like these.
  virtual int64_t scratch_bytes(const std::string& op, Tensor first, Tensor second) const;
  // Takes scratch memory for all ops to come, so that none is allocated while a run is under way.
  virtual void reserve_scratch(int64_t bytes);
  // Where an op has several algorithms: while tuning, the first call on a shape times them and may
  // leave garbage in its outputs. The choices as JSON text; empty where there are none. A loaded
  // plan is kept to: load_plan throws Error{input} with `where` if it is damaged, Error{device} if
  // it was made for another device or library.
  virtual void set_tuning(bool on);
  virtual std::string plan() const;
  virtual void load_plan(const std::string& text, const std::string& where);

  // From here on the time of each op is taken, where the device can; op_times() gives the sums
  // since then and waits for the ops.
  virtual void set_profiling(bool on);
  virtual std::vector<OpTime> op_times();

  // --- Fills, copies, conversions

  virtual void fill(Tensor y, double value) = 0;       // any dtype
  virtual void convert(Tensor y, Tensor x) = 0;        // copy; between f32, bf16 and f16
  virtual void add(Tensor y, Tensor a, Tensor b) = 0;  // y = a + b; y may be a or b
  virtual void scale(Tensor y, Tensor factor) = 0;     // y *= factor[0]; factor (1) f32

  // --- Rows

  // y[r] *= factors[r].   y: (rows, C)   factors: (rows) f32
  virtual void scale_rows(Tensor y, Tensor factors) = 0;
  // x[r, c] = 0 for the columns c that are not in [begin, begin + width).   x: (rows, C) f32
  virtual void zero_other_columns(Tensor x, int64_t begin, int64_t width) = 0;
  // y[b] = mean of x[b, t] over t in [begin[b], end[b]); 0 where there is none.
  //   y: (B, C)   x: (B, T, C)   begin, end: (B) i32, in [0, T]
  virtual void pool_forward(Tensor y, Tensor x, Tensor begin, Tensor end) = 0;
  virtual void pool_backward(Tensor dx, Tensor dy, Tensor begin, Tensor end) = 0;

  // --- Embedding

  // y[b,t] = token_table[tokens[b,t]] + position_table[positions[b,t]].
  //   y: (B, T, C)  token_table: (V, C)  position_table: (P, C) or empty
  //   tokens, positions: (B, T) i32; positions empty: t
  virtual void embedding_forward(Tensor y, Tensor tokens, Tensor positions, Tensor token_table,
                                 Tensor position_table) = 0;
  //   dtoken_table: (V, C) f32   dposition_table: (P, C) f32; either may be empty
  virtual void embedding_backward(Tensor dtoken_table, Tensor dposition_table, Tensor dy,
                                  Tensor tokens, Tensor positions) = 0;

  // --- Normalization

  // y = (x - mean) * rstd * weight + bias, per row; rstd = 1 / sqrt(variance + epsilon), biased
  // variance (Ba et al., "Layer normalization", 2016).
  //   x, y: (rows, C)   weight: (C)   bias: (C) or empty   mean, rstd: (rows) f32, kept for the
  //   backward pass; both may be empty where no backward pass follows
  virtual void layernorm_forward(Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor weight,
                                 Tensor bias, float epsilon) = 0;
  //   dx may be the same tensor as dy. accumulate: dx += instead of dx =
  //   dx_sum: (C) f32 or empty: += column sums of the resulting dx, the bias gradient of the linear
  //   layer whose output dx is the gradient of
  virtual void layernorm_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dx_sum, Tensor dy,
                                  Tensor x, Tensor mean, Tensor rstd, Tensor weight,
                                  bool accumulate) = 0;
  // sum = a + b; y = layernorm(sum). Fused; sum may be a.
  virtual void residual_layernorm_forward(Tensor sum, Tensor y, Tensor mean, Tensor rstd, Tensor a,
                                          Tensor b, Tensor weight, Tensor bias, float epsilon);

  // --- Linear

  // y = x weight^T + bias.
  //   x: (rows, in)   y: (rows, out)   weight.data: (out, in)   bias: (out) or empty
  virtual void linear_forward(Tensor y, Tensor x, const Weight& weight, Tensor bias) = 0;
  // dx = dy weight; dweight += dy^T x; dbias += column sums of dy.
  //   dweight: (out, in) f32   dbias: (out) f32. accumulate: dx += instead of dx =
  virtual void linear_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x,
                               const Weight& weight, bool accumulate) = 0;
  // pre = x weight^T + bias; y = gelu(pre). Fused; pre is kept for the backward pass and may be
  // empty where none follows.
  virtual void linear_gelu_forward(Tensor y, Tensor pre, Tensor x, const Weight& weight,
                                   Tensor bias);
  // The backward pass of y = gelu(pre) weight^T + bias down to pre. Fused:
  // dpre = (dy weight) * gelu'(pre); dweight += dy^T x; dbias += column sums of dy; dpre_bias +=
  // column sums of dpre.
  //   dpre, pre, x: (rows, in), x = gelu(pre)   dy: (rows, out)   dweight: (out, in) f32
  //   dbias: (out) f32   dpre_bias: (in) f32
  virtual void linear_backward_gelu(Tensor dpre, Tensor dweight, Tensor dbias, Tensor dpre_bias,
                                    Tensor dy, Tensor x, Tensor pre, const Weight& weight);

  // --- GELU, tanh form (Hendrycks & Gimpel, "Gaussian error linear units", 2016)

  // y = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); y may be x.
  virtual void gelu_forward(Tensor y, Tensor x) = 0;
  // dx may be dy.
  virtual void gelu_backward(Tensor dx, Tensor dy, Tensor x) = 0;

  // --- Bias

  // dbias += column sums of dy.   dbias: (C) f32   dy: (rows, C)
  virtual void bias_backward(Tensor dbias, Tensor dy) = 0;

  // --- Attention

  // out[b,i,h] = sum_j softmax_j(scale * q[b,i,h] . k[b,j,g]) v[b,j,g], g = h * KV / H.
  //   q, out: (B, Tq, H, D)   k, v: (B, Tk, KV, D); H a multiple of KV. Strided: any stride but the
  //   last, which is 1.   lse: (B, H, Tq) f32, log of the sum of exponentials of the scaled scores,
  //   kept for the backward pass; may be empty. A query that sees no key gives 0 and lse -inf.
  virtual void attention_forward(Tensor out, Tensor lse, Tensor q, Tensor k, Tensor v,
                                 const AttentionOptions& options) = 0;
  //   dq, dk, dv as q, k, v (strided, overwritten).
  virtual void attention_backward(Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor out,
                                  Tensor lse, Tensor q, Tensor k, Tensor v,
                                  const AttentionOptions& options) = 0;
  // Decoding with a paged cache: queries of sequence b attend to the first lengths[b] cached keys,
  // causally aligned to the end.
  //   q, out: (B, Tq, H, D) strided   key_cache, value_cache: (blocks, block size, KV, D)
  //   block_table: (B, max blocks) i32, the block that holds positions [n*size, (n+1)*size)
  //   lengths: (B) i32, including the queries' own positions
  // The order of a sequence's sums may depend on B.
  virtual void attention_decode(Tensor out, Tensor q, Tensor key_cache, Tensor value_cache,
                                Tensor block_table, Tensor lengths, float scale) = 0;
  // Writes k, v: (B, T, KV, D) strided, to cache positions lengths[b] - T + t of each sequence.
  virtual void cache_append(Tensor key_cache, Tensor value_cache, Tensor k, Tensor v,
                            Tensor block_table, Tensor lengths) = 0;

  // --- Decoding

  // logits[s] of the next token behind tokens[s] at positions[s], whose keys and values are
  // appended to the caches on the way. Fused.
  //   logits: (S, padded vocab) f32   tokens, positions: (S) i32   block_table: (S, max blocks) i32
  //   lengths: (S) i32 = positions + 1
  // Where decode_sequences(model) > 0, logits do not depend on what the other sequences are.
  virtual void transformer_decode(Tensor logits, Tensor tokens, Tensor positions,
                                  Tensor block_table, Tensor lengths, const DecodeModel& model);
  // The most sequences that the device computes at once in transformer_decode. 0: it has nothing
  // better than the ops that transformer_decode is made of, which then takes memory on every call.
  virtual int64_t decode_sequences(const DecodeModel& model) const;

  // Draws the next token of each sequence, number draws[s] of stream streams[s], and appends it:
  // tokens[s] = history[s][lengths[s]] = log[draws[s] mod R][s], positions[s] = lengths[s], lengths
  // and draws one more. The last token of a full history is replaced instead. -1 is logged and 0
  // appended where a logit is NaN or +inf or none is finite; see backend/sampling.h.
  //   logits: (S, padded vocab) f32, penalized by it; columns from vocab on are ignored
  virtual void sample_tokens(const SampledSequences& sequences, Tensor logits, int64_t vocab,
                             const SamplingOptions& options) = 0;

  // --- Dropout

  // y = x * mask / (1 - rate); y may be x. The backward pass is the same function of dy.
  //   x, y: (B, ...): element e of sample b is flat index e of the row.
  virtual void dropout(Tensor y, Tensor x, const Dropout& dropout) = 0;

  // --- Softmax and cross-entropy

  // losses[r] = lse(logits[r, :vocab]) - logits[r, targets[r]]; target -100: loss 0.
  //   logits: (rows, padded vocab); columns from vocab on are ignored.   losses: (rows) f32
  //   targets: (rows) i32
  virtual void cross_entropy_forward(Tensor losses, Tensor logits, Tensor targets,
                                     int64_t vocab) = 0;
  // dlogits = (softmax(logits) - onehot(target)) * gradient_scale[0]; rows with target -100 and
  // padded columns get 0. dlogits may be logits.   gradient_scale: (1) f32
  virtual void cross_entropy_backward(Tensor dlogits, Tensor logits, Tensor targets, int64_t vocab,
                                      Tensor gradient_scale) = 0;
  // Both at once, fused: logits become their gradient.
  virtual void cross_entropy_forward_backward(Tensor losses, Tensor logits, Tensor targets,
                                              int64_t vocab, Tensor gradient_scale);
  // out[0] += factor[0] * sum of x, in a fixed order.   out, factor: (1) f32; no factor: 1   x: f32
  virtual void accumulate_sum(Tensor out, Tensor x, Tensor factor) = 0;

  // --- Optimizer

  // out[0] += sum of squares of x, accumulated in f64 in a fixed order.   out: (1) f32   x: f32
  virtual void squared_norm(Tensor out, Tensor x) = 0;
  // From the squared norm decides about the step: gradient_norm = sqrt(squared), gradient_scale =
  // min(1, max_norm / norm) (1 where max_norm <= 0), apply = loss and norm are finite and loss <=
  // loss_limit[0]; updates += apply.   squared, loss, loss_limit: (1) f32
  virtual void prepare_update(const UpdateState& state, Tensor squared, Tensor loss,
                              Tensor loss_limit, float max_norm) = 0;
  // AdamW (Loshchilov & Hutter, "Decoupled weight decay regularization", 2019) over the whole
  // arena, gated by state.apply; bias correction with t = state.updates:
  //   g = grad * gradient_scale; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2
  //   p -= lr * (m / (1-b1^t) / (sqrt(v / (1-b2^t)) + epsilon) + decay * p)
  //   params, m, v, grads: (N) f32   low: (N) bf16 rounded copy of params or empty
  //   chunk_decay: (N / kParameterAlignment) f32: weight decay of each chunk, negative: frozen
  virtual void adamw_update(Tensor params, Tensor low, Tensor m, Tensor v, Tensor grads,
                            Tensor chunk_decay, const UpdateState& state,
                            const AdamWOptions& options) = 0;
};

}  // namespace llm
