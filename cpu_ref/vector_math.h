// Eight floats at a time, with the vector extensions of GCC and Clang: the compiler maps them to
// what the processor has. Every function lets NaN through.
#pragma once

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

// The functions below are all inlined: how vectors are passed between functions does not matter.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace llm::cpu_ref {

inline constexpr int64_t kLanes = 8;
typedef float Floats __attribute__((vector_size(32)));
typedef int32_t Ints __attribute__((vector_size(32)));

inline Floats splat(float value) { return Floats{} + value; }
inline Floats load(const float* from) {
  Floats result;
  std::memcpy(&result, from, sizeof result);
  return result;
}
inline Floats load(const uint16_t* bf16) {
  typedef uint32_t Words __attribute__((vector_size(32)));
#ifdef __AVX2__  // GCC makes several instructions of the general form
  const Words words = reinterpret_cast<Words>(
      _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bf16))));
#else
  typedef uint16_t Halves __attribute__((vector_size(16)));
  Halves halves;
  std::memcpy(&halves, bf16, sizeof halves);
  const Words words = __builtin_convertvector(halves, Words);
#endif
  const Words bits = words << 16;
  Floats result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}
inline void store(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }
// The first `count` lanes; the others are `rest`.
inline Floats load_part(const float* from, int64_t count, float rest = 0) {
  float lanes[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) lanes[i] = i < count ? from[i] : rest;
  return load(lanes);
}
inline void store_part(float* to, Floats value, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = value[i];
}

// To the nearest bf16, ties to even, as f32_to_bf16 does.
inline Floats round_to_bf16(Floats x) {
  typedef uint32_t Words __attribute__((vector_size(32)));
  Words bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
  Floats rounded;
  std::memcpy(&rounded, &bits, sizeof rounded);
  return x == x ? rounded : x;
}

inline Floats max(Floats a, Floats b) { return a > b ? a : b; }
inline float sum_lanes(Floats x) {
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}
// The sums of four at once.
typedef float FourFloats __attribute__((vector_size(16)));
inline FourFloats sum_lanes(Floats a, Floats b, Floats c, Floats d) {
  const Floats ab = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13) +
                    __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
  const Floats cd = __builtin_shufflevector(c, d, 0, 8, 1, 9, 4, 12, 5, 13) +
                    __builtin_shufflevector(c, d, 2, 10, 3, 11, 6, 14, 7, 15);
  const Floats halves = __builtin_shufflevector(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) +
                        __builtin_shufflevector(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
  return __builtin_shufflevector(halves, halves, 0, 1, 2, 3) +
         __builtin_shufflevector(halves, halves, 4, 5, 6, 7);
}
inline double sum_lanes_f64(Floats x) {
  double sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += static_cast<double>(x[i]);
  return sum;
}
inline float max_lanes(Floats x) {
  float top = x[0];
  for (int i = 1; i < kLanes; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

// e^x. x = n log 2 + r with |r| <= log(2) / 2; e^r by its Taylor polynomial of degree 7, whose
// remainder is below 6e-9. Relative error below 1.2e-7 (about 1 unit in the last place, see
// test_vector_math). Below -87 the result is 0, above 88 it stays at e^88.
inline Floats exp(Floats x) {
  const Floats low = splat(-87.0f), high = splat(88.0f);
  const Ints tiny = x < low;
  x = tiny ? low : x;
  x = x > high ? high : x;
  // Adding 1.5 * 2^23 rounds to an integer, which then lies in the low bits of the float.
  const Floats magic = splat(12582912.0f);
  const Floats shifted = x * 1.44269504088896341f + magic;
  const Floats n = shifted - magic;
  const Floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // log 2 in two parts
  Floats p = splat(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Ints exponent, magic_bits;
  std::memcpy(&exponent, &shifted, sizeof exponent);
  std::memcpy(&magic_bits, &magic, sizeof magic_bits);
  const Ints scale_bits = (exponent - magic_bits + 127) << 23;
  Floats scale;
  std::memcpy(&scale, &scale_bits, sizeof scale);
  const Floats result = p * scale;
  return tiny ? Floats{} : result;
}

// Calls body(i, count) for i in steps of kLanes, with count = kLanes but for the last call.
template <typename Body>
inline void for_lanes(int64_t begin, int64_t end, const Body& body) {
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) body(i, kLanes);
  if (i < end) body(i, end - i);
}

}  // namespace llm::cpu_ref
