#include "cpu_ref/cpu_backend.h"

#include <cmath>

#include "cpu_ref/attention_ops.h"
#include "cpu_ref/checks.h"
#include "cpu_ref/cpu_device.h"
#include "cpu_ref/cross_entropy.h"
#include "cpu_ref/dropout.h"
#include "cpu_ref/elementwise.h"
#include "cpu_ref/embedding.h"
#include "cpu_ref/gelu.h"
#include "cpu_ref/layernorm.h"
#include "cpu_ref/linear.h"
#include "cpu_ref/linear_ops.h"
#include "cpu_ref/optimizer.h"
#include "cpu_ref/rows.h"
#include "cpu_ref/sampling.h"
#include "cpu_ref/widen.h"

namespace llm {
namespace {

using namespace cpu_ref;

class CpuBackend final : public CpuDevice {
 public:
  using CpuDevice::CpuDevice;

  void fill(Tensor y, double value) override {
    LLM_ASSERT(y.contiguous(), "fill: {}", y.describe());
    cpu_ref::fill(y.data, y.dtype, value, y.size(), threads_);
  }
  void convert(Tensor y, Tensor x) override {
    LLM_ASSERT(y.contiguous() && x.contiguous() && y.size() == x.size(), "convert: {} from {}",
               y.describe(), x.describe());
    cpu_ref::convert(y.data, y.dtype, x.data, x.dtype, y.size(), threads_);
  }
  void add(Tensor y, Tensor a, Tensor b) override {
    check_alike("add", {y, a, b});
    check_matrix("add", "a", a, y.rows(), y.columns());
    check_matrix("add", "b", b, y.rows(), y.columns());
    const Input a_in(a), b_in(b);
    const Output out(y);
    cpu_ref::add(out.data(), a_in.data(), b_in.data(), y.size(), threads_);
  }
  void scale(Tensor y, Tensor factor) override {
    check_alike("scale", {y});
    check_vector("scale", "factor", factor, DType::f32, 1);
    LLM_ASSERT(y.contiguous(), "scale: {}", y.describe());
    const Output out(y, /*keep=*/true);
    cpu_ref::scale(out.data(), factor.f32()[0], y.size(), threads_);
  }

  void scale_rows(Tensor y, Tensor factors) override {
    check_alike("scale_rows", {y});
    check_matrix("scale_rows", "y", y, y.rows(), y.columns());
    check_vector("scale_rows", "factors", factors, DType::f32, y.rows());
    const Output out(y, /*keep=*/true);
    cpu_ref::scale_rows(out.data(), factors.f32(), y.rows(), y.columns(), threads_);
  }
  void zero_other_columns(Tensor x, int64_t begin, int64_t width) override {
    check_vector("zero_other_columns", "x", x, DType::f32, x.rows() * x.columns());
    cpu_ref::zero_other_columns(x.f32(), x.rows(), x.columns(), begin, width, threads_);
  }
  void pool_forward(Tensor y, Tensor x, Tensor begin, Tensor end) override {
    check_pool("pool_forward", y, x, begin, end);
    const Input x_in(x);
    const Output out(y);
    cpu_ref::pool_forward(out.data(), x_in.data(), begin.i32(), end.i32(), x.dim(0), x.dim(1),
                          x.dim(2), threads_);
  }
  void pool_backward(Tensor dx, Tensor dy, Tensor begin, Tensor end) override {
    check_pool("pool_backward", dy, dx, begin, end);
    const Input dy_in(dy);
    const Output out(dx);
    cpu_ref::pool_backward(out.data(), dy_in.data(), begin.i32(), end.i32(), dx.dim(0), dx.dim(1),
                           dx.dim(2), threads_);
  }

  void embedding_forward(Tensor y, Tensor tokens, Tensor positions, Tensor token_table,
                         Tensor position_table) override {
    const char* op = "embedding_forward";
    const int64_t rows = y.rows(), C = y.columns();
    check_alike(op, {y, token_table, position_table});
    check_matrix(op, "y", y, rows, C);
    check_matrix(op, "token_table", token_table, token_table.dim(0), C);
    if (position_table) {
      check_matrix(op, "position_table", position_table, position_table.dim(0), C);
    }
    check_tokens(op, tokens, positions, rows, token_table.dim(0),
                 position_table ? position_table.dim(0) : -1);
    const Output out(y);
    cpu_ref::embedding_forward(out.data(), tokens.i32(), positions ? positions.i32() : nullptr,
                               StoredRows(token_table), StoredRows(position_table), rows,
                               tokens.columns(), C, threads_);
  }
  void embedding_backward(Tensor dtoken_table, Tensor dposition_table, Tensor dy, Tensor tokens,
                          Tensor positions) override {
    const char* op = "embedding_backward";
    const int64_t rows = dy.rows(), C = dy.columns();
    check_matrix(op, "dy", dy, rows, C);
    check_optional(op, "dtoken_table", dtoken_table, DType::f32, dtoken_table.rows() * C);
    check_optional(op, "dposition_table", dposition_table, DType::f32, dposition_table.rows() * C);
    check_tokens(op, tokens, positions, rows, dtoken_table ? dtoken_table.dim(0) : -1,
                 dposition_table ? dposition_table.dim(0) : -1);
    const Input dy_in(dy);
    cpu_ref::embedding_backward(dtoken_table ? dtoken_table.f32() : nullptr,
                                dposition_table ? dposition_table.f32() : nullptr, dy_in.data(),
                                tokens.i32(), positions ? positions.i32() : nullptr, rows,
                                tokens.columns(), C, threads_);
  }

  void layernorm_forward(Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor weight, Tensor bias,
                         float epsilon) override {
    const char* op = "layernorm_forward";
    const int64_t rows = x.rows(), C = x.columns();
    check_alike(op, {x, y, weight, bias});
    check_matrix(op, "x", x, rows, C);
    check_matrix(op, "y", y, rows, C);
    check_matrix(op, "weight", weight, 1, C);
    check_optional_size(op, "bias", bias, C);
    check_optional(op, "mean", mean, DType::f32, rows);
    check_optional(op, "rstd", rstd, DType::f32, rows);
    const Input x_in(x), weight_in(weight), bias_in(bias);
    const Output out(y);
    float* means = mean ? mean.f32() : nullptr;
    float* rstds = rstd ? rstd.f32() : nullptr;
    if (plain_) {
      cpu_ref::layernorm_forward(out.data(), means, rstds, x_in.data(), weight_in.data(),
                                 bias_in.data(), rows, C, epsilon, threads_);
    } else {
      layernorm_forward_fast(nullptr, out.data(), means, rstds, x_in.data(), nullptr,
                             weight_in.data(), bias_in.data(), rows, C, epsilon, false, threads_);
    }
  }
  void residual_layernorm_forward(Tensor sum, Tensor y, Tensor mean, Tensor rstd, Tensor a,
                                  Tensor b, Tensor weight, Tensor bias, float epsilon) override {
    if (plain_) {
      return Backend::residual_layernorm_forward(sum, y, mean, rstd, a, b, weight, bias, epsilon);
    }
    const char* op = "residual_layernorm_forward";
    const int64_t rows = a.rows(), C = a.columns();
    check_alike(op, {y, sum, a, b, weight, bias});
    for (const Tensor& tensor : {y, sum, a, b}) check_matrix(op, "a row", tensor, rows, C);
    check_matrix(op, "weight", weight, 1, C);
    check_optional_size(op, "bias", bias, C);
    check_optional(op, "mean", mean, DType::f32, rows);
    check_optional(op, "rstd", rstd, DType::f32, rows);
    const Input a_in(a), b_in(b), weight_in(weight), bias_in(bias);
    const Output sum_out(sum), out(y);
    layernorm_forward_fast(sum_out.data(), out.data(), mean ? mean.f32() : nullptr,
                           rstd ? rstd.f32() : nullptr, a_in.data(), b_in.data(), weight_in.data(),
                           bias_in.data(), rows, C, epsilon, y.dtype == DType::bf16, threads_);
  }
  void layernorm_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dx_sum, Tensor dy,
                          Tensor x, Tensor mean, Tensor rstd, Tensor weight,
                          bool accumulate) override {
    run_layernorm_backward(dx, dweight, dbias, dy, x, mean, rstd, weight, accumulate);
    if (dx_sum) bias_backward(dx_sum, dx);
  }
  void run_layernorm_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x,
                              Tensor mean, Tensor rstd, Tensor weight, bool accumulate) {
    const char* op = "layernorm_backward";
    const int64_t rows = x.rows(), C = x.columns();
    check_alike(op, {x, dx, dy, weight});
    check_matrix(op, "x", x, rows, C);
    check_matrix(op, "dy", dy, rows, C);
    check_matrix(op, "weight", weight, 1, C);
    check_optional_size(op, "dx", dx, rows * C);
    check_optional(op, "dweight", dweight, DType::f32, C);
    check_optional(op, "dbias", dbias, DType::f32, C);
    check_vector(op, "mean", mean, DType::f32, rows);
    check_vector(op, "rstd", rstd, DType::f32, rows);
    const Input dy_in(dy), x_in(x), weight_in(weight);
    const Output out(dx, accumulate);
    const auto body = plain_ ? cpu_ref::layernorm_backward : layernorm_backward_fast;
    body(out.data(), dweight ? dweight.f32() : nullptr, dbias ? dbias.f32() : nullptr, dy_in.data(),
         x_in.data(), mean.f32(), rstd.f32(), weight_in.data(), rows, C, accumulate, threads_);
  }

  void linear_forward(Tensor y, Tensor x, const Weight& weight, Tensor bias) override {
    run_linear_forward(y, x, weight, bias, plain_, threads_);
  }
  void linear_gelu_forward(Tensor y, Tensor pre, Tensor x, const Weight& weight,
                           Tensor bias) override {
    if (plain_) return Backend::linear_gelu_forward(y, pre, x, weight, bias);
    run_linear_gelu_forward(y, pre, x, weight, bias, threads_);
  }
  void linear_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x,
                       const Weight& weight, bool accumulate) override {
    run_linear_backward(dx, dweight, dbias, dy, x, weight, accumulate, plain_, threads_);
  }

  void bias_backward(Tensor dbias, Tensor dy) override {
    const char* op = "bias_backward";
    const int64_t rows = dy.rows(), C = dy.columns();
    check_alike(op, {dy});
    check_matrix(op, "dy", dy, rows, C);
    check_vector(op, "dbias", dbias, DType::f32, C);
    const Input dy_in(dy);
    const auto body = plain_ ? linear_backward_bias : linear_backward_bias_fast;
    body(dbias.f32(), dy_in.data(), rows, C, threads_);
  }

  void gelu_forward(Tensor y, Tensor x) override {
    check_alike("gelu_forward", {x, y});
    check_matrix("gelu_forward", "x", x, y.rows(), y.columns());
    LLM_ASSERT(y.contiguous(), "gelu_forward: y is {}", y.describe());
    const Input x_in(x);
    const Output out(y);
    (plain_ ? cpu_ref::gelu_forward : gelu_forward_fast)(out.data(), x_in.data(), y.size(),
                                                         threads_);
  }
  void gelu_backward(Tensor dx, Tensor dy, Tensor x) override {
    check_alike("gelu_backward", {dx, dy, x});
    check_matrix("gelu_backward", "dy", dy, dx.rows(), dx.columns());
    check_matrix("gelu_backward", "x", x, dx.rows(), dx.columns());
    LLM_ASSERT(dx.contiguous(), "gelu_backward: dx is {}", dx.describe());
    const Input dy_in(dy), x_in(x);
    const Output out(dx);
    const auto body = plain_ ? cpu_ref::gelu_backward : gelu_backward_fast;
    body(out.data(), dy_in.data(), x_in.data(), dx.size(), threads_);
  }

  void attention_forward(Tensor out, Tensor lse, Tensor q, Tensor k, Tensor v,
                         const AttentionOptions& options) override {
    run_attention_forward(out, lse, q, k, v, options, plain_, threads_);
  }
  void attention_backward(Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor out, Tensor lse,
                          Tensor q, Tensor k, Tensor v, const AttentionOptions& options) override {
    run_attention_backward(dq, dk, dv, dout, out, lse, q, k, v, options, plain_, threads_);
  }
  void attention_decode(Tensor out, Tensor q, Tensor key_cache, Tensor value_cache,
                        Tensor block_table, Tensor lengths, float scale) override {
    run_attention_decode(out, q, key_cache, value_cache, block_table, lengths, scale, plain_,
                         threads_);
  }
  void cache_append(Tensor key_cache, Tensor value_cache, Tensor k, Tensor v, Tensor block_table,
                    Tensor lengths) override {
    run_cache_append(key_cache, value_cache, k, v, block_table, lengths, threads_);
  }

  void sample_tokens(const SampledSequences& sequences, Tensor logits, int64_t vocab,
                     const SamplingOptions& options) override {
    check_sampling("sample_tokens", sequences, logits, vocab);
    run_sample_tokens(sequences, logits, vocab, options);
  }

  void dropout(Tensor y, Tensor x, const Dropout& dropout) override {
    const char* op = "dropout";
    check_alike(op, {x, y});
    check_matrix(op, "x", x, y.rows(), y.columns());
    LLM_ASSERT(y.contiguous() && y.rank > 0, "{}: y is {}", op, y.describe());
    LLM_ASSERT(dropout.rate >= 0 && dropout.rate < 1, "{}: rate {}", op, dropout.rate);
    check_vector(op, "sample_ids", dropout.sample_ids, DType::i64, y.dim(0));
    const Input x_in(x);
    const Output out(y);
    const auto body = plain_ ? cpu_ref::dropout : dropout_fast;
    body(out.data(), x_in.data(), dropout.sample_ids.i64(), y.dim(0),
         y.dim(0) == 0 ? 0 : y.size() / y.dim(0), dropout.rate, dropout.seed, dropout.site,
         threads_);
  }

  void cross_entropy_forward(Tensor losses, Tensor logits, Tensor targets, int64_t vocab) override {
    const char* op = "cross_entropy_forward";
    check_cross_entropy(op, logits, targets, vocab);
    check_vector(op, "losses", losses, DType::f32, logits.rows());
    const Input logits_in(logits);
    if (plain_) {
      cpu_ref::cross_entropy_forward(losses.f32(), logits_in.data(), targets.i32(), logits.rows(),
                                     vocab, logits.columns(), threads_);
    } else {
      cross_entropy_fast(losses.f32(), nullptr, logits_in.data(), targets.i32(), logits.rows(),
                         vocab, logits.columns(), 0, threads_);
    }
  }
  void cross_entropy_backward(Tensor dlogits, Tensor logits, Tensor targets, int64_t vocab,
                              Tensor gradient_scale) override {
    const char* op = "cross_entropy_backward";
    check_cross_entropy(op, logits, targets, vocab);
    check_alike(op, {logits, dlogits});
    check_matrix(op, "dlogits", dlogits, logits.rows(), logits.columns());
    check_vector(op, "gradient_scale", gradient_scale, DType::f32, 1);
    const Input logits_in(logits);
    const Output out(dlogits);
    const float scale = gradient_scale.f32()[0];
    if (plain_) {
      cpu_ref::cross_entropy_backward(out.data(), logits_in.data(), targets.i32(), logits.rows(),
                                      vocab, logits.columns(), scale, threads_);
    } else {
      cross_entropy_fast(nullptr, out.data(), logits_in.data(), targets.i32(), logits.rows(), vocab,
                         logits.columns(), scale, threads_);
    }
  }
  void cross_entropy_forward_backward(Tensor losses, Tensor logits, Tensor targets, int64_t vocab,
                                      Tensor gradient_scale) override {
    if (plain_) {
      return Backend::cross_entropy_forward_backward(losses, logits, targets, vocab,
                                                     gradient_scale);
    }
    const char* op = "cross_entropy_forward_backward";
    check_cross_entropy(op, logits, targets, vocab);
    check_vector(op, "losses", losses, DType::f32, logits.rows());
    check_vector(op, "gradient_scale", gradient_scale, DType::f32, 1);
    const Output out(logits, /*keep=*/true);
    cross_entropy_fast(losses.f32(), out.data(), out.data(), targets.i32(), logits.rows(), vocab,
                       logits.columns(), gradient_scale.f32()[0], threads_);
  }
  void accumulate_sum(Tensor out, Tensor x, Tensor factors) override {
    check_vector("accumulate_sum", "out", out, DType::f32, 1);
    check_vector("accumulate_sum", "x", x, DType::f32, x.size());
    check_optional("accumulate_sum", "factor", factors, DType::f32, 1);
    const float factor = factors ? factors.f32()[0] : 1.0f;
    out.f32()[0] = static_cast<float>(out.f32()[0] + factor * sum(x.f32(), x.size(), threads_));
  }

  void squared_norm(Tensor out, Tensor x) override {
    check_vector("squared_norm", "out", out, DType::f32, 1);
    check_vector("squared_norm", "x", x, DType::f32, x.size());
    const auto body = plain_ ? sum_of_squares : sum_of_squares_fast;
    out.f32()[0] = static_cast<float>(out.f32()[0] + body(x.f32(), x.size(), threads_));
  }
  void prepare_update(const UpdateState& state, Tensor squared, Tensor loss, Tensor loss_limit,
                      float max_norm) override {
    const float norm = std::sqrt(squared.f32()[0]), value = loss.f32()[0];
    const bool apply = std::isfinite(norm) && std::isfinite(value) && value <= loss_limit.f32()[0];
    state.gradient_norm.f32()[0] = norm;
    state.gradient_scale.f32()[0] = max_norm > 0 && norm > max_norm ? max_norm / norm : 1.0f;
    state.apply.i32()[0] = apply;
    state.updates.i32()[0] += apply;
  }
  void adamw_update(Tensor params, Tensor low, Tensor m, Tensor v, Tensor grads, Tensor chunk_decay,
                    const UpdateState& state, const AdamWOptions& options) override {
    const char* op = "adamw_update";
    const int64_t count = params.size();
    check_vector(op, "params", params, DType::f32, count);
    check_optional(op, "low", low, DType::bf16, count);
    check_vector(op, "m", m, DType::f32, count);
    check_vector(op, "v", v, DType::f32, count);
    check_vector(op, "grads", grads, DType::f32, count);
    check_vector(op, "chunk_decay", chunk_decay, DType::f32,
                 (count + kParameterAlignment - 1) / kParameterAlignment);
    if (state.apply.i32()[0] == 0) return;
    const AdamWStep step{state.learning_rate.f32()[0],
                         state.gradient_scale.f32()[0],
                         options.beta1,
                         options.beta2,
                         options.epsilon,
                         state.updates.i32()[0]};
    const auto body = plain_ ? cpu_ref::adamw_update : adamw_update_fast;
    body(params.f32(), low ? low.bf16() : nullptr, m.f32(), v.f32(), grads.f32(), chunk_decay.f32(),
         count, kParameterAlignment, step, threads_);
  }
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  return std::make_unique<CpuBackend>(options);
}

}  // namespace llm
