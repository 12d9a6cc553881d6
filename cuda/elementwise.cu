// Fills, conversions and sums, element by element; see elementwise.h.
//
// Work: map.cuh. Packets are 16 bytes of the widest type that takes part; a conversion between f32
// and a half type moves 16 bytes on one side and 8 on the other, so that both sides stay coalesced.
// Rounding: convert, add and scale round their f32 result once to the type of y. A conversion
// between equal types copies bits.
// Bytes: each input once, each output once.
#include "cuda/elementwise.h"
#include "cuda/map.cuh"

namespace llm::cuda {
namespace {

template <typename Bits>
struct Fill {
  Bits* y;
  Bits value;

  template <int kWidth>
  __device__ void apply(int64_t i) const {
    struct alignas(sizeof(Bits) * kWidth) Values {
      Bits at[kWidth];
    } values;
#pragma unroll
    for (Bits& at : values.at) at = value;
    *reinterpret_cast<Values*>(y + i) = values;
  }
};

template <typename To, typename From>
struct Convert {
  To* y;
  const From* x;

  template <int kWidth>
  __device__ void apply(int64_t i) const {
    const Packet<From, kWidth> from = load_packet<kWidth>(x + i);
    if constexpr (std::is_same_v<To, From>) {
      store_packet(y + i, from);
    } else {
      float values[kWidth];
#pragma unroll
      for (int k = 0; k < kWidth; ++k) values[k] = from[k];
      store_packet(y + i, pack<To>(values));
    }
  }
};

template <typename T>
struct Add {
  T* y;
  const T* a;
  const T* b;

  template <int kWidth>
  __device__ void apply(int64_t i) const {
    const Packet<T, kWidth> left = load_packet<kWidth>(a + i), right = load_packet<kWidth>(b + i);
    float sums[kWidth];
#pragma unroll
    for (int k = 0; k < kWidth; ++k) sums[k] = left[k] + right[k];
    store_packet(y + i, pack<T>(sums));
  }
};

template <typename T>
struct Scale {
  T* y;
  const float* factor;

  template <int kWidth>
  __device__ void apply(int64_t i) const {
    const Packet<T, kWidth> packet = load_packet<kWidth>(y + i);
    float values[kWidth];
#pragma unroll
    for (int k = 0; k < kWidth; ++k) values[k] = packet[k] * *factor;
    store_packet(y + i, pack<T>(values));
  }
};

template <typename Bits>
void launch_fill(void* y, uint64_t bits, int64_t count, cudaStream_t stream) {
  const Fill<Bits> function{static_cast<Bits*>(y), static_cast<Bits>(bits)};
  launch_map<16 / sizeof(Bits)>(function, aligned_to_16(y), count, stream);
}

template <typename To, typename From>
void launch_convert(void* y, const void* x, int64_t count, cudaStream_t stream) {
  constexpr int kWidth = 16 / (sizeof(To) > sizeof(From) ? sizeof(To) : sizeof(From));
  const Convert<To, From> function{static_cast<To*>(y), static_cast<const From*>(x)};
  launch_map<kWidth>(function, aligned_to_16(y) && aligned_to_16(x), count, stream);
}

template <typename To>
void launch_convert_from(void* y, const void* x, Element from, int64_t count, cudaStream_t stream) {
  switch (from) {
    case Element::f32:
      return launch_convert<To, float>(y, x, count, stream);
    case Element::bf16:
      return launch_convert<To, bf16>(y, x, count, stream);
    case Element::f16:
      return launch_convert<To, __half>(y, x, count, stream);
  }
}

}  // namespace

void fill(void* y, uint64_t bits, int element_bytes, int64_t count, cudaStream_t stream) {
  switch (element_bytes) {
    case 1:
      return launch_fill<uint8_t>(y, bits, count, stream);
    case 2:
      return launch_fill<uint16_t>(y, bits, count, stream);
    case 4:
      return launch_fill<uint32_t>(y, bits, count, stream);
    case 8:
      return launch_fill<uint64_t>(y, bits, count, stream);
  }
}

void convert(void* y, Element to, const void* x, Element from, int64_t count, cudaStream_t stream) {
  switch (to) {
    case Element::f32:
      return launch_convert_from<float>(y, x, from, count, stream);
    case Element::bf16:
      return launch_convert_from<bf16>(y, x, from, count, stream);
    case Element::f16:
      return launch_convert_from<__half>(y, x, from, count, stream);
  }
}

void add(void* y, const void* a, const void* b, Element element, int64_t count,
         cudaStream_t stream) {
  with_element(element, [&](auto type) {
    using T = decltype(type);
    const Add<T> function{static_cast<T*>(y), static_cast<const T*>(a), static_cast<const T*>(b)};
    launch_map<Vector<T>::kSize>(function, aligned_to_16(y) && aligned_to_16(a) && aligned_to_16(b),
                                 count, stream);
  });
}

void scale(void* y, const float* factor, Element element, int64_t count, cudaStream_t stream) {
  with_element(element, [&](auto type) {
    using T = decltype(type);
    const Scale<T> function{static_cast<T*>(y), factor};
    launch_map<Vector<T>::kSize>(function, aligned_to_16(y), count, stream);
  });
}

}  // namespace llm::cuda
