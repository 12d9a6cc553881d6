#include "cuda/memory_bound_ops.h"

#include <bit>

#include "backend/checks.h"
#include "cuda/bias.h"
#include "cuda/cross_entropy.h"
#include "cuda/dropout.h"
#include "cuda/elementwise.h"
#include "cuda/embedding.h"
#include "cuda/gelu.h"
#include "cuda/layernorm.h"
#include "cuda/optimizer.h"
#include "cuda/reduce.h"
#include "cuda/rows.h"

namespace llm::cuda {
namespace {

float* f32_or_null(const Tensor& tensor) { return tensor ? tensor.f32() : nullptr; }

// The bits of `value` as an element of a type.
uint64_t bits_of(DType dtype, double value) {
  switch (dtype) {
    case DType::f32:
      return std::bit_cast<uint32_t>(static_cast<float>(value));
    case DType::bf16:
      return f32_to_bf16(static_cast<float>(value));
    case DType::f16:
      return f32_to_f16(static_cast<float>(value));
    case DType::i32:
      return static_cast<uint32_t>(static_cast<int32_t>(value));
    case DType::i64:
      return static_cast<uint64_t>(static_cast<int64_t>(value));
    case DType::u8:
      return static_cast<uint8_t>(value);
  }
  return 0;
}

UpdateScalars scalars_of(const UpdateState& state) {
  return {state.learning_rate.f32(), state.gradient_norm.f32(), state.gradient_scale.f32(),
          state.apply.i32(), state.updates.i32()};
}

void check_pointwise(const char* op, const Tensor& y, std::initializer_list<Tensor> inputs) {
  LLM_ASSERT(y.contiguous(), "{}: {}", op, y.describe());
  for (const Tensor& x : inputs) {
    check_alike(op, {y, x});
    check_matrix(op, "an input", x, y.rows(), y.columns());
  }
}

}  // namespace

Element element_of(DType dtype) {
  LLM_ASSERT(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16);
  return dtype == DType::f32 ? Element::f32 : dtype == DType::bf16 ? Element::bf16 : Element::f16;
}

MemoryBoundOps::MemoryBoundOps(const CudaOptions& options)
    : CudaDevice(options), reduce_scratch_(allocate(cuda::reduce_scratch(), "scalars")) {}

void MemoryBoundOps::fill(Tensor y, double value) {
  LLM_ASSERT(y.contiguous(), "fill: {}", y.describe());
  run("fill", y, [&] {
    cuda::fill(y.data, bits_of(y.dtype, value), static_cast<int>(dtype_bytes(y.dtype)), y.size(),
               compute());
  });
}

void MemoryBoundOps::convert(Tensor y, Tensor x) {
  LLM_ASSERT(y.contiguous() && x.contiguous() && y.size() == x.size(), "convert: {} from {}",
             y.describe(), x.describe());
  run("convert", y, [&] {
    if (y.dtype == x.dtype) {
      check(cudaMemcpyAsync(y.data, x.data, static_cast<size_t>(y.bytes()),
                            cudaMemcpyDeviceToDevice, compute()),
            "copying on the GPU");
    } else {
      cuda::convert(y.data, element_of(y.dtype), x.data, element_of(x.dtype), y.size(), compute());
    }
  });
}

void MemoryBoundOps::add(Tensor y, Tensor a, Tensor b) {
  check_alike("add", {y, a, b});
  check_matrix("add", "a", a, y.rows(), y.columns());
  check_matrix("add", "b", b, y.rows(), y.columns());
  LLM_ASSERT(y.contiguous(), "add: y is {}", y.describe());
  run("add", y,
      [&] { cuda::add(y.data, a.data, b.data, element_of(y.dtype), y.size(), compute()); });
}

void MemoryBoundOps::scale(Tensor y, Tensor factor) {
  check_alike("scale", {y});
  check_vector("scale", "factor", factor, DType::f32, 1);
  LLM_ASSERT(y.contiguous(), "scale: {}", y.describe());
  run("scale", y,
      [&] { cuda::scale(y.data, factor.f32(), element_of(y.dtype), y.size(), compute()); });
}

void MemoryBoundOps::scale_rows(Tensor y, Tensor factors) {
  check_alike("scale_rows", {y});
  check_matrix("scale_rows", "y", y, y.rows(), y.columns());
  check_vector("scale_rows", "factors", factors, DType::f32, y.rows());
  run("scale_rows", y, [&] {
    cuda::scale_rows(y.data, factors.f32(), element_of(y.dtype), y.rows(), y.columns(), compute());
  });
}

void MemoryBoundOps::zero_other_columns(Tensor x, int64_t begin, int64_t width) {
  check_vector("zero_other_columns", "x", x, DType::f32, x.rows() * x.columns());
  run("zero_other_columns", x,
      [&] { cuda::zero_other_columns(x.f32(), x.rows(), x.columns(), begin, width, compute()); });
}

void MemoryBoundOps::pool_forward(Tensor y, Tensor x, Tensor begin, Tensor end) {
  check_pool("pool_forward", y, x, begin, end);
  run("pool_forward", x, [&] {
    cuda::pool_forward(y.data, x.data, begin.i32(), end.i32(), element_of(x.dtype), x.dim(0),
                       x.dim(1), x.dim(2), compute());
  });
}

void MemoryBoundOps::pool_backward(Tensor dx, Tensor dy, Tensor begin, Tensor end) {
  check_pool("pool_backward", dy, dx, begin, end);
  run("pool_backward", dx, [&] {
    cuda::pool_backward(dx.data, dy.data, begin.i32(), end.i32(), element_of(dx.dtype), dx.dim(0),
                        dx.dim(1), dx.dim(2), compute());
  });
}

void MemoryBoundOps::embedding_forward(Tensor y, Tensor tokens, Tensor positions,
                                       Tensor token_table, Tensor position_table) {
  const char* op = "embedding_forward";
  const int64_t rows = y.rows(), C = y.columns();
  check_alike(op, {y, token_table, position_table});
  check_matrix(op, "y", y, rows, C);
  check_matrix(op, "token_table", token_table, token_table.dim(0), C);
  if (position_table) {
    check_matrix(op, "position_table", position_table, position_table.dim(0), C);
  }
  check_vector(op, "tokens", tokens, DType::i32, rows);
  check_optional(op, "positions", positions, DType::i32, rows);
  LLM_ASSERT(rows <= INT32_MAX, "{}: {} rows", op, rows);
  run(op, y, [&] {
    cuda::embedding_forward(y.data, tokens.i32(), positions ? positions.i32() : nullptr,
                            token_table.data, position_table.data, element_of(y.dtype), rows,
                            tokens.columns(), C, compute());
  });
}

void MemoryBoundOps::embedding_backward(Tensor dtoken_table, Tensor dposition_table, Tensor dy,
                                        Tensor tokens, Tensor positions) {
  const char* op = "embedding_backward";
  const int64_t rows = dy.rows(), C = dy.columns();
  check_matrix(op, "dy", dy, rows, C);
  check_optional(op, "dtoken_table", dtoken_table, DType::f32, dtoken_table.rows() * C);
  check_optional(op, "dposition_table", dposition_table, DType::f32, dposition_table.rows() * C);
  check_vector(op, "tokens", tokens, DType::i32, rows);
  check_optional(op, "positions", positions, DType::i32, rows);
  const Element element = element_of(dy.dtype);
  const auto scatter = [&](const Tensor& table, const Tensor& indices) {
    cuda::embedding_backward(table.f32(), dy.data, indices.i32(), element, rows, C, table.rows(),
                             scratch(embedding_backward_scratch(rows, C)), compute());
  };
  run(op, dy, [&] {
    if (dtoken_table) scatter(dtoken_table, tokens);
    if (dposition_table && positions) scatter(dposition_table, positions);
    if (dposition_table && !positions) {
      embedding_backward_positions(dposition_table.f32(), dy.data, element, rows, tokens.columns(),
                                   C, compute());
    }
  });
}

void MemoryBoundOps::layernorm_forward(Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor weight,
                                       Tensor bias, float epsilon) {
  normalize("layernorm_forward", {}, y, mean, rstd, x, {}, weight, bias, epsilon);
}

void MemoryBoundOps::residual_layernorm_forward(Tensor sum, Tensor y, Tensor mean, Tensor rstd,
                                                Tensor a, Tensor b, Tensor weight, Tensor bias,
                                                float epsilon) {
  normalize("residual_layernorm_forward", sum, y, mean, rstd, a, b, weight, bias, epsilon);
}

void MemoryBoundOps::layernorm_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dx_sum,
                                        Tensor dy, Tensor x, Tensor mean, Tensor rstd,
                                        Tensor weight, bool accumulate) {
  const char* op = "layernorm_backward";
  const int64_t rows = x.rows(), C = x.columns();
  check_alike(op, {x, dx, dy, weight});
  check_matrix(op, "x", x, rows, C);
  check_matrix(op, "dy", dy, rows, C);
  check_matrix(op, "weight", weight, 1, C);
  check_optional_size(op, "dx", dx, rows * C);
  for (const Tensor& sum : {dweight, dbias, dx_sum}) {
    check_optional(op, "a column sum", sum, DType::f32, C);
  }
  check_vector(op, "mean", mean, DType::f32, rows);
  check_vector(op, "rstd", rstd, DType::f32, rows);
  run(op, x, [&] {
    cuda::layernorm_backward(dx.data, f32_or_null(dweight), f32_or_null(dbias), f32_or_null(dx_sum),
                             dy.data, x.data, mean.f32(), rstd.f32(), weight.data,
                             element_of(x.dtype), rows, C, accumulate,
                             scratch(layernorm_backward_scratch(rows, C)), compute());
  });
}

void MemoryBoundOps::gelu_forward(Tensor y, Tensor x) {
  check_pointwise("gelu_forward", y, {x});
  run("gelu_forward", y,
      [&] { cuda::gelu_forward(y.data, x.data, element_of(y.dtype), y.size(), compute()); });
}

void MemoryBoundOps::gelu_backward(Tensor dx, Tensor dy, Tensor x) {
  check_pointwise("gelu_backward", dx, {dy, x});
  run("gelu_backward", dx, [&] {
    cuda::gelu_backward(dx.data, dy.data, x.data, element_of(x.dtype), x.size(), compute());
  });
}

void MemoryBoundOps::dropout(Tensor y, Tensor x, const Dropout& dropout) {
  check_pointwise("dropout", y, {x});
  LLM_ASSERT(y.rank > 0 && dropout.rate >= 0 && dropout.rate < 1, "dropout: rate {} of {}",
             dropout.rate, y.describe());
  check_vector("dropout", "sample_ids", dropout.sample_ids, DType::i64, y.dim(0));
  run("dropout", y, [&] {
    cuda::dropout(y.data, x.data, dropout.sample_ids.i64(), element_of(y.dtype), y.dim(0),
                  y.dim(0) == 0 ? 0 : y.size() / y.dim(0), dropout.rate, dropout.seed, dropout.site,
                  compute());
  });
}

void MemoryBoundOps::bias_backward(Tensor dbias, Tensor dy) {
  const int64_t rows = dy.rows(), C = dy.columns();
  check_matrix("bias_backward", "dy", dy, rows, C);
  check_vector("bias_backward", "dbias", dbias, DType::f32, C);
  run("bias_backward", dy, [&] {
    cuda::bias_backward(dbias.f32(), dy.data, element_of(dy.dtype), rows, C,
                        scratch(bias_backward_scratch(rows, C)), compute());
  });
}

void MemoryBoundOps::cross_entropy_forward(Tensor losses, Tensor logits, Tensor targets,
                                           int64_t vocab) {
  cross_entropy("cross_entropy_forward", losses, {}, logits, targets, vocab, {});
}

void MemoryBoundOps::cross_entropy_backward(Tensor dlogits, Tensor logits, Tensor targets,
                                            int64_t vocab, Tensor gradient_scale) {
  check_alike("cross_entropy_backward", {logits, dlogits});
  check_matrix("cross_entropy_backward", "dlogits", dlogits, logits.rows(), logits.columns());
  cross_entropy("cross_entropy_backward", {}, dlogits, logits, targets, vocab, gradient_scale);
}

void MemoryBoundOps::cross_entropy_forward_backward(Tensor losses, Tensor logits, Tensor targets,
                                                    int64_t vocab, Tensor gradient_scale) {
  cross_entropy("cross_entropy_forward_backward", losses, logits, logits, targets, vocab,
                gradient_scale);
}

void MemoryBoundOps::accumulate_sum(Tensor out, Tensor x, Tensor factor) {
  check_vector("accumulate_sum", "out", out, DType::f32, 1);
  check_vector("accumulate_sum", "x", x, DType::f32, x.size());
  check_optional("accumulate_sum", "factor", factor, DType::f32, 1);
  run("accumulate_sum", x, [&] {
    cuda::accumulate_sum(out.f32(), x.f32(), f32_or_null(factor), x.size(), reduce_scratch_->data(),
                         compute());
  });
}

void MemoryBoundOps::squared_norm(Tensor out, Tensor x) {
  check_vector("squared_norm", "out", out, DType::f32, 1);
  check_vector("squared_norm", "x", x, DType::f32, x.size());
  run("squared_norm", x, [&] {
    cuda::squared_norm(out.f32(), x.f32(), x.size(), reduce_scratch_->data(), compute());
  });
}

void MemoryBoundOps::prepare_update(const UpdateState& state, Tensor squared, Tensor loss,
                                    Tensor loss_limit, float max_norm) {
  run("prepare_update", squared, [&] {
    cuda::prepare_update(scalars_of(state), squared.f32(), loss.f32(), loss_limit.f32(), max_norm,
                         compute());
  });
}

void MemoryBoundOps::adamw_update(Tensor params, Tensor low, Tensor m, Tensor v, Tensor grads,
                                  Tensor chunk_decay, const UpdateState& state,
                                  const AdamWOptions& options) {
  const char* op = "adamw_update";
  const int64_t count = params.size();
  for (const Tensor& tensor : {params, m, v, grads}) {
    check_vector(op, "an arena", tensor, DType::f32, count);
  }
  check_optional(op, "low", low, DType::bf16, count);
  check_vector(op, "chunk_decay", chunk_decay, DType::f32,
               (count + kParameterAlignment - 1) / kParameterAlignment);
  run(op, params, [&] {
    cuda::adamw_update(params.f32(), low.data, m.f32(), v.f32(), grads.f32(), chunk_decay.f32(),
                       scalars_of(state), count, kParameterAlignment, options.beta1, options.beta2,
                       options.epsilon, compute());
  });
}

void MemoryBoundOps::normalize(const char* op, Tensor sum, Tensor y, Tensor mean, Tensor rstd,
                               Tensor a, Tensor b, Tensor weight, Tensor bias, float epsilon) {
  const int64_t rows = a.rows(), C = a.columns();
  check_alike(op, {a, b, sum, y, weight, bias});
  check_matrix(op, "x", a, rows, C);
  check_matrix(op, "y", y, rows, C);
  if (b) check_matrix(op, "b", b, rows, C);
  check_optional_size(op, "sum", sum, rows * C);
  check_matrix(op, "weight", weight, 1, C);
  check_optional_size(op, "bias", bias, C);
  check_optional(op, "mean", mean, DType::f32, rows);
  check_optional(op, "rstd", rstd, DType::f32, rows);
  run(op, y, [&] {
    cuda::layernorm_forward(sum.data, y.data, f32_or_null(mean), f32_or_null(rstd), a.data, b.data,
                            weight.data, bias.data, element_of(a.dtype), rows, C, epsilon,
                            compute());
  });
}

void MemoryBoundOps::cross_entropy(const char* op, const Tensor& losses, const Tensor& dlogits,
                                   const Tensor& logits, const Tensor& targets, int64_t vocab,
                                   const Tensor& gradient_scale) {
  check_alike(op, {logits});
  check_matrix(op, "logits", logits, logits.rows(), logits.columns());
  check_vector(op, "targets", targets, DType::i32, logits.rows());
  check_optional(op, "losses", losses, DType::f32, logits.rows());
  if (dlogits) check_vector(op, "gradient_scale", gradient_scale, DType::f32, 1);
  LLM_ASSERT(vocab > 0 && vocab <= logits.columns(), "{}: vocabulary {}, logits {}", op, vocab,
             logits.describe());
  run(op, logits, [&] {
    cuda::cross_entropy(f32_or_null(losses), dlogits.data, logits.data, targets.i32(),
                        f32_or_null(gradient_scale), element_of(logits.dtype), logits.rows(), vocab,
                        logits.columns(), compute());
  });
}

int64_t MemoryBoundOps::memory_bound_scratch(const std::string& op, const Tensor& first) {
  const int64_t rows = first.rows(), C = first.columns();
  if (op == "embedding_backward") return embedding_backward_scratch(rows, C);
  if (op == "layernorm_backward") return layernorm_backward_scratch(rows, C);
  if (op == "bias_backward") return bias_backward_scratch(rows, C);
  return 0;
}

}  // namespace llm::cuda
