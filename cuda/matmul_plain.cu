// D (m, n) = op(A) op(B) (+ D): the plain product, row-major.
//
// A block of 256 threads makes a tile of 64 x 64 of D, each thread 4 x 4 of it. Pieces of 16 along
// k pass through shared memory as f32, so that each element is read m/64 or n/64 times from L2 and
// the type and layout of A and B matter only where pieces are loaded: transposed or not, neighbours
// in memory go to neighbouring threads. Loads are of single elements, so any size and alignment
// will do. The tiles are numbered in one dimension, since the grid's second is short.
//
// Rounding: f32 sums in the order of k by fused multiply-add; one rounding to the type of D. Moves,
// beside D once, A n/64 times and B m/64 times; it is meant for shapes that the library refuses,
// which are small or rare, and makes no use of tensor cores.
#include <type_traits>

#include "cuda/common.cuh"
#include "cuda/matmul_plain.h"

namespace llm::cuda {
namespace {

constexpr int kTile = 64;
constexpr int kDepth = 16;
constexpr int kThreads = 256;
constexpr int kPart = 4;  // of a thread: rows and columns of D
constexpr int kAcross = kTile / kPart;
constexpr int kRow = kTile + 1;  // of shared memory: transposed stores do not meet in one bank

// op(X) (k, width): the part from (depth, column) on, kDepth x kTile, zero where it ends. along_k:
// X is stored as (width, k), so that neighbours in memory are neighbours in k.
template <typename T>
__device__ __forceinline__ void load_piece(float (*piece)[kRow], const T* x, int64_t k,
                                           int64_t width, int64_t depth, int64_t column,
                                           bool along_k) {
#pragma unroll
  for (int i = threadIdx.x; i < kDepth * kTile; i += kThreads) {
    const int row = along_k ? i % kDepth : i / kTile;
    const int across = along_k ? i / kDepth : i % kTile;
    const int64_t at_k = depth + row, at = column + across;
    const bool inside = at_k < k && at < width;
    piece[row][across] = inside ? to_float(x[along_k ? at * k + at_k : at_k * width + at]) : 0.0f;
  }
}

template <typename Input, typename Output>
__global__ void __launch_bounds__(kThreads)
    matmul_plain_kernel(Output* d, const Input* a, const Input* b, int64_t m, int64_t n, int64_t k,
                        bool transpose_a, bool transpose_b, bool accumulate, int64_t tiles_across) {
  __shared__ float piece_a[kDepth][kRow], piece_b[kDepth][kRow];
  const int64_t first_row = blockIdx.x / tiles_across * kTile;
  const int64_t first_column = blockIdx.x % tiles_across * kTile;
  // A thread's rows and columns lie kAcross apart, so that a warp's stores are neighbours.
  const int row = threadIdx.x / kAcross, column = threadIdx.x % kAcross;
  float sum[kPart][kPart] = {};
  for (int64_t depth = 0; depth < k; depth += kDepth) {
    load_piece(piece_a, a, k, m, depth, first_row, !transpose_a);
    load_piece(piece_b, b, k, n, depth, first_column, transpose_b);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kDepth; ++i) {
#pragma unroll
      for (int y = 0; y < kPart; ++y) {
#pragma unroll
        for (int x = 0; x < kPart; ++x) {
          sum[y][x] =
              fmaf(piece_a[i][row + y * kAcross], piece_b[i][column + x * kAcross], sum[y][x]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int y = 0; y < kPart; ++y) {
#pragma unroll
    for (int x = 0; x < kPart; ++x) {
      const int64_t at_row = first_row + row + y * kAcross;
      const int64_t at_column = first_column + column + x * kAcross;
      if (at_row >= m || at_column >= n) continue;
      Output& element = d[at_row * n + at_column];
      element = from_float<Output>(sum[y][x] + (accumulate ? to_float(element) : 0.0f));
    }
  }
}

}  // namespace

void matmul_plain(void* d, const void* a, const void* b, Element input, Element output, int64_t m,
                  int64_t n, int64_t k, bool transpose_a, bool transpose_b, bool accumulate,
                  cudaStream_t stream) {
  if (m == 0 || n == 0) return;
  const int64_t tiles_across = ceil_div(n, kTile);
  const auto blocks = static_cast<unsigned>(ceil_div(m, kTile) * tiles_across);
  const auto launch = [&](auto* typed_d, auto* typed_a) {
    using Input = std::remove_const_t<std::remove_pointer_t<decltype(typed_a)>>;
    using Output = std::remove_pointer_t<decltype(typed_d)>;
    matmul_plain_kernel<Input, Output>
        <<<blocks, kThreads, 0, stream>>>(typed_d, typed_a, static_cast<const Input*>(b), m, n, k,
                                          transpose_a, transpose_b, accumulate, tiles_across);
  };
  if (input == Element::f32) {
    launch(static_cast<float*>(d), static_cast<const float*>(a));
  } else if (output == Element::f32) {
    launch(static_cast<float*>(d), static_cast<const bf16*>(a));
  } else {
    launch(static_cast<bf16*>(d), static_cast<const bf16*>(a));
  }
}

}  // namespace llm::cuda
