// Packets: neighbouring elements that one thread loads and stores with one instruction, of a width
// that the compiler knows; and the choice of the element type.
#pragma once

#include <type_traits>

#include "cuda/common.cuh"

namespace llm::cuda {

// kWidth neighbours, at most 16 bytes; in memory at a multiple of their bytes. They stay as packed
// in registers as they are in memory: as single half-precision values or as floats they would take
// twice the registers, and fewer packets would be in flight.
template <typename T, int kWidth>
struct alignas(sizeof(T) * kWidth) Packet {
  static constexpr int kBytes = sizeof(T) * kWidth;
  static_assert(kBytes <= 16);
  using Word = std::conditional_t<kBytes % 4 == 0, uint32_t, uint16_t>;
  static constexpr int kWords = kBytes / sizeof(Word);
  Word words[kWords];

  __device__ __forceinline__ float operator[](int i) const {
    if constexpr (sizeof(T) == 4) {
      return __uint_as_float(words[i]);
    } else {
      const uint32_t word = words[i * 2 / sizeof(Word)];
      if constexpr (std::is_same_v<T, bf16>) {  // bf16 is the upper half of f32
        return __uint_as_float(i % 2 ? word & 0xffff0000u : word << 16);
      } else {
        return __half2float(__ushort_as_half(static_cast<uint16_t>(i % 2 ? word >> 16 : word)));
      }
    }
  }

  // Makes the compilers (assembler included) forget what they have unpacked, where code goes over
  // the same packets more than once: they cannot know that a launch has a grid of one dimension. An
  // addition per register is cheaper than fewer warps.
  __device__ __forceinline__ void forget_unpacked() {
    if constexpr (sizeof(T) < 4) {
      const uint32_t zero = gridDim.y - 1;
#pragma unroll
      for (Word& word : words) word += zero;
    }
  }
};

// A whole 16 bytes.
template <typename T>
using FullPacket = Packet<T, Vector<T>::kSize>;

template <int kWidth, typename T>
__device__ __forceinline__ Packet<T, kWidth> load_packet(const T* from) {
  return *reinterpret_cast<const Packet<T, kWidth>*>(from);
}
template <int kWidth, typename T>
__device__ __forceinline__ void store_packet(T* to, const Packet<T, kWidth>& packet) {
  *reinterpret_cast<Packet<T, kWidth>*>(to) = packet;
}

// How long the L2 cache is to keep what a load or store brings: longer than other data, or not as
// long.
__device__ __forceinline__ uint64_t keep_policy() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}
__device__ __forceinline__ uint64_t leave_policy() {
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}
// Packets of 16 bytes with such a policy, smaller ones without. What is loaded so must not be
// written by the same kernel.
template <int kWidth, typename T>
__device__ __forceinline__ Packet<T, kWidth> load_packet(const T* from, uint64_t policy) {
  Packet<T, kWidth> packet;
  if constexpr (Packet<T, kWidth>::kBytes == 16) {
    asm("ld.global.nc.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
        : "=r"(packet.words[0]), "=r"(packet.words[1]), "=r"(packet.words[2]), "=r"(packet.words[3])
        : "l"(from), "l"(policy));
  } else {
    packet = load_packet<kWidth>(from);
  }
  return packet;
}
template <int kWidth, typename T>
__device__ __forceinline__ void store_packet(T* to, const Packet<T, kWidth>& packet,
                                             uint64_t policy) {
  if constexpr (Packet<T, kWidth>::kBytes == 16) {
    asm volatile("st.global.L2::cache_hint.v4.u32 [%0], {%1, %2, %3, %4}, %5;" ::"l"(to),
                 "r"(packet.words[0]), "r"(packet.words[1]), "r"(packet.words[2]),
                 "r"(packet.words[3]), "l"(policy)
                 : "memory");
  } else {
    store_packet(to, packet);
  }
}

// Each value rounded once, to nearest even.
template <typename T, int kWidth>
__device__ __forceinline__ Packet<T, kWidth> pack(const float (&values)[kWidth]) {
  Packet<T, kWidth> packet;
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) packet.words[i] = __float_as_uint(values[i]);
  } else if constexpr (kWidth == 1) {
    const T rounded = from_float<T>(values[0]);
    packet.words[0] = *reinterpret_cast<const uint16_t*>(&rounded);
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; i += 2) {
      if constexpr (std::is_same_v<T, bf16>) {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(values[i], values[i + 1]);
        packet.words[i / 2] = *reinterpret_cast<const uint32_t*>(&pair);
      } else {
        const __half2 pair = __floats2half2_rn(values[i], values[i + 1]);
        packet.words[i / 2] = *reinterpret_cast<const uint32_t*>(&pair);
      }
    }
  }
  return packet;
}

// body(T{}) with T the type of the elements: f32 or bf16.
template <typename Body>
void with_element(Element element, Body&& body) {
  if (element == Element::f32) {
    body(float{});
  } else {
    body(bf16{});
  }
}

// Of the current device. A grid made for it fills the device once.
inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&value, attribute, device);
  return value;
}
inline int multiprocessors() {
  const int count = device_attribute(cudaDevAttrMultiProcessorCount);
  return count > 0 ? count : 1;  // without a device: whatever is asked, nothing will be launched
}

}  // namespace llm::cuda
