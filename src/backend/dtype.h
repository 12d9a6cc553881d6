// Element types of tensors.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace llm {

enum class DType : uint8_t { f32, bf16, f16, i32, i64, u8 };

constexpr int64_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::i64:
      return 8;
    case DType::u8:
      return 1;
  }
  return 0;
}

std::string_view dtype_name(DType dtype);  // "f32", "bf16", ...

// bfloat16 is the upper half of a float32. Rounding is to nearest even; NaN stays NaN.
inline float bf16_to_f32(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}
inline uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
float f16_to_f32(uint16_t value);
uint16_t f32_to_f16(float value);  // to nearest even, overflow to infinity

}  // namespace llm
