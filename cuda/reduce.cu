// Sums of whole vectors: out[0] += factor[0] * sum of x, out[0] += sum of x^2.
//
// Two launches without atomics. In the first a fixed number of blocks, whatever the GPU, go over x
// in steps of the whole grid: each thread loads four 16-byte packets before it adds, squares and
// adds in f64 (an f32 value and its square are exact there), and each block leaves one f64 partial
// sum in scratch. In the second, one block adds the partial sums and updates out. So the order of
// all additions depends on count alone.
//
// Rounding: none before the final result, but for the additions in f64; out is rounded once.
// Bytes: x is read once.
#include <algorithm>

#include "cuda/common.cuh"
#include "cuda/reduce.h"

namespace llm::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMostBlocks = 2048;
constexpr int kPackets = 4;
constexpr int kWidth = Vector<float>::kSize;
constexpr int64_t kBlockElements = int64_t{kThreads} * kPackets * kWidth;

template <bool kSquare>
__device__ __forceinline__ double term(float x) {
  const double value = x;
  return kSquare ? value * value : value;
}
template <bool kSquare>
__device__ __forceinline__ double sum_of(const Vector<float>& x) {
  double sum = term<kSquare>(x.at[0]);
#pragma unroll
  for (int i = 1; i < kWidth; ++i) sum += term<kSquare>(x.at[i]);
  return sum;
}

template <bool kSquare>
__global__ void __launch_bounds__(kThreads)
    partial_sums_kernel(double* partials, const float* x, int64_t count) {
  __shared__ double shared[kThreads / kWarp];
  const int64_t vectors = count / kWidth, step = int64_t{gridDim.x} * kThreads * kPackets;
  double sums[kPackets] = {};
  int64_t first = int64_t{blockIdx.x} * kThreads * kPackets + threadIdx.x;
  for (; first + (kPackets - 1) * kThreads < vectors; first += step) {
    Vector<float> packets[kPackets];
#pragma unroll
    for (int n = 0; n < kPackets; ++n) {
      packets[n] = load_streaming(x + (first + n * kThreads) * kWidth);
    }
#pragma unroll
    for (int n = 0; n < kPackets; ++n) sums[n] += sum_of<kSquare>(packets[n]);
  }
  // At most one further step of this thread is partly inside.
  for (; first < vectors; first += kThreads) sums[0] += sum_of<kSquare>(load(x + first * kWidth));
  const int64_t rest = vectors * kWidth + threadIdx.x;
  if (blockIdx.x == 0 && rest < count) sums[1] += term<kSquare>(x[rest]);
  const double sum = block_sum((sums[0] + sums[1]) + (sums[2] + sums[3]), shared);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads)
    add_partial_sums_kernel(float* out, const double* partials, int count, const float* factor) {
  __shared__ double shared[kThreads / kWarp];
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += kThreads) sum += partials[i];
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) {
    out[0] = static_cast<float>(out[0] + (factor ? static_cast<double>(factor[0]) : 1.0) * sum);
  }
}

template <bool kSquare>
void reduce(float* out, const float* x, const float* factor, int64_t count, void* scratch,
            cudaStream_t stream) {
  if (count <= 0) return;
  const int blocks =
      static_cast<int>(std::min<int64_t>(kMostBlocks, ceil_div(count, kBlockElements)));
  double* partials = static_cast<double*>(scratch);
  partial_sums_kernel<kSquare><<<blocks, kThreads, 0, stream>>>(partials, x, count);
  add_partial_sums_kernel<<<1, kThreads, 0, stream>>>(out, partials, blocks, factor);
}

}  // namespace

int64_t reduce_scratch() { return kMostBlocks * sizeof(double); }

void accumulate_sum(float* out, const float* x, const float* factor, int64_t count, void* scratch,
                    cudaStream_t stream) {
  reduce<false>(out, x, factor, count, scratch, stream);
}

void squared_norm(float* out, const float* x, int64_t count, void* scratch, cudaStream_t stream) {
  reduce<true>(out, x, nullptr, count, scratch, stream);
}

}  // namespace llm::cuda
