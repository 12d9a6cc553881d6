#include "support/spoiled_backend.h"

#include <functional>
#include <initializer_list>

#include "base/error.h"
#include "cpu_ref/cpu_backend.h"

namespace llm::test {
namespace {

class SpoiledBackend final : public Backend {
 public:
  SpoiledBackend(std::string op, Spoil spoil) : op_(std::move(op)), spoil_(spoil) {}

  std::string name() const override { return "spoiled " + op_; }
  bool is_host() const override { return true; }
  int64_t memory_available() const override { return inner_->memory_available(); }
  int64_t memory_total() const override { return inner_->memory_total(); }
  int64_t vocab_multiple() const override { return inner_->vocab_multiple(); }
  std::unique_ptr<DeviceMemory> allocate(int64_t bytes, const std::string& purpose) override {
    return inner_->allocate(bytes, purpose);
  }
  void copy_to_device(Tensor to, const void* from) override { inner_->copy_to_device(to, from); }
  using Backend::copy_to_host;
  void copy_to_host(void* to, Tensor from, Queue queue) override {
    inner_->copy_to_host(to, from, queue);
  }
  std::unique_ptr<Event> record(Queue queue) override { return inner_->record(queue); }
  void wait(Queue queue, const Event& event) override { inner_->wait(queue, event); }
  double seconds_between(const Event& begin, const Event& end) override {
    return inner_->seconds_between(begin, end);
  }
  void synchronize() override { inner_->synchronize(); }

  void fill(Tensor y, double value) override {
    run("fill", {y}, {}, [&] { inner_->fill(y, value); });
  }
  void convert(Tensor y, Tensor x) override {
    run("convert", {y}, x, [&] { inner_->convert(y, x); });
  }
  void add(Tensor y, Tensor a, Tensor b) override {
    run("add", {y}, a, [&] { inner_->add(y, a, b); });
  }
  void scale(Tensor y, Tensor factor) override {
    run("scale", {y}, factor, [&] { inner_->scale(y, factor); });
  }
  void embedding_forward(Tensor y, Tensor tokens, Tensor positions, Tensor token_table,
                         Tensor position_table) override {
    run("embedding_forward", {y}, token_table,
        [&] { inner_->embedding_forward(y, tokens, positions, token_table, position_table); });
  }
  void embedding_backward(Tensor dtoken_table, Tensor dposition_table, Tensor dy, Tensor tokens,
                          Tensor positions) override {
    run("embedding_backward", {dtoken_table, dposition_table}, dy,
        [&] { inner_->embedding_backward(dtoken_table, dposition_table, dy, tokens, positions); });
  }
  void layernorm_forward(Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor weight, Tensor bias,
                         float epsilon) override {
    run("layernorm_forward", {y}, x,
        [&] { inner_->layernorm_forward(y, mean, rstd, x, weight, bias, epsilon); });
  }
  void layernorm_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dx_sum, Tensor dy,
                          Tensor x, Tensor mean, Tensor rstd, Tensor weight,
                          bool accumulate) override {
    run("layernorm_backward", {dx, dweight}, x, [&] {
      inner_->layernorm_backward(dx, dweight, dbias, dx_sum, dy, x, mean, rstd, weight, accumulate);
    });
  }
  void residual_layernorm_forward(Tensor sum, Tensor y, Tensor mean, Tensor rstd, Tensor a,
                                  Tensor b, Tensor weight, Tensor bias, float epsilon) override {
    run("residual_layernorm_forward", {sum}, b, [&] {
      inner_->residual_layernorm_forward(sum, y, mean, rstd, a, b, weight, bias, epsilon);
    });
  }
  void linear_forward(Tensor y, Tensor x, const Weight& weight, Tensor bias) override {
    run("linear_forward", {y}, x, [&] { inner_->linear_forward(y, x, weight, bias); });
  }
  void linear_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x,
                       const Weight& weight, bool accumulate) override {
    run("linear_backward", {dweight, dx}, x,
        [&] { inner_->linear_backward(dx, dweight, dbias, dy, x, weight, accumulate); });
  }
  void linear_gelu_forward(Tensor y, Tensor pre, Tensor x, const Weight& weight,
                           Tensor bias) override {
    run("linear_gelu_forward", {pre, y}, x,
        [&] { inner_->linear_gelu_forward(y, pre, x, weight, bias); });
  }
  void linear_backward_gelu(Tensor dpre, Tensor dweight, Tensor dbias, Tensor dpre_bias, Tensor dy,
                            Tensor x, Tensor pre, const Weight& weight) override {
    run("linear_backward_gelu", {dpre_bias, dpre}, x,
        [&] { inner_->linear_backward_gelu(dpre, dweight, dbias, dpre_bias, dy, x, pre, weight); });
  }
  void gelu_forward(Tensor y, Tensor x) override {
    run("gelu_forward", {y}, x, [&] { inner_->gelu_forward(y, x); });
  }
  void gelu_backward(Tensor dx, Tensor dy, Tensor x) override {
    run("gelu_backward", {dx}, x, [&] { inner_->gelu_backward(dx, dy, x); });
  }
  void scale_rows(Tensor y, Tensor factors) override {
    run("scale_rows", {y}, factors, [&] { inner_->scale_rows(y, factors); });
  }
  void zero_other_columns(Tensor x, int64_t begin, int64_t width) override {
    run("zero_other_columns", {x}, x, [&] { inner_->zero_other_columns(x, begin, width); });
  }
  void pool_forward(Tensor y, Tensor x, Tensor begin, Tensor end) override {
    run("pool_forward", {y}, x, [&] { inner_->pool_forward(y, x, begin, end); });
  }
  void pool_backward(Tensor dx, Tensor dy, Tensor begin, Tensor end) override {
    run("pool_backward", {dx}, dy, [&] { inner_->pool_backward(dx, dy, begin, end); });
  }
  void bias_backward(Tensor dbias, Tensor dy) override {
    run("bias_backward", {dbias}, dy, [&] { inner_->bias_backward(dbias, dy); });
  }
  void attention_forward(Tensor out, Tensor lse, Tensor q, Tensor k, Tensor v,
                         const AttentionOptions& options) override {
    run("attention_forward", {out}, q,
        [&] { inner_->attention_forward(out, lse, q, k, v, options); });
  }
  void attention_backward(Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor out, Tensor lse,
                          Tensor q, Tensor k, Tensor v, const AttentionOptions& options) override {
    run("attention_backward", {dv}, q,
        [&] { inner_->attention_backward(dq, dk, dv, dout, out, lse, q, k, v, options); });
  }
  void attention_decode(Tensor out, Tensor q, Tensor key_cache, Tensor value_cache,
                        Tensor block_table, Tensor lengths, float scale) override {
    run("attention_decode", {out}, key_cache, [&] {
      inner_->attention_decode(out, q, key_cache, value_cache, block_table, lengths, scale);
    });
  }
  void cache_append(Tensor key_cache, Tensor value_cache, Tensor k, Tensor v, Tensor block_table,
                    Tensor lengths) override {
    run("cache_append", {value_cache}, k,
        [&] { inner_->cache_append(key_cache, value_cache, k, v, block_table, lengths); });
  }
  void transformer_decode(Tensor logits, Tensor tokens, Tensor positions, Tensor block_table,
                          Tensor lengths, const DecodeModel& model) override {
    run("transformer_decode", {logits}, tokens, [&] {
      inner_->transformer_decode(logits, tokens, positions, block_table, lengths, model);
    });
  }
  void sample_tokens(const SampledSequences& sequences, Tensor logits, int64_t vocab,
                     const SamplingOptions& options) override {
    run("sample_tokens", {sequences.tokens}, sequences.streams,
        [&] { inner_->sample_tokens(sequences, logits, vocab, options); });
  }
  void dropout(Tensor y, Tensor x, const Dropout& options) override {
    run("dropout", {y}, x, [&] { inner_->dropout(y, x, options); });
  }
  void cross_entropy_forward(Tensor losses, Tensor logits, Tensor targets, int64_t vocab) override {
    run("cross_entropy_forward", {losses}, logits,
        [&] { inner_->cross_entropy_forward(losses, logits, targets, vocab); });
  }
  void cross_entropy_backward(Tensor dlogits, Tensor logits, Tensor targets, int64_t vocab,
                              Tensor gradient_scale) override {
    run("cross_entropy_backward", {dlogits}, targets,
        [&] { inner_->cross_entropy_backward(dlogits, logits, targets, vocab, gradient_scale); });
  }
  void cross_entropy_forward_backward(Tensor losses, Tensor logits, Tensor targets, int64_t vocab,
                                      Tensor gradient_scale) override {
    run("cross_entropy_forward_backward", {logits}, targets, [&] {
      inner_->cross_entropy_forward_backward(losses, logits, targets, vocab, gradient_scale);
    });
  }
  void accumulate_sum(Tensor out, Tensor x, Tensor factor) override {
    run("accumulate_sum", {out}, x, [&] { inner_->accumulate_sum(out, x, factor); });
  }
  void squared_norm(Tensor out, Tensor x) override {
    run("squared_norm", {out}, x, [&] { inner_->squared_norm(out, x); });
  }
  void prepare_update(const UpdateState& state, Tensor squared, Tensor loss, Tensor loss_limit,
                      float max_norm) override {
    run("prepare_update", {state.updates}, squared,
        [&] { inner_->prepare_update(state, squared, loss, loss_limit, max_norm); });
  }
  void adamw_update(Tensor params, Tensor low, Tensor m, Tensor v, Tensor grads, Tensor chunk_decay,
                    const UpdateState& state, const AdamWOptions& options) override {
    run("adamw_update", {params}, grads,
        [&] { inner_->adamw_update(params, low, m, v, grads, chunk_decay, state, options); });
  }

 private:
  void run(const char* op, std::initializer_list<Tensor> outputs, Tensor input,
           const std::function<void()>& call) {
    if (op != op_) return call();
    if (spoil_ == Spoil::nothing) return;
    call();
    for (const Tensor& output : outputs) {
      if (output) return spoil(output, input);
    }
  }

  void spoil(const Tensor& output, const Tensor& input) {
    if (output.size() == 0) return;
    auto* bytes = static_cast<uint8_t*>(output.data);
    ++calls_;
    switch (spoil_) {
      case Spoil::element:
        return change_element(output);
      case Spoil::beyond:
        bytes[output.bytes()] ^= 1;
        return;
      case Spoil::input:
        if (input && input.data != output.data) *static_cast<uint8_t*>(input.data) ^= 1;
        return;
      case Spoil::not_twice:
        bytes[0] ^= calls_ % 2 == 0;
        return;
      case Spoil::nothing:
        return;
    }
  }

  // Off by as much as numbers of unit size differ.
  static void change_element(const Tensor& output) {
    const int64_t at = output.contiguous() ? output.size() / 2 : 0;
    switch (output.dtype) {
      case DType::f32:
        output.f32()[at] += 0.7f;
        return;
      case DType::bf16:
        output.bf16()[at] = f32_to_bf16(bf16_to_f32(output.bf16()[at]) + 0.7f);
        return;
      default:
        static_cast<uint8_t*>(output.data)[at * dtype_bytes(output.dtype)] ^= 1;
    }
  }

  const std::unique_ptr<Backend> inner_ = make_cpu_backend();
  const std::string op_;
  const Spoil spoil_;
  int calls_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_spoiled_backend(const std::string& op, Spoil spoil) {
  return std::make_unique<SpoiledBackend>(op, spoil);
}

}  // namespace llm::test
