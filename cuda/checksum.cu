// Checksum of a tensor: the sum over all 4-byte words of a mix of the word and its index, in 64-bit
// integers that wrap around.
//
// Threads stride over the words, add in registers, then in the block, then to the result with one
// atomic per block: integer addition gives the same sum in any order. Reads `bytes`, once; it runs
// a few times when an algorithm is chosen, never in a training step.
#include <algorithm>

#include "cuda/checksum.h"
#include "cuda/common.cuh"

namespace llm::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1024;

// The mixer of SplitMix64: every bit of the input changes about half of the output.
__device__ __forceinline__ uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// The `lead` bytes before the first aligned word and those after the last count one by one.
__global__ void checksum_kernel(unsigned long long* checksum, const uint8_t* data, int64_t bytes,
                                int64_t lead) {
  __shared__ unsigned long long sums[kThreads / kWarp];
  constexpr uint64_t kStep = 0x9E3779B97F4A7C15u;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t count = (bytes - lead) / 4, end = lead + 4 * count;
  const auto* words = reinterpret_cast<const uint32_t*>(data + lead);
  unsigned long long sum = 0;
  for (int64_t i = first; i < count; i += stride) sum += mix(i * kStep + words[i]);
  if (first < lead) sum += mix((count + first) * kStep + data[first]);
  if (first < bytes - end) sum += mix((count + 4 + first) * kStep + data[end + first]);
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    sum += __shfl_xor_sync(~0u, sum, offset);
  }
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < kThreads / kWarp; ++warp) sum += sums[warp];
    atomicAdd(checksum, sum);
  }
}

}  // namespace

void add_checksum(uint64_t* checksum, const void* data, int64_t bytes, cudaStream_t stream) {
  if (bytes == 0) return;
  const int64_t blocks = std::clamp<int64_t>(ceil_div(bytes, 16 * kThreads), 1, kMostBlocks);
  const auto lead = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(data) % 4);
  checksum_kernel<<<blocks, kThreads, 0, stream>>>(reinterpret_cast<unsigned long long*>(checksum),
                                                   static_cast<const uint8_t*>(data), bytes,
                                                   std::min(lead, bytes));
}

}  // namespace llm::cuda
