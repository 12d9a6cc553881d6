// The bias of a linear layer and its gradient; see bias.h.
//
// add_bias: a block takes a tile of columns (a lane keeps one 16-byte packet of the bias in
// registers) and a chunk of rows that its warps share, several rows of loads in flight.
// bias_backward: column_sums.cuh.
// Rounding: y once; dbias sums in f32.
// Bytes: add_bias y twice; bias_backward dy once.
#include "cuda/bias.h"
#include "cuda/column_sums.cuh"

namespace llm::cuda {
namespace {

constexpr int kAddWarps = 8;
constexpr int kAddRows = 4;  // per thread

// grid: chunks of kAddWarps * kAddRows rows times tiles of columns; the tiles of a chunk are
// neighbours, so that whole rows are under way at the same time.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kAddWarps* kWarp)
    add_bias_kernel(T* y, const T* bias, int64_t rows, int64_t columns, unsigned tiles) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t column = (int64_t{blockIdx.x % tiles} * kWarp + lane) * kWidth;
  if (column >= columns) return;
  const int64_t row = int64_t{blockIdx.x / tiles} * kAddWarps * kAddRows + warp;
  Packet<T, kWidth> values[kAddRows];
#pragma unroll
  for (int i = 0; i < kAddRows; ++i) {
    const int64_t at = row + i * kAddWarps;
    if (at < rows) values[i] = load_packet<kWidth>(y + at * columns + column);
  }
  const Packet<T, kWidth> added = load_packet<kWidth>(bias + column);
#pragma unroll
  for (int i = 0; i < kAddRows; ++i) {
    const int64_t at = row + i * kAddWarps;
    float sums[kWidth];
#pragma unroll
    for (int k = 0; k < kWidth; ++k) sums[k] = values[i][k] + added[k];
    if (at < rows) store_packet(y + at * columns + column, pack<T>(sums));
  }
}

template <typename T, int kWidth>
void launch_add_bias(T* y, const T* bias, int64_t rows, int64_t columns, cudaStream_t stream) {
  const int64_t tiles = ceil_div(columns, kWarp * kWidth);
  const int64_t blocks = ceil_div(rows, kAddWarps * kAddRows) * tiles;
  add_bias_kernel<T, kWidth><<<static_cast<unsigned>(blocks), kAddWarps * kWarp, 0, stream>>>(
      y, bias, rows, columns, static_cast<unsigned>(tiles));
}

template <typename T>
struct BiasBackward {
  static constexpr int kUnroll = 8, kResident = 2, kWaves = 1;
  const T* dy;

  template <int kWidth>
  using Input = Packet<T, kWidth>;
  template <int kWidth>
  __device__ Input<kWidth> load(int64_t, int64_t i) const {
    return load_packet<kWidth>(dy + i);
  }
  template <int kWidth>
  __device__ void add(float* sums, int64_t, const Input<kWidth>& in) const {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) sums[k] += in[k];
  }
};

}  // namespace

void add_bias(void* y, const void* bias, Element element, int64_t rows, int64_t columns,
              cudaStream_t stream) {
  if (rows <= 0 || columns <= 0) return;
  with_element(element, [&](auto type) {
    using T = decltype(type);
    auto* to = static_cast<T*>(y);
    auto* from = static_cast<const T*>(bias);
    if (columns % Vector<T>::kSize == 0) {
      launch_add_bias<T, Vector<T>::kSize>(to, from, rows, columns, stream);
    } else {
      launch_add_bias<T, 1>(to, from, rows, columns, stream);
    }
  });
}

int64_t bias_backward_scratch(int64_t rows, int64_t columns) {
  return column_sums_scratch(rows, columns);
}

void bias_backward(float* dbias, const void* dy, Element element, int64_t rows, int64_t columns,
                   void* scratch, cudaStream_t stream) {
  with_element(element, [&](auto type) {
    using T = decltype(type);
    const BiasBackward<T> function{static_cast<const T*>(dy)};
    column_sums<T>(dbias, function, rows, columns, scratch, stream);
  });
}

}  // namespace llm::cuda
