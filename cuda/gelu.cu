// GELU in its tanh form and its gradient; see gelu.h.
//
// With u = sqrt(2/pi) (x + 0.044715 x^3) and s = 1 / (1 + exp(-2u)) = (1 + tanh u) / 2:
//   gelu(x)  = x s
//   gelu'(x) = s + 2 x s (1 - s) u',   u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2)
// The logistic form has no cancellation: 1 + tanh u loses all digits for negative u, where s stays
// right relative to its own size. It costs two operations of the special function unit an element
// (2^t and 1/t, each good to about an ulp), which hide behind the memory traffic in f32 and bf16.
//
// Work: map.cuh; with the bias gradient column_sums.cuh, which has the same loads and stores and
// keeps the sums in registers. Rounding: y and dx once; dbias sums the rounded dx in f32.
// Bytes: each input once, each output once.
#include "cuda/column_sums.cuh"
#include "cuda/gelu.cuh"
#include "cuda/gelu.h"
#include "cuda/map.cuh"

namespace llm::cuda {
namespace {

// The bounds keep inf * 0 away where |x| is huge: there s (1 - s) = e s^2 is 0, and the slope is 0
// or 1. They let NaN through, by the factor x of the exponent.
__device__ __forceinline__ float gelu_slope(float x) {
  constexpr float kMaxSquare = 1e6f, kMaxExponent = 126;
  const float square = fminf(x * x, kMaxSquare);
  const float exponent = x * fmaf(kCubicExponent, square, kLinearExponent);
  const float e = exp2_fast(exponent > kMaxExponent ? kMaxExponent : exponent);
  const float s = reciprocal_approximate(1 + e);
  const float slope_of_2u = fmaf(6 * kSqrt2OverPi * kCubic, square, 2 * kSqrt2OverPi);
  return fmaf(s * s * e * slope_of_2u, x, s);
}

template <typename T>
struct GeluForward {
  T* y;
  const T* x;

  template <int kWidth>
  __device__ void apply(int64_t i) const {
    const Packet<T, kWidth> in = load_packet<kWidth>(x + i);
    float out[kWidth];
#pragma unroll
    for (int k = 0; k < kWidth; ++k) out[k] = gelu(in[k]);
    store_packet(y + i, pack<T>(out));
  }
};

template <typename T>
struct GeluBackward {
  T* dx;
  const T* dy;
  const T* x;

  template <int kWidth>
  struct Input {
    Packet<T, kWidth> dy, x;
  };
  template <int kWidth>
  __device__ Input<kWidth> load(int64_t i) const {
    return {load_packet<kWidth>(dy + i), load_packet<kWidth>(x + i)};
  }
  template <int kWidth>
  __device__ Packet<T, kWidth> store(int64_t i, const Input<kWidth>& in) const {
    float out[kWidth];
#pragma unroll
    for (int k = 0; k < kWidth; ++k) out[k] = in.dy[k] * gelu_slope(in.x[k]);
    const Packet<T, kWidth> packet = pack<T>(out);
    store_packet(dx + i, packet);
    return packet;
  }
  template <int kWidth>
  __device__ void apply(int64_t i) const {
    store<kWidth>(i, load<kWidth>(i));
  }
};

// GeluBackward as what column_sums wants.
template <typename T>
struct GeluBackwardSum {
  static constexpr int kUnroll = 4, kResident = 3, kWaves = 4;
  GeluBackward<T> backward;

  template <int kWidth>
  using Input = typename GeluBackward<T>::template Input<kWidth>;
  template <int kWidth>
  __device__ Input<kWidth> load(int64_t, int64_t i) const {
    return backward.template load<kWidth>(i);
  }
  template <int kWidth>
  __device__ void add(float* sums, int64_t i, const Input<kWidth>& in) const {
    const Packet<T, kWidth> dx = backward.template store<kWidth>(i, in);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) sums[k] += dx[k];
  }
};

template <typename T>
GeluBackward<T> gelu_backward_of(void* dx, const void* dy, const void* x) {
  return {static_cast<T*>(dx), static_cast<const T*>(dy), static_cast<const T*>(x)};
}

}  // namespace

void gelu_forward(void* y, const void* x, Element element, int64_t count, cudaStream_t stream) {
  with_element(element, [&](auto type) {
    using T = decltype(type);
    const GeluForward<T> function{static_cast<T*>(y), static_cast<const T*>(x)};
    launch_map<Vector<T>::kSize>(function, aligned_to_16(y) && aligned_to_16(x), count, stream);
  });
}

void gelu_backward(void* dx, const void* dy, const void* x, Element element, int64_t count,
                   cudaStream_t stream) {
  const bool aligned = aligned_to_16(dx) && aligned_to_16(dy) && aligned_to_16(x);
  with_element(element, [&](auto type) {
    using T = decltype(type);
    launch_map<Vector<T>::kSize>(gelu_backward_of<T>(dx, dy, x), aligned, count, stream);
  });
}

int64_t gelu_backward_bias_scratch(int64_t rows, int64_t columns) {
  return column_sums_scratch(rows, columns);
}

void gelu_backward_bias(void* dx, float* dbias, const void* dy, const void* x, Element element,
                        int64_t rows, int64_t columns, void* scratch, cudaStream_t stream) {
  with_element(element, [&](auto type) {
    using T = decltype(type);
    const GeluBackwardSum<T> function{gelu_backward_of<T>(dx, dy, x)};
    column_sums<T>(dbias, function, rows, columns, scratch, stream);
  });
}

}  // namespace llm::cuda
