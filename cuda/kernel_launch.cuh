// Launches with more than a grid and a stream.
//
// Programmatic dependent launch (compute capability 9.0): a kernel begins while the one before it
// on the stream still runs, as soon as all blocks of that have said that it may or have ended. It
// prepares what does not depend on that kernel and then waits for its end. Elsewhere it begins when
// the one before has ended, as usual.
#pragma once

#include "cuda/packet.cuh"

namespace llm::cuda {

// The kernel before on the stream has ended and all it wrote is there; nothing to wait for after an
// ordinary launch. Each thread that reads what that kernel wrote or writes what it read calls it.
__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Lets the kernel behind begin, if it was launched so. What that does before it waits must not
// depend on this kernel, nor on any before it that this one has not waited for yet.
__device__ __forceinline__ void let_next_kernel_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Lets a kernel have so much dynamic shared memory. Where the call succeeds it forgets the error of
// an earlier launch; if there is one, which is still to be reported, it is left out.
template <typename Kernel>
void allow_shared_memory(Kernel* kernel, int bytes) {
  if (cudaPeekAtLastError() != cudaSuccess) return;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

struct LaunchShape {
  dim3 grid, block;
  size_t shared = 0;     // bytes, dynamic
  unsigned cluster = 0;  // blocks of one; 0: no clusters
  // Before the end of the kernel before: only for kernels that call wait_for_previous_kernel().
  bool early = false;
};

template <typename... Parameters, typename... Arguments>
void launch_kernel(void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t stream,
                   const Arguments&... arguments) {
  cudaLaunchAttribute attributes[2]{};
  unsigned count = 0;
  if (shape.early && device_attribute(cudaDevAttrComputeCapabilityMajor) >= 9) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 0) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim.x = shape.cluster;
    attributes[count].val.clusterDim.y = attributes[count].val.clusterDim.z = 1;
    ++count;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace llm::cuda
