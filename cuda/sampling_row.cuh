// The logits of a sequence as the threads of a block have them, and what is kept of them; for
// sampling.cu.
#pragma once

#include "cuda/packet.cuh"

namespace llm::cuda {

constexpr int kSamplingThreads = 1024;
constexpr int kSamplingWarps = kSamplingThreads / kWarp;
constexpr int kListed = 2048;  // likely tokens that are looked at alone
constexpr float kForbidden = -INFINITY;

// Numbers in the order of the floats.
__device__ __forceinline__ uint32_t key_of(float x) {
  const uint32_t bits = __float_as_uint(x);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

struct SamplingShared {
  double sums[kSamplingWarps];
  uint64_t best[kSamplingWarps];
  int counts[kSamplingWarps];
  int result;
  float scores[kListed];  // of likely tokens in the order of ids
  int ids[kListed];
};

// Over the block, for every thread; all call it.
inline __device__ double sum_all(SamplingShared& shared, double x) {
  x = warp_sum(x);
  if (threadIdx.x % kWarp == 0) shared.sums[threadIdx.x / kWarp] = x;
  __syncthreads();
  double sum = 0;
  for (int w = 0; w < kSamplingWarps; ++w) sum += shared.sums[w];
  __syncthreads();
  return sum;
}
// What the first `warps` warps have.
__device__ __forceinline__ int count_of_warps(SamplingShared& shared, int x, int warps) {
  x = __reduce_add_sync(~0u, x);
  if (threadIdx.x % kWarp == 0) shared.counts[threadIdx.x / kWarp] = x;
  __syncthreads();
  int count = 0;
  for (int w = 0; w < warps; ++w) count += shared.counts[w];
  __syncthreads();
  return count;
}
inline __device__ int count_all(SamplingShared& shared, int x) {
  return count_of_warps(shared, x, kSamplingWarps);
}
// What the warps before this one have.
inline __device__ int count_before(SamplingShared& shared, int x) {
  return count_of_warps(shared, x, static_cast<int>(threadIdx.x) / kWarp);
}
inline __device__ uint32_t max_all(SamplingShared& shared, uint32_t x) {
  x = __reduce_max_sync(~0u, x);
  if (threadIdx.x % kWarp == 0) shared.counts[threadIdx.x / kWarp] = static_cast<int>(x);
  __syncthreads();
  uint32_t most = 0;
  for (int w = 0; w < kSamplingWarps; ++w)
    most = max(most, static_cast<uint32_t>(shared.counts[w]));
  __syncthreads();
  return most;
}

// The logits of one sequence as a thread has them, or of a list of its tokens.
struct TokenRow {
  const float* logits;
  const int* ids;         // of the listed tokens in rising order, or null: all
  int size, first, rows;  // the lane's places: first, first + 32, ...

  __device__ __forceinline__ TokenRow(const float* from, int64_t count, const int* names = nullptr)
      : logits(from), ids(names), size(static_cast<int>(count)) {
    rows = static_cast<int>(ceil_div(ceil_div(count, kSamplingWarps), kWarp));
    first = static_cast<int>(threadIdx.x) / kWarp * rows * kWarp +
            static_cast<int>(threadIdx.x) % kWarp;
  }
  __device__ __forceinline__ int id_of(int place) const {
    return ids != nullptr && place >= 0 ? ids[place] : place;
  }
  // body(place, logit) for all of this lane's, the warp together; kForbidden beyond the end.
  template <typename Body>
  __device__ __forceinline__ void each(Body&& body) const {
#pragma unroll 4
    for (int n = 0; n < rows; ++n) {
      const int place = first + n * kWarp;
      body(place, place < size ? logits[place] + 0.0f : kForbidden);  // -0 becomes 0
    }
  }
};

// The kept tokens: scores of at least `key`, of those that equal it the first `ties` in the order
// of ids.
struct KeptTokens {
  uint32_t key;
  int ties;
};

// Calls body(place, logit, kept) for all of the lane's tokens, the warp together.
template <typename Body>
__device__ __forceinline__ void each_kept(SamplingShared& shared, const TokenRow& row,
                                          const KeptTokens& kept, Body&& body) {
  int equal = 0;
  row.each([&](int, float x) { equal += x != kForbidden && key_of(x) == kept.key; });
  int before = count_before(shared, equal);
  const uint32_t below = (1u << threadIdx.x % kWarp) - 1;
  row.each([&](int place, float x) {
    const uint32_t key = key_of(x);
    const bool tie = x != kForbidden && key == kept.key;
    const uint32_t ties = __ballot_sync(~0u, tie);
    const bool in =
        x != kForbidden && (key > kept.key || (tie && before + __popc(ties & below) < kept.ties));
    before += __popc(ties);
    body(place, x, in);
  });
}

}  // namespace llm::cuda
