// What decides about an update, and AdamW (Loshchilov & Hutter, "Decoupled weight decay
// regularization", 2019) over all parameters in one launch:
//   g = grad * gradient_scale; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2
//   p -= learning_rate * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon) + decay * p)
//   low = p, rounded to bf16
//
// As many blocks as the GPU holds at once go over the arena in steps of the whole grid, so that the
// two powers are taken once per block, in f64 by one thread, and not once per element. A thread
// loads packets of 4 parameters of all four arrays before it computes. Chunks of a power of two of
// elements, at least a packet, take one look-up of their decay per packet; frozen chunks load and
// store nothing. Other chunk sizes go element by element.
//
// Rounding: f32 with correctly rounded division and square root; m, v and p are rounded once each
// (up to what the multiplications and additions inside round), low from the rounded p.
// Bytes: 16 read (p, m, v, g) and 12 or 14 written (p, m, v, low) per parameter.
#include <algorithm>

#include "cuda/optimizer.h"
#include "cuda/packet.cuh"

namespace llm::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWidth = 4;

__global__ void prepare_update_kernel(UpdateScalars scalars, const float* squared,
                                      const float* loss, const float* loss_limit, float max_norm) {
  const float norm = sqrtf(squared[0]);
  const bool apply = isfinite(norm) && isfinite(loss[0]) && loss[0] <= loss_limit[0];
  scalars.gradient_norm[0] = norm;
  scalars.gradient_scale[0] = max_norm > 0 && norm > max_norm ? max_norm / norm : 1.0f;
  scalars.apply[0] = apply;
  scalars.updates[0] += apply;
}

struct Arena {
  float *params, *m, *v;
  bf16* low;
  const float* grads;
  const float* chunk_decay;
  int64_t count, chunk;
  int chunk_shift;  // chunk = 1 << chunk_shift, or -1
};

// The numbers of the options as the inner loop uses them.
struct Rates {
  double beta1, beta2;
  float keep1, keep2, take1, take2, epsilon;
};

// The numbers of one step, the same for all parameters.
struct Step {
  Rates rates;
  float inverse1, inverse2, learning_rate, gradient_scale;

  __device__ __forceinline__ void update(float& p, float& m, float& v, float grad,
                                         float decay) const {
    const float g = grad * gradient_scale;
    m = m * rates.keep1 + g * rates.take1;
    v = v * rates.keep2 + g * g * rates.take2;
    const float direction = m * inverse1 / (sqrtf(v * inverse2) + rates.epsilon);
    p -= learning_rate * (direction + decay * p);
  }
};

// Of the whole block; `inverses`: two floats in shared memory.
__device__ __forceinline__ Step load_step(const UpdateScalars& scalars, const Rates& rates,
                                          float* inverses) {
  if (threadIdx.x < 2) {
    const double beta = threadIdx.x == 0 ? rates.beta1 : rates.beta2;
    inverses[threadIdx.x] = static_cast<float>(1 / (1 - pow(beta, double(scalars.updates[0]))));
  }
  __syncthreads();
  return {rates, inverses[0], inverses[1], scalars.learning_rate[0], scalars.gradient_scale[0]};
}

__device__ __forceinline__ void store_low(bf16* to, const Vector<float>& p) {
  __nv_bfloat162 pairs[2] = {__floats2bfloat162_rn(p.at[0], p.at[1]),
                             __floats2bfloat162_rn(p.at[2], p.at[3])};
  __stcs(reinterpret_cast<uint2*>(to), *reinterpret_cast<const uint2*>(pairs));
}

// One element: what packets leave over, and chunks that no packets fit into.
__device__ __forceinline__ void update_element(const Arena& arena, const Step& step, int64_t i) {
  const float decay = arena.chunk_decay[i / arena.chunk];
  if (decay < 0) return;
  float p = arena.params[i], m = arena.m[i], v = arena.v[i];
  step.update(p, m, v, arena.grads[i], decay);
  arena.params[i] = p;
  arena.m[i] = m;
  arena.v[i] = v;
  if (arena.low) arena.low[i] = from_float<bf16>(p);
}

__device__ __forceinline__ void update_packet(const Arena& arena, const Step& step, int64_t at) {
  const float decay = arena.chunk_decay[at >> arena.chunk_shift];
  if (decay < 0) return;
  Vector<float> p = load_streaming(arena.params + at), m = load_streaming(arena.m + at);
  Vector<float> v = load_streaming(arena.v + at);
  const Vector<float> g = load_streaming(arena.grads + at);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) step.update(p.at[i], m.at[i], v.at[i], g.at[i], decay);
  store_streaming(arena.params + at, p);
  store_streaming(arena.m + at, m);
  store_streaming(arena.v + at, v);
  if (arena.low) store_low(arena.low + at, p);
}

__global__ void __launch_bounds__(kThreads)
    adamw_update_kernel(Arena arena, UpdateScalars scalars, Rates rates) {
  __shared__ float inverses[2];
  if (scalars.apply[0] == 0) return;
  const Step step = load_step(scalars, rates, inverses);
  const int64_t threads = int64_t{gridDim.x} * kThreads;
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t packets = arena.chunk_shift >= 0 ? arena.count / kWidth : 0;
  for (int64_t n = thread; n < packets; n += threads) update_packet(arena, step, n * kWidth);
  for (int64_t i = packets * kWidth + thread; i < arena.count; i += threads) {
    update_element(arena, step, i);
  }
}

int power_of_two(int64_t chunk) {
  for (int shift = 2; shift < 62; ++shift) {
    if (chunk == int64_t{1} << shift) return shift;
  }
  return -1;
}

}  // namespace

void prepare_update(const UpdateScalars& scalars, const float* squared, const float* loss,
                    const float* loss_limit, float max_norm, cudaStream_t stream) {
  prepare_update_kernel<<<1, 1, 0, stream>>>(scalars, squared, loss, loss_limit, max_norm);
}

void adamw_update(float* params, void* low, float* m, float* v, const float* grads,
                  const float* chunk_decay, const UpdateScalars& scalars, int64_t count,
                  int64_t chunk, float beta1, float beta2, float epsilon, cudaStream_t stream) {
  if (count <= 0) return;
  const auto kernel = adamw_update_kernel;
  const Arena arena{params,      m,     v,     static_cast<bf16*>(low), grads,
                    chunk_decay, count, chunk, power_of_two(chunk)};
  const Rates rates{beta1,
                    beta2,
                    beta1,
                    beta2,
                    static_cast<float>(1 - static_cast<double>(beta1)),
                    static_cast<float>(1 - static_cast<double>(beta2)),
                    epsilon};
  int per_multiprocessor = 0;
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_multiprocessor, kernel, kThreads, 0);
  const int64_t resident = int64_t{std::max(1, per_multiprocessor)} * multiprocessors();
  const int64_t blocks = std::min(resident, ceil_div(count, kThreads * kWidth));
  kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(arena, scalars, rates);
}

}  // namespace llm::cuda
