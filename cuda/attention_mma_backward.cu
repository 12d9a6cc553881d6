// Attention backward on tensor cores (mma.sync, bf16 in, f32 sums); see attention_mma.h and
// backend.h. With P = softmax(scores), M the dropout factors and out = (P * M) V:
//   dV = (P * M)^T dout,  dS = P * (M * (dout V^T) - delta),  delta = rowsum(dout * out),
//   dQ = scale dS K,  dK = scale dS^T Q.
//
// Two kernels: one makes delta and dQ for blocks of queries (attention_mma_query_gradient.cuh), the
// other dK and dV for blocks of keys (attention_mma_key_gradient.cuh). Both make P again from lse.
// That is 7 products of D per pair of query and key where one walk needs 5, but then P and dS never
// leave the registers of the warp that made them, no result is added to across blocks, so the sums
// have a fixed order, and the second walk needs no 4 byte sums of dQ in device memory (B H T D
// read and written once per tile of keys: more time than the two products).
//
// Rounding: products of bf16 are summed in f32; P (in [0, 1]) and dS are rounded to bf16 for their
// second products: each term is off by at most 2^-9 of itself, so dV by 2^-9 sum |P dout|, dQ and
// dK by 2^-9 scale sum |dS k| and sum |dS q|, beside their own rounding of 2^-9. delta comes from
// the rounded out, in f32.
//
// Dropout: the first kernel makes the mask (a lane has 4 consecutive keys of a query, one Philox
// block) and leaves it in scratch memory, a bit per probability, for the second.
//
// Bytes: the first kernel reads q, dout, out once and keys and values once per 128 queries, from
// L2; the second reads k, v once and q, dout once per 128 keys. The tensor cores are what limits.
#include "cuda/attention_mma.h"
#include "cuda/attention_mma_key_gradient.cuh"
#include "cuda/attention_mma_query_gradient.cuh"
#include "cuda/kernel_launch.cuh"

namespace llm::cuda {
namespace {

int64_t statistics_bytes(const AttentionProblem& problem) {
  const int64_t queries = problem.B * problem.H * problem.Tq;
  return round_up(queries * static_cast<int64_t>(sizeof(QueryStatistics)), 256);
}

// Of the dropout mask, per query: whole blocks of 128 keys.
int64_t kept_bytes(const AttentionProblem& problem) {
  return problem.dropout_rate > 0 ? round_up(problem.Tk, 128) / 8 : 0;
}

BackwardScratch scratch_at(void* data, const AttentionProblem& problem) {
  return {static_cast<QueryStatistics*>(data),
          static_cast<uint8_t*>(data) + statistics_bytes(problem), kept_bytes(problem)};
}

template <typename Kernel, typename... Arguments>
void launch(Kernel kernel, int64_t blocks, int shared_bytes, cudaStream_t stream,
            Arguments... arguments) {
  if (blocks == 0) return;
  allow_shared_memory(kernel, shared_bytes);
  kernel<<<static_cast<unsigned>(blocks), kTileThreads, shared_bytes, stream>>>(arguments...);
}

template <typename QueryShape, typename KeyShape, bool kDropout>
void backward(const AttentionBackward& tensors, const AttentionProblem& problem, void* scratch_data,
              cudaStream_t stream) {
  const ProbabilityDropout dropout = probability_dropout(problem);
  const BackwardScratch scratch = scratch_at(scratch_data, problem);
  const int64_t query_tiles = tiles_of_row(problem, problem.Tq, QueryShape::kQueries);
  launch(attention_mma_query_gradient_kernel<QueryShape, kDropout>,
         query_tiles * problem.H * problem.B, QueryShape::kSharedBytes, stream, tensors, scratch,
         problem, dropout, static_cast<int>(query_tiles));
  const int64_t key_tiles = tiles_of_row(problem, problem.Tk, KeyShape::kKeys);
  launch(attention_mma_key_gradient_kernel<KeyShape, kDropout>, key_tiles * problem.KV * problem.B,
         KeyShape::kSharedBytes, stream, tensors, scratch, problem, dropout,
         static_cast<int>(key_tiles));
}

template <typename QueryShape, typename KeyShape, typename DropoutQueryShape = QueryShape,
          typename DropoutKeyShape = KeyShape>
void launch_backward(const AttentionBackward& tensors, const AttentionProblem& problem,
                     void* scratch, cudaStream_t stream) {
  static_assert(QueryShape::kSharedBytes <= 99 * 1024 && KeyShape::kSharedBytes <= 99 * 1024 &&
                    DropoutQueryShape::kSharedBytes <= 99 * 1024 &&
                    DropoutKeyShape::kSharedBytes <= 99 * 1024,
                "what every card from 8.0 on has");
  if (problem.dropout_rate > 0) {
    return backward<DropoutQueryShape, DropoutKeyShape, true>(tensors, problem, scratch, stream);
  }
  backward<QueryShape, KeyShape, false>(tensors, problem, scratch, stream);
}

}  // namespace

int64_t attention_mma_backward_scratch(const AttentionProblem& problem) {
  return statistics_bytes(problem) + problem.B * problem.H * problem.Tq * kept_bytes(problem);
}

void attention_mma_backward(const AttentionBackward& tensors, const AttentionProblem& problem,
                            void* scratch, cudaStream_t stream) {
  if (problem.D == 64) {
    // With dropout the integer units are busy as well, and more warps hide their latency.
    return launch_backward<
        QueryGradientShape<64, 2, 64, 32, true>, KeyGradientShape<64, 2, 64, true, true>,
        QueryGradientShape<64, 1, 64, 32, true, 3>, KeyGradientShape<64, 1, 64, true, true, 3>>(
        tensors, problem, scratch, stream);
  }
  if (problem.D == 80) {
    return launch_backward<QueryGradientShape<80, 2, 64, 32, false>,
                           KeyGradientShape<80, 2, 64, false, false>>(tensors, problem, scratch,
                                                                      stream);
  }
  if (problem.D == 96) {
    return launch_backward<QueryGradientShape<96, 2, 32, 32, false>,
                           KeyGradientShape<96, 1, 64, true, true>>(tensors, problem, scratch,
                                                                    stream);
  }
  launch_backward<QueryGradientShape<128, 1, 32, 32, true>,
                  KeyGradientShape<128, 1, 32, true, true>>(tensors, problem, scratch, stream);
}

}  // namespace llm::cuda
