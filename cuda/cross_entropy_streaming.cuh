// Cross-entropy of rows that are too long for the registers of a block, or that do not begin at
// multiples of 16 bytes. A block per row: one pass with a running maximum per thread (Milakov &
// Gimelshein, "Online normalizer calculation for softmax", 2018), then a second read for the
// gradient.
//
// The second read must not reach device memory: so there are few, large blocks, as many as let all
// rows under way lie in the L2 cache, and the gradient is stored with the streaming hint, so that
// it does not push them out. Rows of 50,304 bf16 on an H200, fused: 2 blocks of 768 threads per
// multiprocessor reach 93 % of the bandwidth of a copy, 90 % without the hint; 4 blocks of 512
// threads without it 70 %.
#pragma once

#include "cuda/cross_entropy_packets.cuh"

namespace llm::cuda {

// Sum of the exponentials of what a thread has seen so far.
struct RunningSum {
  float top = kLowestLogit;
  ShiftedSum part{kLowestLogit * kLog2E, 0};

  __device__ __forceinline__ void raise(float to) {
    if (!(to > top)) return;
    const float shift = to * kLog2E;
    part = {shift, part.sum * exp2_fast(part.shift - shift)};
    top = to;
  }
  template <typename T>
  __device__ __forceinline__ void add(const FullPacket<T>& x) {
    raise(top_of(x));
    part.sum += sum_of_exponentials(x, part.shift);
  }
  __device__ __forceinline__ void add(float x) {
    raise(x);
    part.sum += exp_shifted(x, part.shift);
  }
};

// A thread's columns of [0, end): body(column, x) with packets x where kPacked, kAhead of them
// loaded before the first is used, or else with elements. The last packet may reach beyond `end`.
template <bool kPacked, int kThreads, typename T, typename Body>
__device__ __forceinline__ void for_columns(const T* logits, int end, const Body& body) {
  if constexpr (kPacked) {
    constexpr int kAhead = 4, kSize = Vector<T>::kSize, kStep = kThreads * kSize;
    int column = threadIdx.x * kSize;
    for (; column + (kAhead - 1) * kStep < end; column += kAhead * kStep) {
      FullPacket<T> x[kAhead];
#pragma unroll
      for (int n = 0; n < kAhead; ++n) x[n] = load_packet<kSize>(logits + column + n * kStep);
#pragma unroll
      for (int n = 0; n < kAhead; ++n) body(column + n * kStep, x[n]);
    }
    for (; column < end; column += kStep) body(column, load_packet<kSize>(logits + column));
  } else {
    for (int column = threadIdx.x; column < end; column += kThreads) {
      body(column, to_float(logits[column]));
    }
  }
}

// kPacked: all rows begin at multiples of 16 bytes.
template <typename T, bool kPacked, int kThreads, int kBlocks>
__global__ void __launch_bounds__(kThreads, kBlocks)
    cross_entropy_streaming_kernel(CrossEntropy problem) {
  __shared__ ShiftedSum shared[kThreads / kWarp];
  const int64_t row = blockIdx.x;
  const int target = problem.targets[row], vocab = problem.vocab, padded = problem.padded;
  const T* const logits = static_cast<const T*>(problem.logits) + row * padded;
  T* const dlogits = problem.dlogits ? static_cast<T*>(problem.dlogits) + row * padded : nullptr;
  if (target == kIgnoredTarget) {
    if (threadIdx.x == 0 && problem.losses) problem.losses[row] = 0;
    constexpr int kWidth = kPacked ? Vector<T>::kSize : 1;
    for (int c = threadIdx.x * kWidth; dlogits && c < padded; c += kThreads * kWidth) {
      store_packet(dlogits + c, Packet<T, kWidth>{});
    }
    return;
  }
  const float target_logit = to_float(logits[target]);  // before dlogits, which may be logits
  RunningSum running;
  for_columns<kPacked, kThreads>(logits, vocab, [&](int column, auto x) {
    if constexpr (kPacked) x = without_padding(x, column, vocab);
    running.add(x);
  });
  const ShiftedSum total = block_total<kThreads>(running.part, shared);
  if (threadIdx.x == 0 && problem.losses) problem.losses[row] = row_loss(total, target_logit);
  if (!dlogits) return;
  const float scale = problem.gradient_scale[0];
  const RowGradient gradient{scale / total.sum, total.shift, scale, target, vocab};
  for_columns<kPacked, kThreads>(logits, padded, [&](int column, auto x) {
    if constexpr (kPacked) {
      const FullPacket<T> dlogit = gradient.at(x, column);
      __stcs(reinterpret_cast<uint4*>(dlogits + column), *reinterpret_cast<const uint4*>(&dlogit));
    } else {
      dlogits[column] = from_float<T>(gradient.at(x, column));
    }
  });
}

template <typename T, int kThreads, int kBlocks>
void launch_cross_entropy_streaming(const CrossEntropy& problem, cudaStream_t stream) {
  const auto kernel = problem.padded % Vector<T>::kSize == 0
                          ? cross_entropy_streaming_kernel<T, true, kThreads, kBlocks>
                          : cross_entropy_streaming_kernel<T, false, kThreads, kBlocks>;
  kernel<<<static_cast<unsigned>(problem.rows), kThreads, 0, stream>>>(problem);
}

}  // namespace llm::cuda
