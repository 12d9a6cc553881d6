// Dropout; see dropout.h.
//
// Element e of a sample is dropped iff word e % 4 of Philox block e / 4 of the sample's stream is
// below the threshold. So the natural unit of work is four elements that share a block: a thread
// takes packets of 16 bytes (one Philox block in f32, two in bf16), a block of threads a piece of
// one sample. Where samples do not begin at whole packets in memory, the same four elements are
// loaded one by one; the numbers follow the element in the sample, never the address.
// A Philox block takes some 45 instructions and the rest 8 per element: with bf16 nearly as much
// time as the bytes take. So a thread does many units: that shares what is set up once, and gives
// the multiprocessor independent rounds to mix.
// Rounding: x * (1 / (1 - rate)) in f32, then once to the type of y.
// Bytes: x once, y once.
#include "cuda/dropout.h"
#include "cuda/packet.cuh"

namespace llm::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kUnits = 8;  // per thread

struct Mask {
  uint64_t seed;
  uint32_t site, threshold;
  float kept_scale;
};

// The elements of whole Philox blocks, as packets of kWidth.
template <typename T, int kWidth>
struct Unit {
  static constexpr int kSize = kWidth > 4 ? kWidth : 4;
  static constexpr int kPackets = kSize / kWidth;
  Packet<T, kWidth> packets[kPackets];

  // whole: all elements lie before count.
  __device__ __forceinline__ void load_from(const T* x, int64_t element, int64_t count,
                                            bool whole) {
#pragma unroll
    for (int i = 0; i < kPackets; ++i) {
      const int64_t at = element + i * kWidth;
      if (whole || at < count) packets[i] = load_packet<kWidth>(x + at);
    }
  }
  __device__ __forceinline__ void store_to(T* y, int64_t element, int64_t count, bool whole,
                                           uint64_t stream, const Mask& mask) const {
    uint32_t words[kSize];
#pragma unroll
    for (int i = 0; i < kSize; i += 4) {
      const uint4 block = philox_block(mask.seed, stream, static_cast<uint64_t>(element + i) / 4);
      words[i] = block.x, words[i + 1] = block.y, words[i + 2] = block.z, words[i + 3] = block.w;
    }
#pragma unroll
    for (int i = 0; i < kPackets; ++i) {
      float out[kWidth];
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        const float value = packets[i][k] * mask.kept_scale;
        out[k] = words[i * kWidth + k] >= mask.threshold ? value : 0.0f;
      }
      const int64_t at = element + i * kWidth;
      if (whole || at < count) store_packet(y + at, pack<T>(out));
    }
  }
};

// One thread's units, kThreads units apart.
template <typename T, int kWidth>
__device__ __forceinline__ void drop_units(T* y, const T* x, int64_t first, int64_t count,
                                           bool whole, uint64_t stream, const Mask& mask) {
  constexpr int kStep = kThreads * Unit<T, kWidth>::kSize;
  Unit<T, kWidth> units[kUnits];
#pragma unroll
  for (int i = 0; i < kUnits; ++i) units[i].load_from(x, first + i * kStep, count, whole);
#pragma unroll
  for (int i = 0; i < kUnits; ++i) {
    if (whole || first + i * kStep < count) {
      units[i].store_to(y, first + i * kStep, count, whole, stream, mask);
    }
  }
}

// x and y are (batch, count); every sample has `pieces` blocks. count is a multiple of kWidth.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    dropout_kernel(T* y, const T* x, const int64_t* sample_ids, int64_t count, unsigned pieces,
                   Mask mask) {
  constexpr int kSize = Unit<T, kWidth>::kSize;
  const int64_t sample = blockIdx.x / pieces, piece = blockIdx.x % pieces;
  const uint64_t stream = dropout_stream(mask.site, sample_ids[sample]);
  const int64_t begin = piece * kThreads * kUnits * kSize, first = begin + threadIdx.x * kSize;
  x += sample * count;
  y += sample * count;
  // The usual case by itself: without branches the compiler mixes the units.
  if (begin + kThreads * kUnits * kSize <= count) {
    drop_units<T, kWidth>(y, x, first, count, true, stream, mask);
  } else {
    drop_units<T, kWidth>(y, x, first, count, false, stream, mask);
  }
}

template <typename T, int kWidth>
void launch_dropout(void* y, const void* x, const int64_t* sample_ids, int64_t batch, int64_t count,
                    const Mask& mask, cudaStream_t stream) {
  const int64_t pieces = ceil_div(count, int64_t{kThreads} * kUnits * Unit<T, kWidth>::kSize);
  dropout_kernel<T, kWidth><<<static_cast<unsigned>(batch * pieces), kThreads, 0, stream>>>(
      static_cast<T*>(y), static_cast<const T*>(x), sample_ids, count,
      static_cast<unsigned>(pieces), mask);
}

}  // namespace

void dropout(void* y, const void* x, const int64_t* sample_ids, Element element, int64_t batch,
             int64_t sample_size, float rate, uint64_t seed, uint32_t site, cudaStream_t stream) {
  if (batch <= 0 || sample_size <= 0) return;
  const Mask mask{seed, site, dropout_threshold(rate), 1.0f / (1.0f - rate)};
  with_element(element, [&](auto type) {
    using T = decltype(type);
    if (sample_size % Vector<T>::kSize == 0) {
      launch_dropout<T, Vector<T>::kSize>(y, x, sample_ids, batch, sample_size, mask, stream);
    } else {
      launch_dropout<T, 1>(y, x, sample_ids, batch, sample_size, mask, stream);
    }
  });
}

}  // namespace llm::cuda
