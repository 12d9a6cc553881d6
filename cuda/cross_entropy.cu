// Softmax and cross-entropy over rows of logits, forward and backward in one launch:
//   losses[row] = log(sum of e^logit) - logit[target]
//   dlogits = (e^logit / sum - onehot(target)) * gradient_scale
//
// Short rows: a block per row, which stays in the registers of the block, at most kPackets packets
// of 16 bytes per thread, between its three passes: maximum, sum of exponentials, gradient. There
// are as few threads as hold a row, so that many rows are under way in a multiprocessor: while some
// compute, others load and store.
//
// Long rows: cross_entropy_streaming.cuh, the second read from the L2 cache.
//
// Padded columns may hold anything; they count as -inf, and their gradient is 0. A row without a
// target reads nothing.
//
// Rounding: logits are widened; all is f32 up to the one rounding of dlogits, but the logarithm and
// the difference in the loss are f64.
//
// Bytes: logits are read once and dlogits written once.
#include "cuda/cross_entropy.h"
#include "cuda/cross_entropy_packets.cuh"
#include "cuda/cross_entropy_streaming.cuh"

namespace llm::cuda {
namespace {

template <int kThreads>
__device__ __forceinline__ int column_of(int packet, int size) {
  return (packet * kThreads + static_cast<int>(threadIdx.x)) * size;
}

// A thread's packets of a row; there may be fewer than kPackets.
template <int kThreads, int kPackets, int kSize, typename T>
__device__ __forceinline__ void load_row(Packet<T, kSize> (&x)[kPackets], const T* logits,
                                         int padded) {
#pragma unroll
  for (int n = 0; n < kPackets; ++n) {
    const int column = column_of<kThreads>(n, kSize);
    if (column < padded) x[n] = load_packet<kSize>(logits + column);
  }
}

template <int kThreads, int kPackets, int kSize, typename T>
__device__ __forceinline__ ShiftedSum sum_row(Packet<T, kSize> (&x)[kPackets], int vocab,
                                              int padded) {
  float top = kLowestLogit;
#pragma unroll
  for (int n = 0; n < kPackets; ++n) {
    const int column = column_of<kThreads>(n, kSize);
    if (column >= padded) break;
    x[n] = without_padding(x[n], column, vocab);
    top = fmaxf(top, top_of(x[n]));
  }
  ShiftedSum part{top * kLog2E, 0};
#pragma unroll
  for (int n = 0; n < kPackets; ++n) {
    if (column_of<kThreads>(n, kSize) >= padded) break;
    part.sum += sum_of_exponentials(x[n], part.shift);
    x[n].forget_unpacked();  // the gradient unpacks again: half the registers until then
  }
  return part;
}

template <typename T, int kPackets, int kThreads>
__global__ void __launch_bounds__(kThreads) cross_entropy_short_kernel(CrossEntropy problem) {
  constexpr int kSize = Vector<T>::kSize;
  __shared__ ShiftedSum shared[kThreads / kWarp];
  const int64_t row = blockIdx.x;
  const int target = problem.targets[row], vocab = problem.vocab, padded = problem.padded;
  const bool ignored = target == kIgnoredTarget;
  const T* const logits = static_cast<const T*>(problem.logits) + row * padded;
  FullPacket<T> x[kPackets] = {};
  ShiftedSum total{0, 1};
  if (!ignored) {
    const float target_logit = to_float(logits[target]);
    load_row<kThreads>(x, logits, padded);
    total = block_total<kThreads>(sum_row<kThreads>(x, vocab, padded), shared);
    if (threadIdx.x == 0 && problem.losses) problem.losses[row] = row_loss(total, target_logit);
  } else if (threadIdx.x == 0 && problem.losses) {
    problem.losses[row] = 0;
  }
  if (!problem.dlogits) return;
  T* const dlogits = static_cast<T*>(problem.dlogits) + row * padded;
  const float scale = problem.gradient_scale[0];
  const RowGradient gradient{scale / total.sum, total.shift, scale, target, vocab};
#pragma unroll
  for (int n = 0; n < kPackets; ++n) {
    const int column = column_of<kThreads>(n, kSize);
    if (column >= padded) break;
    store_packet(dlogits + column, ignored ? FullPacket<T>{} : gradient.at(x[n], column));
  }
}

template <typename T, int kPackets, int kThreads>
bool launch_short(const CrossEntropy& problem, cudaStream_t stream) {
  constexpr int kSize = Vector<T>::kSize;
  if (problem.padded % kSize != 0 || problem.padded > kPackets * kThreads * kSize) return false;
  cross_entropy_short_kernel<T, kPackets, kThreads>
      <<<static_cast<unsigned>(problem.rows), kThreads, 0, stream>>>(problem);
  return true;
}

template <typename T>
bool launch_short(const CrossEntropy& problem, cudaStream_t stream) {
  return launch_short<T, 4, 32>(problem, stream) || launch_short<T, 4, 128>(problem, stream) ||
         launch_short<T, 4, 256>(problem, stream) || launch_short<T, 8, 256>(problem, stream) ||
         launch_short<T, 8, 512>(problem, stream);
}

// Few enough rows under way for all of them to stay in the L2 cache until their second read.
template <typename T>
void launch_long(const CrossEntropy& problem, cudaStream_t stream) {
  const int64_t bytes = problem.padded * static_cast<int64_t>(sizeof(T)) * multiprocessors();
  if (2 * bytes <= device_attribute(cudaDevAttrL2CacheSize) / 10 * 6) {
    launch_cross_entropy_streaming<T, 768, 2>(problem, stream);
  } else {
    launch_cross_entropy_streaming<T, 1024, 1>(problem, stream);
  }
}

}  // namespace

void cross_entropy(float* losses, void* dlogits, const void* logits, const int32_t* targets,
                   const float* gradient_scale, Element element, int64_t rows, int64_t vocab,
                   int64_t padded, cudaStream_t stream) {
  if (rows <= 0) return;
  const CrossEntropy problem{losses,
                             dlogits,
                             logits,
                             targets,
                             gradient_scale,
                             rows,
                             static_cast<int>(vocab),
                             static_cast<int>(padded)};
  with_element(element, [&](auto type) {
    using T = decltype(type);
    if (!launch_short<T>(problem, stream)) launch_long<T>(problem, stream);
  });
}

}  // namespace llm::cuda
