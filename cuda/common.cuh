// What all kernels share: 16-byte vectors, conversions, reductions in a warp and a block, Philox.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/launch.h"

namespace llm::cuda {

using bf16 = __nv_bfloat16;

constexpr int kWarp = 32;

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
__host__ __device__ constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// --- Elements

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }
// To nearest even.
template <typename T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ __half from_float<__half>(float x) {
  return __float2half_rn(x);
}

// 16 bytes of T: 4 f32 or 8 bf16.
template <typename T>
struct alignas(16) Vector {
  static constexpr int kSize = 16 / sizeof(T);
  T at[kSize];
};

template <typename T>
__device__ __forceinline__ Vector<T> load(const T* from) {
  return *reinterpret_cast<const Vector<T>*>(from);
}
// For data that is read once: leaves the caches to others.
template <typename T>
__device__ __forceinline__ Vector<T> load_streaming(const T* from) {
  const int4 bits = __ldcs(reinterpret_cast<const int4*>(from));
  return *reinterpret_cast<const Vector<T>*>(&bits);
}
template <typename T>
__device__ __forceinline__ void store(T* to, const Vector<T>& value) {
  *reinterpret_cast<Vector<T>*>(to) = value;
}
template <typename T>
__device__ __forceinline__ void store_streaming(T* to, const Vector<T>& value) {
  __stcs(reinterpret_cast<int4*>(to), *reinterpret_cast<const int4*>(&value));
}

inline bool aligned_to_16(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

constexpr float kLog2E = 1.4426950408889634f;

// 2^x in one instruction, relative error about 2^-22; 0 where it would be subnormal.
__device__ __forceinline__ float exp2_fast(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// --- Reductions, in an order that depends on nothing but the shape

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(~0u, x, offset);
  return x;
}
__device__ __forceinline__ double warp_sum(double x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(~0u, x, offset);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    x = fmaxf(x, __shfl_xor_sync(~0u, x, offset));
  }
  return x;
}

// The sum over all threads of a block of whole warps, for every thread. `shared` holds one T per
// warp; it may be used again after the call only behind a __syncthreads().
template <typename T>
__device__ __forceinline__ T block_sum(T x, T* shared) {
  x = warp_sum(x);
  const int warps = blockDim.x / kWarp;
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = x;
  __syncthreads();
  T sum = 0;
  for (int warp = 0; warp < warps; ++warp) sum += shared[warp];
  return sum;
}

// --- Random numbers: base/rng.h and backend/dropout_mask.h on the device

// One block of Philox4x32-10: words 4 number ... 4 number + 3 of the stream.
__device__ __forceinline__ uint4 philox_block(uint64_t seed, uint64_t stream, uint64_t number) {
  uint4 counter = make_uint4(static_cast<uint32_t>(number), static_cast<uint32_t>(number >> 32),
                             static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32));
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = __umulhi(0xD2511F53u, counter.x), low0 = 0xD2511F53u * counter.x;
    const uint32_t high1 = __umulhi(0xCD9E8D57u, counter.z), low1 = 0xCD9E8D57u * counter.z;
    counter = make_uint4(high1 ^ counter.y ^ key0, low1, high0 ^ counter.w ^ key1, low0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}
__host__ __device__ __forceinline__ uint64_t dropout_stream(uint32_t site, int64_t sample) {
  return (uint64_t{1} << 63) | ((uint64_t{site} << 44) ^ static_cast<uint64_t>(sample));
}
// An element is dropped iff its 32-bit random number is below this.
inline uint32_t dropout_threshold(float rate) {
  return static_cast<uint32_t>(static_cast<double>(rate) * 4294967296.0);
}

}  // namespace llm::cuda
