// Element-wise functions of tensors that lie side by side: y[i] = f(a[i], b[i], ...).
//
// A thread takes one packet of up to 16 bytes of each tensor. So little work per thread keeps
// registers few and warps many, and these keep enough loads in flight: measured on an H200, two or
// four packets per thread were slower. Tensors of which one is not aligned to its packets go
// element by element.
#pragma once

#include <algorithm>

#include "cuda/packet.cuh"

namespace llm::cuda {

constexpr int kMapThreads = 256;

// `function` says what is computed:
//   template <int kWidth> void apply(int64_t i)   for elements [i, i + kWidth); inputs are read
//                                                 before an output is written, which may be one
template <int kWidth, typename Function>
__global__ void __launch_bounds__(kMapThreads) map_kernel(Function function, int64_t count) {
  const int64_t packet = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (packet < count / kWidth) function.template apply<kWidth>(packet * kWidth);
  // Fewer than a packet are left behind the last one.
  const int64_t rest = count / kWidth * kWidth + threadIdx.x;
  if (kWidth > 1 && blockIdx.x == 0 && rest < count) function.template apply<1>(rest);
}

// aligned: whether all tensors of the function begin at whole packets of kWidth.
template <int kWidth, typename Function>
void launch_map(const Function& function, bool aligned, int64_t count, cudaStream_t stream) {
  if (count <= 0) return;
  const int64_t packets = aligned ? count / kWidth : count;
  const auto blocks = static_cast<unsigned>(std::max<int64_t>(1, ceil_div(packets, kMapThreads)));
  if (aligned) {
    map_kernel<kWidth><<<blocks, kMapThreads, 0, stream>>>(function, count);
  } else {
    map_kernel<1><<<blocks, kMapThreads, 0, stream>>>(function, count);
  }
}

}  // namespace llm::cuda
