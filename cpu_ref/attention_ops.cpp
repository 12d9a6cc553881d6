#include "cpu_ref/attention_ops.h"

#include "base/error.h"
#include "cpu_ref/attention.h"
#include "cpu_ref/attention_arguments.h"
#include "cpu_ref/attention_decode.h"
#include "cpu_ref/checks.h"
#include "cpu_ref/widen.h"

namespace llm::cpu_ref {
namespace {

HeadView<const float> heads_of(const Input& input) {
  const Tensor& t = input.tensor();
  return {input.data(), t.stride[0], t.stride[1], t.stride[2]};
}
HeadView<float> heads_of(const Output& output) {
  const Tensor& t = output.tensor();
  return {output.data(), t.stride[0], t.stride[1], t.stride[2]};
}

}  // namespace

void run_attention_forward(Tensor out, Tensor lse, Tensor q, Tensor k, Tensor v,
                           const AttentionOptions& options, bool plain, Threads threads) {
  const char* op = "attention_forward";
  check_alike(op, {out, q, k, v});
  const AttentionProblem problem = attention_problem(op, q, k, v, options);
  check_heads(op, "out", out, problem.B, problem.Tq, problem.H, problem.D);
  check_optional(op, "lse", lse, DType::f32, problem.B * problem.H * problem.Tq);
  const Input q_in(q), k_in(k), v_in(v);
  const Output result(out);
  const auto body = plain ? attention_forward : attention_forward_fast;
  body(heads_of(result), lse ? lse.f32() : nullptr, heads_of(q_in), heads_of(k_in), heads_of(v_in),
       problem, threads);
}

void run_attention_backward(Tensor dq, Tensor dk, Tensor dv, Tensor dout, Tensor out, Tensor lse,
                            Tensor q, Tensor k, Tensor v, const AttentionOptions& options,
                            bool plain, Threads threads) {
  const char* op = "attention_backward";
  check_alike(op, {dq, dk, dv, dout, out, q, k, v});
  const AttentionProblem problem = attention_problem(op, q, k, v, options);
  check_heads(op, "dq", dq, problem.B, problem.Tq, problem.H, problem.D);
  check_heads(op, "dk", dk, problem.B, problem.Tk, problem.KV, problem.D);
  check_heads(op, "dv", dv, problem.B, problem.Tk, problem.KV, problem.D);
  check_heads(op, "dout", dout, problem.B, problem.Tq, problem.H, problem.D);
  check_heads(op, "out", out, problem.B, problem.Tq, problem.H, problem.D);
  check_vector(op, "lse", lse, DType::f32, problem.B * problem.H * problem.Tq);
  const Input dout_in(dout), out_in(out), q_in(q), k_in(k), v_in(v);
  const Output dq_out(dq), dk_out(dk), dv_out(dv);
  const auto body = plain ? attention_backward : attention_backward_fast;
  body(heads_of(dq_out), heads_of(dk_out), heads_of(dv_out), heads_of(dout_in), heads_of(out_in),
       lse.f32(), heads_of(q_in), heads_of(k_in), heads_of(v_in), problem, threads);
}

void run_attention_decode(Tensor out, Tensor q, Tensor key_cache, Tensor value_cache,
                          Tensor block_table, Tensor lengths, float scale, bool plain,
                          Threads threads) {
  const char* op = "attention_decode";
  LLM_ASSERT(q.rank == 4, "{}: q is {}", op, q.describe());
  const int64_t B = q.dim(0), T = q.dim(1), H = q.dim(2), D = key_cache.dim(3);
  check_alike(op, {out, q});
  check_heads(op, "q", q, B, T, H, D);
  check_heads(op, "out", out, B, T, H, D);
  check_cache(op, key_cache, value_cache, block_table, lengths, B, T);
  LLM_ASSERT(H % key_cache.dim(2) == 0, "{}: {} heads, cache {}", op, H, key_cache.describe());
  const Input q_in(q);
  const Output result(out);
  const auto body = plain ? attention_decode : attention_decode_fast;
  body(heads_of(result), heads_of(q_in), paged_cache(key_cache, block_table),
       paged_cache(value_cache, block_table), lengths.i32(), B, T, H, scale, threads);
}

void run_cache_append(Tensor key_cache, Tensor value_cache, Tensor k, Tensor v, Tensor block_table,
                      Tensor lengths, Threads threads) {
  const char* op = "cache_append";
  const int64_t B = k.dim(0), T = k.dim(1), KV = key_cache.dim(2), D = key_cache.dim(3);
  check_alike(op, {k, v});
  check_heads(op, "k", k, B, T, KV, D);
  check_heads(op, "v", v, B, T, KV, D);
  check_cache(op, key_cache, value_cache, block_table, lengths, B, T);
  const Input k_in(k), v_in(v);
  cache_append(paged_cache(key_cache, block_table), heads_of(k_in), lengths.i32(), B, T, threads);
  cache_append(paged_cache(value_cache, block_table), heads_of(v_in), lengths.i32(), B, T, threads);
}

}  // namespace llm::cpu_ref
