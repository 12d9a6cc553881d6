#include "cpu_ref/elementwise.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "cpu_ref/threads.h"

namespace llm::cpu_ref {
namespace {

template <typename T>
void fill_as(void* y, T value, int64_t count, Threads threads) {
  T* to = static_cast<T*>(y);
  parallel_ranges(count, threads, kGrainElements,
                  [&](int64_t begin, int64_t end) { std::fill(to + begin, to + end, value); });
}

float load_value(const void* x, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::f32:
      return static_cast<const float*>(x)[i];
    case DType::bf16:
      return bf16_to_f32(static_cast<const uint16_t*>(x)[i]);
    case DType::f16:
      return f16_to_f32(static_cast<const uint16_t*>(x)[i]);
    default:
      LLM_ASSERT(false, "no conversion from {}", dtype_name(dtype));
      return 0;
  }
}

void store_value(void* y, DType dtype, int64_t i, float value) {
  switch (dtype) {
    case DType::f32:
      static_cast<float*>(y)[i] = value;
      return;
    case DType::bf16:
      static_cast<uint16_t*>(y)[i] = f32_to_bf16(value);
      return;
    case DType::f16:
      static_cast<uint16_t*>(y)[i] = f32_to_f16(value);
      return;
    default:
      LLM_ASSERT(false, "no conversion to {}", dtype_name(dtype));
  }
}

}  // namespace

void fill(void* y, DType dtype, double value, int64_t count, Threads threads) {
  switch (dtype) {
    case DType::f32:
      return fill_as(y, static_cast<float>(value), count, threads);
    case DType::bf16:
      return fill_as(y, f32_to_bf16(static_cast<float>(value)), count, threads);
    case DType::f16:
      return fill_as(y, f32_to_f16(static_cast<float>(value)), count, threads);
    case DType::i32:
      return fill_as(y, static_cast<int32_t>(value), count, threads);
    case DType::i64:
      return fill_as(y, static_cast<int64_t>(value), count, threads);
    case DType::u8:
      return fill_as(y, static_cast<uint8_t>(value), count, threads);
  }
}

void convert(void* y, DType y_dtype, const void* x, DType x_dtype, int64_t count, Threads threads) {
  if (y_dtype == x_dtype) {
    const int64_t bytes = dtype_bytes(y_dtype);
    parallel_ranges(count, threads, kGrainElements, [&](int64_t begin, int64_t end) {
      std::memcpy(static_cast<std::byte*>(y) + begin * bytes,
                  static_cast<const std::byte*>(x) + begin * bytes,
                  static_cast<size_t>((end - begin) * bytes));
    });
    return;
  }
  parallel_ranges(count, threads, kGrainElements, [&](int64_t begin, int64_t end) {
    // The two that a model in bf16 needs at each step, as loops that the compiler can vectorize.
    if (x_dtype == DType::bf16 && y_dtype == DType::f32) {
      const auto* from = static_cast<const uint16_t*>(x);
      auto* to = static_cast<float*>(y);
      for (int64_t i = begin; i < end; ++i) to[i] = bf16_to_f32(from[i]);
    } else if (x_dtype == DType::f32 && y_dtype == DType::bf16) {
      const auto* from = static_cast<const float*>(x);
      auto* to = static_cast<uint16_t*>(y);
      for (int64_t i = begin; i < end; ++i) to[i] = f32_to_bf16(from[i]);
    } else {
      for (int64_t i = begin; i < end; ++i) store_value(y, y_dtype, i, load_value(x, x_dtype, i));
    }
  });
}

void add(float* y, const float* a, const float* b, int64_t count, Threads threads) {
  parallel_ranges(count, threads, kGrainElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = a[i] + b[i];
  });
}

void scale(float* y, float factor, int64_t count, Threads threads) {
  parallel_ranges(count, threads, kGrainElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] *= factor;
  });
}

}  // namespace llm::cpu_ref
