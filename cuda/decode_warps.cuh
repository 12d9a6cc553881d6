// The warps of a block that compute when tokens are decoded.
#pragma once

#include "cuda/hopper.cuh"

namespace llm::cuda {

constexpr int kDecodeWarps = 8;  // others of the block bring data
constexpr int kDecodeThreads = kDecodeWarps * kWarp;

#ifdef LLM_HOPPER

__device__ __forceinline__ void computing_barrier() {
  __syncwarp();
  named_barrier(1, kDecodeThreads);
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
