// What the blocks of a thread block cluster have together (sm_90): a barrier, and each other's
// shared memory.
#pragma once

#include "cuda/hopper.cuh"

namespace llm::cuda {

#ifdef LLM_HOPPER

__device__ __forceinline__ int cluster_rank() {
  int rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ __forceinline__ int cluster_size() {
  int size;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}
// The barrier of all threads of the cluster that have not ended; the lanes of a warp come together.
// It orders no writes to memory but barrier_init() with barrier_init_fence() behind it: waiting for
// those to global memory takes as long as a small kernel.
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}
// What lies at this address of one's own shared memory, in that of another block of the cluster.
__device__ __forceinline__ uint32_t address_in(int rank, const void* own) {
  uint32_t address;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared_address(own)), "r"(rank));
  return address;
}
// Shared memory to that of another block; the barrier there counts the bytes.
__device__ __forceinline__ void send_to_block(uint32_t to, const void* from, int bytes,
                                              uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, "
      "[%3];" ::"r"(to),
      "r"(shared_address(from)), "r"(bytes), "r"(barrier)
      : "memory");
}
// Behind reads of shared memory, which are done. Nothing that was written is seen through it.
__device__ __forceinline__ void arrive_in_block(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory");
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
