// Fused attention, backward, in bf16 on Hopper. With P = softmax(scale q k^T) and out = P v:
//   dv = P^T dout, dS = P * (dout v^T - delta), dq = scale dS k, dk = scale dS^T q,
//   delta = row sum of dout * out.
//
// Two kernels: the first owns queries and makes dq (and delta), the second owns keys and makes dk
// and dv. Both compute P and dS, so there are 7 products where 5 would do. What that buys: dS k of
// a key block need not be summed with that of others, which takes float32 additions in device
// memory (32 KiB per 128 x 128 scores: more than their products take at the speed of L2) in an
// order fixed by waiting; P and dS never leave the registers, where they are the first operands of
// the products that take them; warpgroups never wait for each other. Per 64 x 128 scores at D = 64
// the 7 products take 1792 cycles of the tensor cores, 5 would take 1280.
//
// Rounding. Scores, P and dS in f32, from f32 lse and delta (of the rounded out); P and dS to bf16
// for the products that take them; dq, dk, dv summed in f32 in a fixed order and rounded once.
//
// Bytes: q, dout and out (or k and v) once from device memory by each kernel that owns them, the
// others once per 128 keys (queries) from L2; dq, dk, dv written once; 16 bytes per query of lse
// and delta through scratch.
#include "cuda/attention_hopper.h"
#include "cuda/attention_hopper_key_gradient.cuh"
#include "cuda/attention_hopper_query_gradient.cuh"
#include "cuda/kernel_launch.cuh"

namespace llm::cuda {
namespace {

// The second kernel's step, in queries.
constexpr int step_queries(int64_t D) { return D == 64 ? 128 : 64; }

template <int kD, int kGroups, int kStages, int kBlocksPerProcessor, int kChunk, int kQueries>
void launch_query_gradient(const AttentionBackward& tensors, const AttentionProblem& problem,
                           BackwardSizes sizes, cudaStream_t stream) {
  static_assert(64 * kGroups % kQueries == 0, "all of scratch is written");
  QueryGradientMaps maps;
  const int64_t H = problem.H, KV = problem.KV, Tq = problem.Tq, Tk = problem.Tk;
  const bool good = make_head_map(&maps.dq, tensors.dq, problem, H, Tq, 64) &&
                    make_head_map(&maps.q, tensors.q, problem, H, Tq, 64) &&
                    make_head_map(&maps.dout, tensors.dout, problem, H, Tq, 64) &&
                    make_head_map(&maps.k, tensors.k, problem, KV, Tk, 64) &&
                    make_head_map(&maps.v, tensors.v, problem, KV, Tk, 64);
  sizes.query_tiles = static_cast<int>(ceil_div(Tq, 64 * kGroups));
  const auto kernel =
      problem.mask == Mask::causal
          ? attention_hopper_query_gradient_kernel<kD, kGroups, kStages, kBlocksPerProcessor,
                                                   kChunk, kQueries, true>
          : attention_hopper_query_gradient_kernel<kD, kGroups, kStages, kBlocksPerProcessor,
                                                   kChunk, kQueries, false>;
  // As QueryGradientShared: q and dout, the stages of k and v, and room for the barriers.
  const int bytes = 2 * (kGroups + kStages) * tile_bytes(64, kD) + 256;
  allow_shared_memory(kernel, bytes);
  const int64_t blocks = problem.B * H * sizes.query_tiles;
  kernel<<<static_cast<unsigned>(blocks), kGroups * kWarpgroup, good ? bytes : kRefusedLaunch,
           stream>>>(maps, sizes);
}

template <int kD, int kGroups, int kQueries, int kStages, int kBuffers, int kChunk>
void launch_key_gradient(const AttentionBackward& tensors, const AttentionProblem& problem,
                         BackwardSizes sizes, cudaStream_t stream) {
  KeyGradientMaps maps;
  const int64_t H = problem.H, KV = problem.KV, Tq = problem.Tq, Tk = problem.Tk;
  const bool good = make_head_map(&maps.dk, tensors.dk, problem, KV, Tk, 64) &&
                    make_head_map(&maps.dv, tensors.dv, problem, KV, Tk, 64) &&
                    make_head_map(&maps.k, tensors.k, problem, KV, Tk, 64) &&
                    make_head_map(&maps.v, tensors.v, problem, KV, Tk, 64) &&
                    make_head_map(&maps.q, tensors.q, problem, H, Tq, kQueries) &&
                    make_head_map(&maps.dout, tensors.dout, problem, H, Tq, kQueries);
  int device = 0, processors = 1;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  const int64_t key_blocks = ceil_div(Tk, 64 * kGroups), heads = problem.B * KV;
  const int64_t pairs = heads * ceil_div(key_blocks, 2);
  sizes.key_blocks = static_cast<int>(key_blocks);
  sizes.paired = pairs >= 4 * processors;
  sizes.units = static_cast<int>(sizes.paired ? pairs : heads * key_blocks);
  const auto kernel = problem.mask == Mask::causal
                          ? attention_hopper_key_gradient_kernel<kD, kGroups, kQueries, kStages,
                                                                 kBuffers, kChunk, true>
                          : attention_hopper_key_gradient_kernel<kD, kGroups, kQueries, kStages,
                                                                 kBuffers, kChunk, false>;
  // As KeyGradientShared: k and v, the stages of q, dout and rows, and room for the barriers.
  const int bytes = 2 * kBuffers * kGroups * tile_bytes(64, kD) +
                    kStages * (2 * tile_bytes(kQueries, kD) + 8 * kQueries) + 256;
  allow_shared_memory(kernel, bytes);
  kernel<<<static_cast<unsigned>(min(processors, sizes.units)), (kGroups + 1) * kWarpgroup,
           good ? bytes : kRefusedLaunch, stream>>>(maps, sizes);
}

BackwardSizes backward_sizes(const AttentionBackward& tensors, const AttentionProblem& problem,
                             void* scratch) {
  BackwardSizes sizes{};
  sizes.Tq = static_cast<int>(problem.Tq);
  sizes.Tk = static_cast<int>(problem.Tk);
  sizes.H = static_cast<int>(problem.H);
  sizes.KV = static_cast<int>(problem.KV);
  sizes.padded = static_cast<int>(round_up(problem.Tq, step_queries(problem.D)));
  sizes.scale = problem.scale;
  sizes.lse = tensors.lse;
  sizes.dout = tensors.dout;
  sizes.out = tensors.out;
  sizes.rows = static_cast<float*>(scratch);
  return sizes;
}

}  // namespace

bool attention_hopper_backward_supports(const AttentionProblem& problem) {
  return attention_hopper_forward_supports(problem);
}

int64_t attention_hopper_backward_scratch(const AttentionProblem& problem) {
  return problem.B * problem.H * round_up(problem.Tq, step_queries(problem.D)) * 2 *
         static_cast<int64_t>(sizeof(float));
}

void attention_hopper_backward(const AttentionBackward& tensors, const AttentionProblem& problem,
                               void* scratch, cudaStream_t stream) {
  if (problem.B == 0 || problem.H == 0 || problem.Tq == 0) return;
  const BackwardSizes sizes = backward_sizes(tensors, problem, scratch);
  if (problem.D == 64) {
    launch_query_gradient<64, 2, 4, 2, 32, 128>(tensors, problem, sizes, stream);
    launch_key_gradient<64, 2, 128, 3, 2, 0>(tensors, problem, sizes, stream);
  } else if (problem.D == 80) {
    launch_query_gradient<80, 2, 4, 1, 0, 64>(tensors, problem, sizes, stream);
    launch_key_gradient<80, 2, 64, 3, 2, 0>(tensors, problem, sizes, stream);
  } else if (problem.D == 96) {
    launch_query_gradient<96, 2, 4, 1, 0, 64>(tensors, problem, sizes, stream);
    launch_key_gradient<96, 2, 64, 3, 2, 0>(tensors, problem, sizes, stream);
  } else if (problem.D == 128) {
    launch_query_gradient<128, 2, 4, 1, 0, 64>(tensors, problem, sizes, stream);
    launch_key_gradient<128, 2, 64, 3, 2, 32>(tensors, problem, sizes, stream);
  }
}

}  // namespace llm::cuda
