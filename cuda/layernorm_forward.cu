// Layer normalization, forward, with or without the residual sum before it; see layernorm.h.
//
// Work: a warp takes a row. It loads the whole row into registers (up to 16 packets of 16 bytes a
// lane, all in flight at once), so device memory is read once however many passes the statistics
// take: the mean first, then the squared deviations from it, which does not cancel. Sums over the
// row are shuffles within the warp; there is no barrier and no shared memory, and the many rows per
// multiprocessor hide each other's latency. weight and bias come from the L1 cache.
// Rows that are too long for a warp or not whole packets take the second kernel: a block per row,
// which reads the row three times, from the caches after the first.
//
// Rounding: sum = a + b once to its type, and the norm reads the rounded sum; y once. Statistics
// are f32.
// Bytes: a (and b) once, y (and sum) once, mean and rstd.
#include "cuda/layernorm.h"
#include "cuda/packet.cuh"

namespace llm::cuda {
namespace {

constexpr int kWarps = 4;        // rows of a block of the first kernel
constexpr int kThreads = 256;    // of a row in the second kernel
constexpr int kMaxVectors = 16;  // of a lane

template <typename T>
struct Forward {
  T* sum;
  T* y;
  float* mean;
  float* rstd;
  const T* a;
  const T* b;
  const T* weight;
  const T* bias;
  int64_t rows, channels;
  float inverse;  // 1 / channels
  float epsilon;
};

// Rounded once.
template <typename T, int kWidth>
__device__ __forceinline__ Packet<T, kWidth> rounded_sum(const Packet<T, kWidth>& a,
                                                         const Packet<T, kWidth>& b) {
  float sums[kWidth];
#pragma unroll
  for (int i = 0; i < kWidth; ++i) sums[i] = a[i] + b[i];
  return pack<T>(sums);
}

// y of some neighbours of a row.
template <typename T, int kWidth>
__device__ __forceinline__ Packet<T, kWidth> normalized(const Packet<T, kWidth>& x, float mean,
                                                        float rstd, const Packet<T, kWidth>& weight,
                                                        const Packet<T, kWidth>& bias) {
  float out[kWidth];
#pragma unroll
  for (int i = 0; i < kWidth; ++i) out[i] = fmaf((x[i] - mean) * rstd, weight[i], bias[i]);
  return pack<T>(out);
}

template <typename T>
__device__ __forceinline__ void store_statistics(const Forward<T>& op, int64_t row, float mean,
                                                 float rstd) {
  if (op.mean) op.mean[row] = mean;
  if (op.rstd) op.rstd[row] = rstd;
}

// A row's packets of one lane, packet i from channel (i * kWarp + lane) * kSize on. All but the
// last are whole for every lane; the last is zeros beyond the channels. They stay packed: as floats
// they would take twice the registers and halve the rows in flight.
template <typename T, int kVectors>
struct RowPart {
  static constexpr int kSize = Vector<T>::kSize;
  FullPacket<T> at[kVectors];

  __device__ __forceinline__ static int channel(int i) {
    return (i * kWarp + static_cast<int>(threadIdx.x) % kWarp) * kSize;
  }
  __device__ __forceinline__ static bool has(int i, int channels) {
    return i < kVectors - 1 || channel(i) < channels;
  }
  __device__ __forceinline__ void load_from(const T* row, int channels) {
    at[kVectors - 1] = {};
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      if (has(i, channels)) at[i] = load_packet<kSize>(row + channel(i));
    }
  }
  __device__ __forceinline__ void store_to(T* row, int channels) const {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      if (has(i, channels)) store_packet(row + channel(i), at[i]);
    }
  }
  // Becomes the rounded sum.
  __device__ __forceinline__ void add(const RowPart& other) {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) at[i] = rounded_sum(at[i], other.at[i]);
  }
  __device__ __forceinline__ float sum() const {
    float total = 0;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
#pragma unroll
      for (int k = 0; k < kSize; ++k) total += at[i][k];
    }
    return total;
  }
  __device__ __forceinline__ float squares(float mean, int channels) {
    float total = 0;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      at[i].forget_unpacked();
      float part = 0;
#pragma unroll
      for (int k = 0; k < kSize; ++k) part = fmaf(at[i][k] - mean, at[i][k] - mean, part);
      total += has(i, channels) ? part : 0;
    }
    return total;
  }
  // weight and bias of two packets at a time: more would take too many registers.
  __device__ __forceinline__ void store_normed(const Forward<T>& op, T* y, float mean, float rstd) {
    const int channels = static_cast<int>(op.channels);
#pragma unroll
    for (int first = 0; first < kVectors; first += 2) {
      FullPacket<T> weight[2] = {}, bias[2] = {};
#pragma unroll
      for (int i = first; i < first + 2 && i < kVectors; ++i) {
        if (!has(i, channels)) continue;
        weight[i - first] = load_packet<kSize>(op.weight + channel(i));
        if (op.bias) bias[i - first] = load_packet<kSize>(op.bias + channel(i));
      }
#pragma unroll
      for (int i = first; i < first + 2 && i < kVectors; ++i) {
        if (!has(i, channels)) continue;
        at[i].forget_unpacked();
        store_packet(y + channel(i),
                     normalized(at[i], mean, rstd, weight[i - first], bias[i - first]));
      }
    }
  }
};

// Blocks on a multiprocessor of 65,536 registers that leave a thread what it needs: 4 registers for
// each packet in flight, and as many as that for weight and bias, and for the rest.
constexpr int resident_blocks(int vectors, bool residual) {
  return 65536 / (kWarps * kWarp * ((residual ? 8 : 6) * vectors + 40));
}

// channels: a multiple of the packet; a row has kVectors packets for each lane, the last perhaps
// for some lanes only.
template <typename T, int kVectors, bool kResidual>
__global__ void __launch_bounds__(kWarps* kWarp, resident_blocks(kVectors, kResidual))
    layernorm_forward_kernel(Forward<T> op) {
  using Part = RowPart<T, kVectors>;
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (row >= op.rows) return;
  const int channels = static_cast<int>(op.channels);
  const int64_t begin = row * op.channels;
  Part x;
  x.load_from(op.a + begin, channels);
  if constexpr (kResidual) {
    Part added;
    added.load_from(op.b + begin, channels);
    x.add(added);
    x.store_to(op.sum + begin, channels);
  }
  const float mean = warp_sum(x.sum()) * op.inverse;
  const float rstd = rsqrtf(warp_sum(x.squares(mean, channels)) * op.inverse + op.epsilon);
  x.store_normed(op, op.y + begin, mean, rstd);
  if (threadIdx.x % kWarp == 0) store_statistics(op, row, mean, rstd);
}

// Any number of channels that is a multiple of kWidth. A thread visits the same channels in every
// pass, so that it reads back the sums that it wrote itself.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads) layernorm_forward_wide_kernel(Forward<T> op) {
  __shared__ float shared[2][kThreads / kWarp];
  const int64_t row = blockIdx.x, begin = row * op.channels;
  const int64_t first = int64_t{threadIdx.x} * kWidth, step = int64_t{kThreads} * kWidth;
  const T* from = op.b ? op.sum : op.a;
  float total = 0;
  for (int64_t channel = first; channel < op.channels; channel += step) {
    auto x = load_packet<kWidth>(op.a + begin + channel);
    if (op.b) {
      x = rounded_sum(x, load_packet<kWidth>(op.b + begin + channel));
      store_packet(op.sum + begin + channel, x);
    }
#pragma unroll
    for (int k = 0; k < kWidth; ++k) total += x[k];
  }
  const float mean = block_sum(total, shared[0]) * op.inverse;
  float squares = 0;
  for (int64_t channel = first; channel < op.channels; channel += step) {
    const auto x = load_packet<kWidth>(from + begin + channel);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      squares = fmaf(x[k] - mean, x[k] - mean, squares);
    }
  }
  const float rstd = rsqrtf(block_sum(squares, shared[1]) * op.inverse + op.epsilon);
  for (int64_t channel = first; channel < op.channels; channel += step) {
    const auto x = load_packet<kWidth>(from + begin + channel);
    const auto weight = load_packet<kWidth>(op.weight + channel);
    Packet<T, kWidth> bias = {};
    if (op.bias) bias = load_packet<kWidth>(op.bias + channel);
    store_packet(op.y + begin + channel, normalized(x, mean, rstd, weight, bias));
  }
  if (threadIdx.x == 0) store_statistics(op, row, mean, rstd);
}

// The first kernel with as many vectors as the row has.
template <typename T, int kVectors = 1>
void launch_warps(const Forward<T>& op, cudaStream_t stream) {
  if constexpr (kVectors < kMaxVectors) {
    if (op.channels > kVectors * kWarp * Vector<T>::kSize) {
      return launch_warps<T, kVectors + 1>(op, stream);
    }
  }
  const auto blocks = static_cast<unsigned>(ceil_div(op.rows, kWarps));
  const auto kernel = op.b ? layernorm_forward_kernel<T, kVectors, true>
                           : layernorm_forward_kernel<T, kVectors, false>;
  kernel<<<blocks, kWarps * kWarp, 0, stream>>>(op);
}

template <typename T>
void launch_forward(const Forward<T>& op, cudaStream_t stream) {
  constexpr int kWidth = Vector<T>::kSize;
  const auto rows = static_cast<unsigned>(op.rows);
  if (op.channels % kWidth != 0) {
    layernorm_forward_wide_kernel<T, 1><<<rows, kThreads, 0, stream>>>(op);
  } else if (op.channels > kMaxVectors * kWarp * kWidth) {
    layernorm_forward_wide_kernel<T, kWidth><<<rows, kThreads, 0, stream>>>(op);
  } else {
    launch_warps(op, stream);
  }
}

}  // namespace

void layernorm_forward(void* sum, void* y, float* mean, float* rstd, const void* a, const void* b,
                       const void* weight, const void* bias, Element element, int64_t rows,
                       int64_t channels, float epsilon, cudaStream_t stream) {
  if (rows <= 0 || channels <= 0) return;
  with_element(element, [&](auto type) {
    using T = decltype(type);
    launch_forward<T>(
        {static_cast<T*>(sum), static_cast<T*>(y), mean, rstd, static_cast<const T*>(a),
         static_cast<const T*>(b), static_cast<const T*>(weight), static_cast<const T*>(bias), rows,
         channels, 1.0f / static_cast<float>(channels), epsilon},
        stream);
  });
}

}  // namespace llm::cuda
