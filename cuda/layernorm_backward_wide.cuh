// Layer normalization, backward, for any number of channels: the slow path of
// layernorm_backward.cu, for rows that are too long for its blocks or not whole packets of 16
// bytes. The sums over rows are made by column_sums.cuh, each from another pass over its inputs,
// and dx by a block per row.
#pragma once

#include "cuda/column_sums.cuh"

namespace llm::cuda {

template <typename T>
struct LayernormBackward {
  T* dx;
  const T* dy;
  const T* x;
  const float* mean;
  const float* rstd;
  const T* weight;
  int64_t rows, channels;
};

// Sums over the channels of a row.
struct RowSums {
  float g, g_normed;
};

constexpr int kWideThreads = 256;

// dx of a row per block, any number of channels.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kWideThreads)
    layernorm_backward_wide_kernel(LayernormBackward<T> op, bool accumulate) {
  __shared__ float shared[2][kWideThreads / kWarp];
  const int64_t row = blockIdx.x, begin = row * op.channels;
  const int64_t first = int64_t{threadIdx.x} * kWidth, step = int64_t{kWideThreads} * kWidth;
  const float mean = op.mean[row], rstd = op.rstd[row];
  RowSums part{0, 0};
  for (int64_t channel = first; channel < op.channels; channel += step) {
    const auto dy = load_packet<kWidth>(op.dy + begin + channel);
    const auto x = load_packet<kWidth>(op.x + begin + channel);
    const auto weight = load_packet<kWidth>(op.weight + channel);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const float g = dy[k] * weight[k];
      part.g += g;
      part.g_normed = fmaf(g, (x[k] - mean) * rstd, part.g_normed);
    }
  }
  const RowSums average{block_sum(part.g, shared[0]) / op.channels,
                        block_sum(part.g_normed, shared[1]) / op.channels};
  for (int64_t channel = first; channel < op.channels; channel += step) {
    const auto dy = load_packet<kWidth>(op.dy + begin + channel);
    const auto x = load_packet<kWidth>(op.x + begin + channel);
    const auto weight = load_packet<kWidth>(op.weight + channel);
    Packet<T, kWidth> old = {};
    if (accumulate) old = load_packet<kWidth>(op.dx + begin + channel);
    float dx[kWidth];
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const float normed = (x[k] - mean) * rstd;
      const float value = rstd * (dy[k] * weight[k] - average.g - normed * average.g_normed);
      dx[k] = accumulate ? old[k] + value : value;
    }
    store_packet(op.dx + begin + channel, pack<T>(dx));
  }
}

template <typename T>
struct NormedSum {
  static constexpr int kUnroll = 4, kResident = 3, kWaves = 4;
  LayernormBackward<T> op;

  template <int kWidth>
  struct Input {
    Packet<T, kWidth> dy, x;
    float mean, rstd;
  };
  template <int kWidth>
  __device__ Input<kWidth> load(int64_t row, int64_t i) const {
    return {load_packet<kWidth>(op.dy + i), load_packet<kWidth>(op.x + i), op.mean[row],
            op.rstd[row]};
  }
  template <int kWidth>
  __device__ void add(float* sums, int64_t, const Input<kWidth>& in) const {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      sums[k] = fmaf(in.dy[k], (in.x[k] - in.mean) * in.rstd, sums[k]);
    }
  }
};

template <typename T>
struct PlainSum {
  static constexpr int kUnroll = 8, kResident = 4, kWaves = 1;
  const T* x;

  template <int kWidth>
  using Input = Packet<T, kWidth>;
  template <int kWidth>
  __device__ Input<kWidth> load(int64_t, int64_t i) const {
    return load_packet<kWidth>(x + i);
  }
  template <int kWidth>
  __device__ void add(float* sums, int64_t, const Input<kWidth>& in) const {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) sums[k] += in[k];
  }
};

// The sums over dy first: dx may overwrite it.
template <typename T>
void layernorm_backward_wide(const SumTargets& targets, const LayernormBackward<T>& op,
                             bool accumulate, void* scratch, cudaStream_t stream) {
  if (targets.at[0]) {
    column_sums<T>(targets.at[0], NormedSum<T>{op}, op.rows, op.channels, scratch, stream);
  }
  if (targets.at[1]) {
    column_sums<T>(targets.at[1], PlainSum<T>{op.dy}, op.rows, op.channels, scratch, stream);
  }
  if (!op.dx) return;
  const auto rows = static_cast<unsigned>(op.rows);
  if (op.channels % Vector<T>::kSize == 0) {
    layernorm_backward_wide_kernel<T, Vector<T>::kSize>
        <<<rows, kWideThreads, 0, stream>>>(op, accumulate);
  } else {
    layernorm_backward_wide_kernel<T, 1><<<rows, kWideThreads, 0, stream>>>(op, accumulate);
  }
  if (targets.at[2]) {
    column_sums<T>(targets.at[2], PlainSum<T>{op.dx}, op.rows, op.channels, scratch, stream);
  }
}

}  // namespace llm::cuda
