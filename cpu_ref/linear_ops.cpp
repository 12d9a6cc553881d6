#include "cpu_ref/linear_ops.h"

#include "cpu_ref/checks.h"
#include "cpu_ref/linear.h"
#include "cpu_ref/widen.h"

namespace llm::cpu_ref {

void run_linear_forward(Tensor y, Tensor x, const Weight& weight, Tensor bias, bool plain,
                        Threads threads) {
  const char* op = "linear_forward";
  const int64_t rows = x.rows(), in = x.columns(), out_columns = y.columns();
  check_alike(op, {x, y, weight.data, bias});
  check_matrix(op, "x", x, rows, in);
  check_matrix(op, "y", y, rows, out_columns);
  check_matrix(op, "weight", weight.data, out_columns, in);
  check_optional_size(op, "bias", bias, out_columns);
  check_plain_weight(op, weight);
  const Input x_in(x), bias_in(bias);
  const Output out(y);
  if (plain) {
    const Input weight_in(weight.data);
    linear_forward(out.data(), x_in.data(), weight_in.data(), bias_in.data(), rows, in, out_columns,
                   threads);
  } else {
    linear_forward_fast(out.data(), x_in.data(), StoredRows(weight.data), bias_in.data(), rows, in,
                        out_columns, threads);
  }
}

void run_linear_gelu_forward(Tensor y, Tensor pre, Tensor x, const Weight& weight, Tensor bias,
                             Threads threads) {
  const char* op = "linear_gelu_forward";
  const int64_t rows = x.rows(), in = x.columns(), out_columns = y.columns();
  check_alike(op, {y, pre, x, weight.data, bias});
  check_matrix(op, "x", x, rows, in);
  check_matrix(op, "y", y, rows, out_columns);
  check_optional_size(op, "pre", pre, rows * out_columns);
  check_matrix(op, "weight", weight.data, out_columns, in);
  check_optional_size(op, "bias", bias, out_columns);
  check_plain_weight(op, weight);
  const Input x_in(x), bias_in(bias);
  const Output out(y), pre_out(pre);
  linear_gelu_forward_fast(out.data(), pre_out.data(), x_in.data(), StoredRows(weight.data),
                           bias_in.data(), rows, in, out_columns, y.dtype == DType::bf16, threads);
}

void run_linear_backward(Tensor dx, Tensor dweight, Tensor dbias, Tensor dy, Tensor x,
                         const Weight& weight, bool accumulate, bool plain, Threads threads) {
  const char* op = "linear_backward";
  const int64_t rows = dy.rows(), out_columns = dy.columns(), in = weight.data.columns();
  check_alike(op, {dy, dx, weight.data});
  check_matrix(op, "dy", dy, rows, out_columns);
  check_matrix(op, "weight", weight.data, out_columns, in);
  check_optional_size(op, "dx", dx, rows * in);
  check_optional(op, "dweight", dweight, DType::f32, out_columns * in);
  check_optional(op, "dbias", dbias, DType::f32, out_columns);
  check_plain_weight(op, weight);
  const Input dy_in(dy);
  if (dweight) {
    check_alike(op, {dy, x});
    check_matrix(op, "x", x, rows, in);
    const Input x_in(x);
    const auto body = plain ? linear_backward_weight : linear_backward_weight_fast;
    body(dweight.f32(), dy_in.data(), x_in.data(), rows, in, out_columns, threads);
  }
  if (dbias) {
    const auto body = plain ? linear_backward_bias : linear_backward_bias_fast;
    body(dbias.f32(), dy_in.data(), rows, out_columns, threads);
  }
  if (dx) {
    const Input weight_in(weight.data);
    const Output out(dx, accumulate);
    const auto body = plain ? linear_backward_input : linear_backward_input_fast;
    body(out.data(), dy_in.data(), weight_in.data(), rows, in, out_columns, accumulate, threads);
  }
}

}  // namespace llm::cpu_ref
