// Sums over the rows of a matrix, one per column, in an order that depends on the shape and the
// device only.
//
// Two steps. (1) The matrix is cut into tiles of columns and chunks of rows, a block each, as many
// as the device holds at once or a few times that. A lane keeps the sums of one 16-byte packet of
// columns in registers and walks down the rows, kUnroll rows at a time with all loads in flight;
// the 8 warps of a block take turns at the rows and add up in shared memory. Each block writes a
// piece of a line of partial sums. (2) A second kernel adds those lines, and the old value, for
// every column. There are at most a few hundred lines whatever the number of rows, so step 2 moves
// next to nothing.
#pragma once

#include <algorithm>

#include "cuda/kernel_launch.cuh"
#include "cuda/packet.cuh"

namespace llm::cuda {

// --- Step 2, also for kernels with partial sums of their own

constexpr int kPartialColumns = 8;  // per block: one 32-byte sector of each line
constexpr int kPartialThreads = 512;
constexpr int kMaxSumKinds = 3;

// Where sums of several kinds go; null: nowhere.
struct SumTargets {
  float* at[kMaxSumKinds];
};

// target[c] += sum of partial[n][kind][c] over n < count.   grid: (columns / 8, kinds)
// Narrow blocks, many threads per column: the lines come from the L2 cache, and what counts is how
// many loads are under way.
static __global__ void __launch_bounds__(kPartialThreads)
    add_partial_sums_kernel(SumTargets targets, const float* partial, int count, int64_t columns) {
  constexpr int kLines = kPartialThreads / kPartialColumns;
  __shared__ float sums[kLines][kPartialColumns];
  const int kind = blockIdx.y, kinds = gridDim.y;
  const int line = threadIdx.x / kPartialColumns, lane = threadIdx.x % kPartialColumns;
  const int64_t column = int64_t{blockIdx.x} * kPartialColumns + lane;
  float* target = nullptr;
#pragma unroll
  for (int i = 0; i < kMaxSumKinds; ++i) target = i == kind ? targets.at[i] : target;
  wait_for_previous_kernel();
  if (!target) return;
  float sum = 0;
  if (column < columns) {
    const float* from = partial + kind * columns + column;
#pragma unroll 8
    for (int n = line; n < count; n += kLines) sum += from[n * kinds * columns];
  }
  sums[line][lane] = sum;
  __syncthreads();
  if (line > 0 || column >= columns) return;
  sum = target[column];
#pragma unroll 16
  for (int i = 0; i < kLines; ++i) sum += sums[i][lane];
  target[column] = sum;
}

// Takes a few microseconds, much of them the start of the kernel: it begins early.
//   partial: (count, kinds, columns), written by the kernel right before in the stream
inline void add_partial_sums(const SumTargets& targets, int kinds, const float* partial, int count,
                             int64_t columns, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div(columns, kPartialColumns)),
                  static_cast<unsigned>(kinds));
  launch_kernel(add_partial_sums_kernel,
                {.grid = grid, .block = dim3(kPartialThreads), .early = true}, stream, targets,
                partial, count, columns);
}

// --- Step 1

constexpr int kColumnWarps = 8;
constexpr int kMaxColumnBlocks = 16;  // on each multiprocessor, waves and all

// How the rows are cut.
struct RowChunks {
  int64_t rows;  // per chunk; the last may have fewer
  int64_t count;
};

// blocks: of the grid for each multiprocessor; width: elements of a packet. Chunks are whole rounds
// of the loop of step 1.
inline RowChunks cut_rows(int64_t rows, int64_t columns, int width, int unroll, int blocks) {
  const int64_t tiles = ceil_div(columns, int64_t{kWarp} * width);
  const int64_t wanted = std::max<int64_t>(1, int64_t{multiprocessors()} * blocks / tiles);
  const int64_t size = round_up(ceil_div(rows, wanted), int64_t{kColumnWarps} * unroll);
  return {size, ceil_div(rows, size)};
}

// Bytes of scratch of column_sums for f32 or bf16: an upper bound over widths and functions.
inline int64_t column_sums_scratch(int64_t rows, int64_t columns) {
  if (rows <= 0 || columns <= 0) return 0;
  // The widest packets lead to the most chunks.
  const int width = Vector<bf16>::kSize;
  return cut_rows(rows, columns, width, 1, kMaxColumnBlocks).count * columns *
         int64_t{sizeof(float)};
}

// `function` says what is summed, with
//   static constexpr int kUnroll       rows in flight
//   static constexpr int kResident     blocks that a multiprocessor holds: bounds the registers
//   static constexpr int kWaves        blocks of the grid for each of those. 1 where little is
//                                      computed: fewest partial sums. Several balance a longer body
//   template <int kWidth> struct Input                         what is read of kWidth columns
//   template <int kWidth> Input<kWidth> load(int64_t row, int64_t i)   i: row * columns + column
//   template <int kWidth> void add(float* sums, int64_t i, Input<kWidth>)   adds to kWidth sums
template <int kWidth, typename Function>
__global__ void __launch_bounds__(kColumnWarps* kWarp, Function::kResident)
    column_sums_kernel(float* partial, Function function, int64_t rows, int64_t columns,
                       int64_t chunk_rows) {
  constexpr int kUnroll = Function::kUnroll;
  __shared__ float sums[kColumnWarps][kWarp * kWidth];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t tile = int64_t{blockIdx.x} * kWarp * kWidth, column = tile + lane * kWidth;
  const int64_t end = min(rows, (blockIdx.y + 1) * chunk_rows);
  let_next_kernel_begin();
  float sum[kWidth] = {};
  if (column < columns) {
    int64_t row = blockIdx.y * chunk_rows + warp;
    for (; row + (kUnroll - 1) * kColumnWarps < end; row += kUnroll * kColumnWarps) {
      typename Function::template Input<kWidth> inputs[kUnroll];
#pragma unroll
      for (int i = 0; i < kUnroll; ++i) {
        const int64_t at = row + i * kColumnWarps;
        inputs[i] = function.template load<kWidth>(at, at * columns + column);
      }
#pragma unroll
      for (int i = 0; i < kUnroll; ++i) {
        function.template add<kWidth>(sum, (row + i * kColumnWarps) * columns + column, inputs[i]);
      }
    }
    for (; row < end; row += kColumnWarps) {
      const int64_t at = row * columns + column;
      function.template add<kWidth>(sum, at, function.template load<kWidth>(row, at));
    }
  }
#pragma unroll
  for (int i = 0; i < kWidth; ++i) sums[warp][lane * kWidth + i] = sum[i];
  __syncthreads();
  for (int i = threadIdx.x; i < kWarp * kWidth && tile + i < columns; i += kColumnWarps * kWarp) {
    float total = 0;
#pragma unroll
    for (int w = 0; w < kColumnWarps; ++w) total += sums[w][i];
    partial[blockIdx.y * columns + tile + i] = total;
  }
}

template <int kWidth, typename Function>
void launch_column_sums(float* target, const Function& function, int64_t rows, int64_t columns,
                        void* scratch, cudaStream_t stream) {
  static_assert(Function::kResident * Function::kWaves <= kMaxColumnBlocks);
  const RowChunks chunks =
      cut_rows(rows, columns, kWidth, Function::kUnroll, Function::kResident * Function::kWaves);
  const dim3 grid(static_cast<unsigned>(ceil_div(columns, kWarp * kWidth)),
                  static_cast<unsigned>(chunks.count));
  auto* partial = static_cast<float*>(scratch);
  column_sums_kernel<kWidth>
      <<<grid, kColumnWarps * kWarp, 0, stream>>>(partial, function, rows, columns, chunks.rows);
  add_partial_sums({{target}}, 1, partial, static_cast<int>(chunks.count), columns, stream);
}

// target[c] += sum over rows of the function of column c, whose tensors hold elements T.
template <typename T, typename Function>
void column_sums(float* target, const Function& function, int64_t rows, int64_t columns,
                 void* scratch, cudaStream_t stream) {
  if (rows <= 0 || columns <= 0) return;
  if (columns % Vector<T>::kSize == 0) {
    launch_column_sums<Vector<T>::kSize>(target, function, rows, columns, scratch, stream);
  } else {
    launch_column_sums<1>(target, function, rows, columns, scratch, stream);
  }
}

}  // namespace llm::cuda
