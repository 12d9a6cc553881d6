// What the plain attention kernels share: rows of heads in shared memory and products with them.
//
// A block holds 4 rows per warp and walks over tiles of 32 columns. For the forward pass and dq
// rows are queries and columns are keys; for dk and dv it is the other way round. A lane owns one
// column while scores are made (its row of the tile against 4 rows that all lanes read together)
// and every 32nd element of the head while the 4 rows of the result are summed up.
#pragma once

#include "cuda/attention_mask.cuh"

namespace llm::cuda {

constexpr int kPlainRows = 4;      // of a warp
constexpr int kPlainColumns = 32;  // of a tile: one per lane

// A head has at most 32 * kSlots elements.
__host__ __device__ constexpr int plain_warps(int slots) { return slots <= 4 ? 8 : 4; }

// Rows of D floats, zeros up to `width`, at a distance of an odd number of 16-byte words, so that
// 8 lanes that read 8 rows meet no bank twice.
struct PlainRows {
  float* data;
  int width, stride;

  __host__ __device__ static int width_of(int64_t D) { return static_cast<int>(round_up(D, 4)); }
  __host__ __device__ static int stride_of(int64_t D) { return (width_of(D) / 4 | 1) * 4; }
  __device__ const float4& at(int row, int d) const {
    return *reinterpret_cast<const float4*>(data + row * stride + d);
  }
};

// Takes `rows` rows from the front of `shared`.
__device__ __forceinline__ PlainRows plain_rows(float*& shared, int rows, int64_t D) {
  const PlainRows result{shared, PlainRows::width_of(D), PlainRows::stride_of(D)};
  shared += rows * result.stride;
  return result;
}

// Rows [first, first + rows) of a head, zeros from row `end` on. All threads take part.
template <typename T>
__device__ void fill_rows(const PlainRows& to, const T* head, int64_t row_stride, int first,
                          int end, int rows, int D) {
  const int warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
#pragma unroll 4
  for (int row = threadIdx.x / kWarp; row < rows; row += warps) {
    const T* from = head + (first + row) * row_stride;
    for (int d = lane; d < to.width; d += kWarp) {
      to.data[row * to.stride + d] = first + row < end && d < D ? to_float(from[d]) : 0.0f;
    }
  }
}

__device__ __forceinline__ void add_product(float& sum, const float4& a, const float4& b) {
  sum = fmaf(a.x, b.x, sum);
  sum = fmaf(a.y, b.y, sum);
  sum = fmaf(a.z, b.z, sum);
  sum = fmaf(a.w, b.w, sum);
}

// The products of this lane's column with the warp's 4 rows.
__device__ __forceinline__ void dot_rows(float (&dots)[kPlainRows], const PlainRows& rows,
                                         const PlainRows& columns) {
  const int first = threadIdx.x / kWarp * kPlainRows, lane = threadIdx.x % kWarp;
#pragma unroll
  for (int r = 0; r < kPlainRows; ++r) dots[r] = 0;
#pragma unroll 4
  for (int d = 0; d < rows.width; d += 4) {
    const float4 column = columns.at(lane, d);
#pragma unroll
    for (int r = 0; r < kPlainRows; ++r) add_product(dots[r], rows.at(first + r, d), column);
  }
}

// sums[r][s] += sum over columns j of weights[j][r] * column j's element 32 s + lane.
template <int kSlots>
__device__ __forceinline__ void add_columns(float (&sums)[kPlainRows][kSlots],
                                            const float4* weights, const PlainRows& columns) {
  // Lanes beyond the width sum up its last element, which is never stored: what lies behind a row
  // may be under change by another warp.
  int element[kSlots];
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    element[s] = min(s * kWarp + static_cast<int>(threadIdx.x % kWarp), columns.width - 1);
  }
#pragma unroll 4
  for (int j = 0; j < kPlainColumns; ++j) {
    const float4 weight = weights[j];
#pragma unroll
    for (int s = 0; s < kSlots; ++s) {
      const float value = columns.data[j * columns.stride + element[s]];
      sums[0][s] = fmaf(weight.x, value, sums[0][s]);
      sums[1][s] = fmaf(weight.y, value, sums[1][s]);
      sums[2][s] = fmaf(weight.z, value, sums[2][s]);
      sums[3][s] = fmaf(weight.w, value, sums[3][s]);
    }
  }
}

// One row of a result.
template <typename T, int kSlots>
__device__ __forceinline__ void store_row(T* to, const float (&sums)[kSlots], float factor, int D) {
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const int d = s * kWarp + threadIdx.x % kWarp;
    if (d < D) to[d] = from_float<T>(sums[s] * factor);
  }
}

}  // namespace llm::cuda
