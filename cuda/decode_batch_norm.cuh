// Embedding and norms, for decode_batch.
#pragma once

#include "cuda/decode_batch_product.cuh"

namespace llm::cuda {

constexpr int kNormThreads = 256;
constexpr int kNormFours = kDecodeChannels / 4 / kNormThreads;  // of a thread, at most

struct BatchEmbedding {
  const int32_t *tokens, *positions;  // (S)
  const bf16 *token_table, *position_table;
};

// y = norm of the stream, whose rows are first made from the tables if these are given.
struct BatchNorm {
  BatchEmbedding embedding;
  float* stream;  // (S, C)
  bf16* y;        // (S, C)
  const bf16 *weight, *bias;
  int C;
  float epsilon;
};

#ifdef LLM_HOPPER

__device__ __forceinline__ float4 load_four(const bf16* from) {
  return to_floats(__ldg(reinterpret_cast<const uint2*>(from)));
}
__device__ __forceinline__ float4 operator+(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ __forceinline__ float sum_of(float4 a) { return (a.x + a.y) + (a.z + a.w); }

#endif  // LLM_HOPPER

// A block per sequence.
template <bool kEmbeds>
__global__ void __launch_bounds__(kNormThreads) decode_batch_norm_kernel(BatchNorm norm) {
#ifdef LLM_HOPPER
  __shared__ float shared[2][kNormThreads / kWarp];
  if constexpr (!kEmbeds) let_next_kernel_begin();
  const int s = blockIdx.x, fours = norm.C / 4;
  float4 x[kNormFours], weight[kNormFours], bias[kNormFours];
#pragma unroll
  for (int i = 0; i < kNormFours; ++i) {
    const int four = threadIdx.x + i * kNormThreads;
    x[i] = weight[i] = bias[i] = make_float4(0, 0, 0, 0);
    if (four >= fours) continue;
    weight[i] = load_four(norm.weight + 4 * four);
    if (norm.bias) bias[i] = load_four(norm.bias + 4 * four);
  }
  wait_for_previous_kernel();
  // Kernels behind this one read lengths and the cache before they wait: both are known from here.
  if constexpr (kEmbeds) let_next_kernel_begin();
  float4* stream = reinterpret_cast<float4*>(norm.stream) + int64_t{s} * fours;
  float total = 0;
#pragma unroll
  for (int i = 0; i < kNormFours; ++i) {
    const int four = threadIdx.x + i * kNormThreads;
    if (four >= fours) continue;
    if constexpr (kEmbeds) {
      const BatchEmbedding& embedding = norm.embedding;
      const int64_t token = embedding.tokens[s], position = embedding.positions[s];
      x[i] = load_four(embedding.token_table + token * norm.C + 4 * four) +
             load_four(embedding.position_table + position * norm.C + 4 * four);
      stream[four] = x[i];
    } else {
      x[i] = stream[four];
    }
    total += sum_of(x[i]);
  }
  const float inverse = 1 / static_cast<float>(norm.C),
              mean = block_sum(total, shared[0]) * inverse;
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kNormFours; ++i) {
    if (static_cast<int>(threadIdx.x) + i * kNormThreads >= fours) continue;
    const float4 d = x[i] = x[i] + make_float4(-mean, -mean, -mean, -mean);
    squares += sum_of(make_float4(d.x * d.x, d.y * d.y, d.z * d.z, d.w * d.w));
  }
  const float rstd = rsqrtf(block_sum(squares, shared[1]) * inverse + norm.epsilon);
#pragma unroll
  for (int i = 0; i < kNormFours; ++i) {
    const int four = threadIdx.x + i * kNormThreads;
    if (four >= fours) continue;
    const float4 w = weight[i], b = bias[i], d = x[i];
    const float4 y = make_float4(fmaf(d.x * rstd, w.x, b.x), fmaf(d.y * rstd, w.y, b.y),
                                 fmaf(d.z * rstd, w.z, b.z), fmaf(d.w * rstd, w.w, b.w));
    store_four<BatchResult::rounded>(norm.y, int64_t{s} * norm.C + 4 * four, y);
  }
#else
  __trap();
#endif
}

}  // namespace llm::cuda
