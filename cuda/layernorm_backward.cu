// Layer normalization, backward; see layernorm.h.
//
// With n = (x - mean) rstd and g = dy weight, per row: dx = rstd (g - mean(g) - n mean(g n)), and
// over rows dweight += sum of dy n, dbias += sum of dy, dx_sum += sum of dx.
//
// Work: a grid that fills the device once. A thread owns one 16-byte packet of channels and keeps
// their three sums over rows in registers for good; a block is as many threads as a row has
// packets, and walks down the rows, kRows at a time: both sums of every row (shuffles, then shared
// memory), one barrier, then dx. Meanwhile the next rows are copied into shared memory
// (cp.async). A thread reads there only what it has copied itself, so that takes no further
// barrier, and the rows take no registers: enough bytes are in flight with few warps. In the end a
// block writes its sums as one line of partial sums, and add_partial_sums adds up the lines in
// order. Rows that are too long for a block or not whole packets: layernorm_backward_wide.cuh.
//
// Rounding: dx once, with accumulate after the f32 addition of the old value; dx_sum sums the
// rounded dx. All sums are f32.
// Bytes: dy, x and weight once, mean and rstd, dx once (twice with accumulate).
#include "cuda/kernel_launch.cuh"
#include "cuda/layernorm.h"
#include "cuda/layernorm_backward_wide.cuh"

namespace llm::cuda {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kStages = 2;

// Rows at a time, so that a block of up to `threads` takes 96 KB of shared memory at most, which
// every GPU has.
__host__ __device__ constexpr int batch_rows(int threads) {
  return threads <= 256 ? 4 : threads <= 512 ? 2 : 1;
}
// Of the grid, on each multiprocessor; launch bounds see to it that their registers suffice. Few of
// the small blocks, as each leaves a line of partial sums.
constexpr int resident_threads(int threads) {
  return threads <= 128 ? 384 : threads <= 256 ? 768 : 1024;
}

// --- Copies to shared memory that run on their own

// 16 bytes, or zeros.
__device__ __forceinline__ void copy_async(uint4* to, const void* from, bool copy) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(copy ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void close_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until all but the last group have arrived.
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group 1;" ::: "memory");
}

// --- A batch of rows

struct Statistics {
  float mean, rstd;
};

// One thread's view of the rows in shared memory: (kStages, kRows, kTensors, threads) packets.
// Rows and channels beyond the end are zeros.
template <typename T, bool kAccumulate, int kRows>
struct Batches {
  static constexpr int kTensors = kAccumulate ? 3 : 2;
  uint4* packets;

  __device__ __forceinline__ uint4* at(int stage, int row, int tensor) const {
    return packets + ((stage * kRows + row) * kTensors + tensor) * static_cast<int>(blockDim.x);
  }
  __device__ __forceinline__ FullPacket<T> packed(int stage, int row, int tensor) const {
    return load_packet<Vector<T>::kSize>(reinterpret_cast<const T*>(at(stage, row, tensor)));
  }
  __device__ __forceinline__ FullPacket<T> dy(int stage, int row) const {
    return packed(stage, row, 0);
  }
  __device__ __forceinline__ FullPacket<T> x(int stage, int row) const {
    return packed(stage, row, 1);
  }
  __device__ __forceinline__ FullPacket<T> old(int stage, int row) const {
    return packed(stage, row, 2);
  }
  __device__ __forceinline__ void fetch(Statistics (&statistics)[kRows], int stage, int64_t first,
                                        int channel, const LayernormBackward<T>& op) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const bool valid = first + i < op.rows, copy = valid && channel < op.channels;
      const int64_t from = copy ? (first + i) * op.channels + channel : 0;
      copy_async(at(stage, i, 0), op.dy + from, copy);
      copy_async(at(stage, i, 1), op.x + from, copy);
      if constexpr (kAccumulate) copy_async(at(stage, i, 2), op.dx + from, copy);
      statistics[i] = {valid ? op.mean[first + i] : 0, valid ? op.rstd[first + i] : 0};
    }
    close_copies();
  }
};

template <typename T>
struct ColumnSums {
  float weight[Vector<T>::kSize] = {}, bias[Vector<T>::kSize] = {}, dx[Vector<T>::kSize] = {};
};

// Adds the row to the sums over rows, and returns this thread's part of the sums over channels.
template <typename T>
__device__ __forceinline__ RowSums add_row(ColumnSums<T>& sums, const FullPacket<T>& dy,
                                           const FullPacket<T>& x, const Statistics& statistics,
                                           const FullPacket<T>& weight) {
  const float shift = -statistics.mean * statistics.rstd;
  RowSums part{0, 0};
#pragma unroll
  for (int k = 0; k < Vector<T>::kSize; ++k) {
    const float product = dy[k] * fmaf(x[k], statistics.rstd, shift);
    sums.weight[k] += product;
    sums.bias[k] += dy[k];
    part.g = fmaf(dy[k], weight[k], part.g);
    part.g_normed = fmaf(product, weight[k], part.g_normed);
  }
  return part;
}

// old: null or what the gradient is added to
template <typename T>
__device__ __forceinline__ FullPacket<T> row_dx(const FullPacket<T>& dy, const FullPacket<T>& x,
                                                const FullPacket<T>* old,
                                                const Statistics& statistics,
                                                const FullPacket<T>& weight,
                                                const RowSums& average) {
  // g - mean(g) - n mean(g n) = g + slope x + shift
  const float slope = -statistics.rstd * average.g_normed;
  const float shift = -fmaf(slope, statistics.mean, average.g);
  float out[Vector<T>::kSize];
#pragma unroll
  for (int k = 0; k < Vector<T>::kSize; ++k) {
    const float sum = fmaf(dy[k], weight[k], fmaf(slope, x[k], shift));
    out[k] = old ? fmaf(statistics.rstd, sum, (*old)[k]) : statistics.rstd * sum;
  }
  return pack<T>(out);
}

// --- Sums over the channels of all rows of a batch at once

// Value i, summed over the warp, ends up in lanes [i * 32 / kCount, (i + 1) * 32 / kCount). In each
// step two lanes share the values: a half as many are left for each.
template <int kCount>
__device__ __forceinline__ float warp_sums(float (&values)[kCount]) {
  const int lane = threadIdx.x % kWarp;
  int offset = kWarp / 2;
#pragma unroll
  for (int half = kCount / 2; half > 0; half /= 2, offset /= 2) {
    const bool upper = lane & offset;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float give = upper ? values[i] : values[i + half];
      values[i] = (upper ? values[i + half] : values[i]) + __shfl_xor_sync(~0u, give, offset);
    }
  }
#pragma unroll
  for (; offset > 0; offset /= 2) values[0] += __shfl_xor_sync(~0u, values[0], offset);
  return values[0];
}

// From a line of kCount values per warp: value i, summed over the warps, in lane i and others.
template <int kCount>
__device__ __forceinline__ float sums_of_lines(const float (*lines)[kCount], int warps) {
  const int lane = threadIdx.x % kWarp;
  float sum = 0;
  for (int warp = lane / kCount; warp < warps; warp += kWarp / kCount) {
    sum += lines[warp][lane % kCount];
  }
#pragma unroll
  for (int offset = kCount; offset < kWarp; offset *= 2) {
    sum += __shfl_xor_sync(~0u, sum, offset);
  }
  return sum;
}

// partial: (blocks, kinds, channels)
template <typename T>
__device__ __forceinline__ void store_partial(float* partial, const ColumnSums<T>& sums, int kinds,
                                              int64_t channels, int channel) {
  partial += int64_t{blockIdx.x} * kinds * channels + channel;
#pragma unroll
  for (int k = 0; k < Vector<T>::kSize; k += 4) {
    const float *weight = sums.weight + k, *bias = sums.bias + k, *dx = sums.dx + k;
    store(partial + k, {weight[0], weight[1], weight[2], weight[3]});
    store(partial + channels + k, {bias[0], bias[1], bias[2], bias[3]});
    if (kinds > 2) store(partial + 2 * channels + k, {dx[0], dx[1], dx[2], dx[3]});
  }
}

// kinds: 2, or 3 with the sums of dx
template <typename T, bool kAccumulate, int kThreads>
__global__ void __launch_bounds__(kThreads, resident_threads(kThreads) / kThreads)
    layernorm_backward_kernel(float* partial, int kinds, LayernormBackward<T> op) {
  constexpr int kRows = batch_rows(kThreads);
  extern __shared__ uint4 dynamic_shared[];
  // Two sets: a warp may write the sums of its next rows while another still reads the last ones.
  __shared__ float lines[2][kThreads / kWarp][2 * kRows];
  constexpr int kLanes = kWarp / (2 * kRows);
  const int warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int channel = threadIdx.x * Vector<T>::kSize;
  const bool active = channel < op.channels;
  const float inverse = 1.0f / static_cast<float>(op.channels);
  const Batches<T, kAccumulate, kRows> batches{dynamic_shared + threadIdx.x};
  FullPacket<T> weight = {};
  if (active) weight = load_packet<Vector<T>::kSize>(op.weight + channel);
  let_next_kernel_begin();
  ColumnSums<T> sums;
  Statistics statistics[kRows], next[kRows];
  int stage = 0;
  const int64_t step = int64_t{gridDim.x} * kRows;
  int64_t first = int64_t{blockIdx.x} * kRows;
  batches.fetch(statistics, stage, first, channel, op);
  for (; first < op.rows; first += step, stage ^= 1) {
    batches.fetch(next, stage ^ 1, first + step, channel, op);
    wait_for_copies();
    float values[2 * kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const RowSums part =
          add_row(sums, batches.dy(stage, i), batches.x(stage, i), statistics[i], weight);
      values[2 * i] = part.g;
      values[2 * i + 1] = part.g_normed;
    }
    const float total = warp_sums(values);
    if (lane % kLanes == 0) lines[stage][warp][lane / kLanes] = total;
    __syncthreads();
    const float averages = sums_of_lines(lines[stage], warps) * inverse;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const RowSums average{__shfl_sync(~0u, averages, 2 * i),
                            __shfl_sync(~0u, averages, 2 * i + 1)};
      if (!op.dx || !active || first + i >= op.rows) continue;
      FullPacket<T> old;
      if constexpr (kAccumulate) old = batches.old(stage, i);
      const FullPacket<T> dx = row_dx(batches.dy(stage, i), batches.x(stage, i),
                                      kAccumulate ? &old : nullptr, statistics[i], weight, average);
      store_packet(op.dx + (first + i) * op.channels + channel, dx);
      if (kinds < 3) continue;
#pragma unroll
      for (int k = 0; k < Vector<T>::kSize; ++k) sums.dx[k] += dx[k];
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) statistics[i] = next[i];
  }
  if (active) store_partial(partial, sums, kinds, op.channels, channel);
}

// --- Launch

// How the fast kernel is launched; blocks 0: it does not fit.
struct Plan {
  int64_t blocks;
  int threads, shared_bytes;
};

Plan plan_backward(int64_t rows, int64_t channels, int width, bool accumulate) {
  const int64_t threads = round_up(ceil_div(channels, width), kWarp);
  if (channels % width != 0 || threads > kMaxThreads) return {};
  const int batch = batch_rows(static_cast<int>(threads));
  const int64_t bytes = kStages * batch * (accumulate ? 3 : 2) * threads * 16;
  const int shared_limit = device_attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
  constexpr int64_t kReserved = 2048;  // by the system and for the sums over a block
  const int64_t by_memory = shared_limit / (bytes + kReserved);
  const int64_t by_threads = resident_threads(static_cast<int>(threads)) / threads;
  const int64_t resident = std::max<int64_t>(1, std::min(by_memory, by_threads));
  return {std::min(resident * multiprocessors(), ceil_div(rows, batch)), static_cast<int>(threads),
          static_cast<int>(bytes)};
}

template <typename T, bool kAccumulate>
void launch_fast(const SumTargets& targets, const LayernormBackward<T>& op, const Plan& plan,
                 void* scratch, cudaStream_t stream) {
  const int kinds = targets.at[2] ? 3 : 2;
  auto* partial = static_cast<float*>(scratch);
  const auto kernel = plan.threads <= 128   ? layernorm_backward_kernel<T, kAccumulate, 128>
                      : plan.threads <= 256 ? layernorm_backward_kernel<T, kAccumulate, 256>
                      : plan.threads <= 512
                          ? layernorm_backward_kernel<T, kAccumulate, 512>
                          : layernorm_backward_kernel<T, kAccumulate, kMaxThreads>;
  allow_shared_memory(kernel, plan.shared_bytes);
  kernel<<<static_cast<unsigned>(plan.blocks), plan.threads, plan.shared_bytes, stream>>>(
      partial, kinds, op);
  add_partial_sums(targets, kinds, partial, static_cast<int>(plan.blocks), op.channels, stream);
}

template <typename T>
void launch_backward(const SumTargets& targets, const LayernormBackward<T>& op, bool accumulate,
                     void* scratch, cudaStream_t stream) {
  accumulate = accumulate && op.dx;
  const Plan plan = plan_backward(op.rows, op.channels, Vector<T>::kSize, accumulate);
  if (plan.blocks == 0) {
    layernorm_backward_wide(targets, op, accumulate, scratch, stream);
  } else if (accumulate) {
    launch_fast<T, true>(targets, op, plan, scratch, stream);
  } else {
    launch_fast<T, false>(targets, op, plan, scratch, stream);
  }
}

}  // namespace

int64_t layernorm_backward_scratch(int64_t rows, int64_t channels) {
  if (rows <= 0 || channels <= 0) return 0;
  int64_t most = column_sums_scratch(rows, channels);
  for (const int width : {Vector<float>::kSize, Vector<bf16>::kSize}) {
    for (const bool accumulate : {false, true}) {
      const int64_t lines = plan_backward(rows, channels, width, accumulate).blocks * kMaxSumKinds;
      most = std::max(most, lines * channels * int64_t{sizeof(float)});
    }
  }
  return most;
}

void layernorm_backward(void* dx, float* dweight, float* dbias, float* dx_sum, const void* dy,
                        const void* x, const float* mean, const float* rstd, const void* weight,
                        Element element, int64_t rows, int64_t channels, bool accumulate,
                        void* scratch, cudaStream_t stream) {
  if (rows <= 0 || channels <= 0) return;
  const SumTargets targets{{dweight, dbias, dx ? dx_sum : nullptr}};
  with_element(element, [&](auto type) {
    using T = decltype(type);
    const LayernormBackward<T> op{static_cast<T*>(dx),
                                  static_cast<const T*>(dy),
                                  static_cast<const T*>(x),
                                  mean,
                                  rstd,
                                  static_cast<const T*>(weight),
                                  rows,
                                  channels};
    launch_backward(targets, op, accumulate, scratch, stream);
  });
}

}  // namespace llm::cuda
