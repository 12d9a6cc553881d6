// Ops on the rows of a matrix; see rows.h.
//
// scale_rows, zero_other_columns and pool_backward write every element by its own: map.cuh. A
// packet must not reach over the end of a row there, so packets are whole only where a row is a
// number of them. pool_forward: a block takes 32 columns of one sequence, a lane one of them; its
// warps share the rows of the range in turns, and their sums are added in the order of the warps.
// Rounding: each result once; sums in f32.
// Bytes: each input once (of pool_forward only the rows in the range), each output once.
#include "cuda/map.cuh"
#include "cuda/rows.h"

namespace llm::cuda {
namespace {

constexpr int kPoolWarps = 8;

template <typename T>
struct ScaleRows {
  T* y;
  const float* factors;
  int64_t columns;

  template <int kWidth>
  __device__ void apply(int64_t i) const {
    const Packet<T, kWidth> packet = load_packet<kWidth>(y + i);
    const float factor = factors[i / columns];
    float values[kWidth];
#pragma unroll
    for (int k = 0; k < kWidth; ++k) values[k] = packet[k] * factor;
    store_packet(y + i, pack<T>(values));
  }
};

struct ZeroOtherColumns {
  float* x;
  int64_t columns, begin, end;

  template <int kWidth>
  __device__ void apply(int64_t i) const {
    const int64_t column = i % columns;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      if (column + k < begin || column + k >= end) x[i + k] = 0;
    }
  }
};

template <typename T>
struct PoolBackward {
  T* dx;
  const T* dy;
  const int32_t* begin;
  const int32_t* end;
  int64_t length, channels;

  template <int kWidth>
  __device__ void apply(int64_t i) const {
    const int64_t row = i / channels, b = row / length, t = row % length;
    const int first = begin[b], last = end[b];
    float values[kWidth] = {};
    if (t >= first && t < last) {
      const Packet<T, kWidth> packet =
          load_packet<kWidth>(dy + b * channels + (i - row * channels));
#pragma unroll
      for (int k = 0; k < kWidth; ++k) values[k] = packet[k] / static_cast<float>(last - first);
    }
    store_packet(dx + i, pack<T>(values));
  }
};

// grid: tiles of kWarp columns times sequences.
template <typename T>
__global__ void __launch_bounds__(kPoolWarps* kWarp)
    pool_forward_kernel(T* y, const T* x, const int32_t* begin, const int32_t* end, int64_t length,
                        int64_t channels, unsigned tiles) {
  __shared__ float sums[kPoolWarps][kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t b = blockIdx.x / tiles, c = int64_t{blockIdx.x % tiles} * kWarp + lane;
  const int first = begin[b], last = end[b];
  float sum = 0;
  if (c < channels) {
#pragma unroll 4
    for (int t = first + warp; t < last; t += kPoolWarps) {
      sum += static_cast<float>(x[(b * length + t) * channels + c]);
    }
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || c >= channels) return;
  float total = 0;
#pragma unroll
  for (int w = 0; w < kPoolWarps; ++w) total += sums[w][lane];
  y[b * channels + c] = static_cast<T>(last > first ? total / static_cast<float>(last - first) : 0);
}

}  // namespace

void scale_rows(void* y, const float* factors, Element element, int64_t rows, int64_t columns,
                cudaStream_t stream) {
  with_element(element, [&](auto type) {
    using T = decltype(type);
    constexpr int kWidth = Vector<T>::kSize;
    launch_map<kWidth>(ScaleRows<T>{static_cast<T*>(y), factors, columns},
                       aligned_to_16(y) && columns % kWidth == 0, rows * columns, stream);
  });
}

void zero_other_columns(float* x, int64_t rows, int64_t columns, int64_t begin, int64_t width,
                        cudaStream_t stream) {
  constexpr int kWidth = Vector<float>::kSize;
  launch_map<kWidth>(ZeroOtherColumns{x, columns, begin, begin + width}, columns % kWidth == 0,
                     rows * columns, stream);
}

void pool_forward(void* y, const void* x, const int32_t* begin, const int32_t* end, Element element,
                  int64_t batch, int64_t length, int64_t channels, cudaStream_t stream) {
  const int64_t tiles = ceil_div(channels, kWarp);
  if (batch * tiles == 0) return;
  with_element(element, [&](auto type) {
    using T = decltype(type);
    pool_forward_kernel<T><<<static_cast<unsigned>(batch * tiles), kPoolWarps * kWarp, 0, stream>>>(
        static_cast<T*>(y), static_cast<const T*>(x), begin, end, length, channels,
        static_cast<unsigned>(tiles));
  });
}

void pool_backward(void* dx, const void* dy, const int32_t* begin, const int32_t* end,
                   Element element, int64_t batch, int64_t length, int64_t channels,
                   cudaStream_t stream) {
  with_element(element, [&](auto type) {
    using T = decltype(type);
    constexpr int kWidth = Vector<T>::kSize;
    const PoolBackward<T> function{
        static_cast<T*>(dx), static_cast<const T*>(dy), begin, end, length, channels};
    launch_map<kWidth>(function, aligned_to_16(dx) && aligned_to_16(dy) && channels % kWidth == 0,
                       batch * length * channels, stream);
  });
}

}  // namespace llm::cuda
