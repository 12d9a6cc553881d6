// What a launch of transformer_decode knows, its shared memory, and the filling warp's work: to
// bring all that the computing warps need of the model, in the order in which they need it.
#pragma once

#include "cuda/decode_attention.cuh"
#include "cuda/decode_norm.cuh"
#include "cuda/decode_ring.cuh"

namespace llm::cuda {

constexpr int kMostStages = 16;
constexpr int kLeastStages = 4;
constexpr int kLayerPhases = 4;  // products of a layer: q, k and v; projection; up; down

// The matrices of a layer and last the output layer, as they are shared out.
struct DecodePlans {
  MatrixPlan of[kLayerPhases + 1];
};

// Of dynamic shared memory, in bytes.
struct DecodeLayout {
  int own, sums, zeros, norms, biases, activations, ring;  // offsets
  int norm_bytes, bias_bytes;                              // of each
  int activation_stride, stages, total;
};

struct DecodeLaunch {
  TransformerDecode decode;
  DecodePlans plans;
  DecodeLayout layout;
};

struct DecodeShared {
  uint64_t full[kMostStages], empty[kMostStages];
  uint64_t vectors_full[kLayerPhases], vectors_empty[kLayerPhases];
  uint64_t tasks_known;
  MatrixShare shares[kLayerPhases + 1];
  NormShared norm;
  uint32_t launches;
  AttentionShared attention;
};

#ifdef LLM_HOPPER

// The vectors of a phase in shared memory: the bias of this multiprocessor's rows and, where the
// phase begins with one, the norm.
struct PhaseVectors {
  char *bias, *norm_weight, *norm_bias;
  int bias_offset;  // of the first row; loads begin at multiples of 16 bytes
};

template <typename T>
__device__ __forceinline__ PhaseVectors vectors_of(const DecodeLayout& layout, char* memory,
                                                   const MatrixShare& share, int kind) {
  char* norm = memory + layout.norms + kind / 2 * 2 * layout.norm_bytes;
  return {memory + layout.biases + kind * layout.bias_bytes, norm, norm + layout.norm_bytes,
          2 * share.pair_begin * static_cast<int>(sizeof(T)) % 16};
}

// linear: null for the output layer.   norm: null where there is none
template <typename T>
__device__ __forceinline__ void load_vectors(const PhaseVectors& to, const MatrixShare& share,
                                             const DecodeLinear* linear, const DecodeNorm* norm,
                                             int C, uint64_t* full) {
  int bytes = 0;
  if (linear != nullptr) {
    const T* bias = static_cast<const T*>(linear->bias);
    if (bias != nullptr) {
      bias += 2 * share.pair_begin - to.bias_offset / static_cast<int>(sizeof(T));
    }
    const int length = to.bias_offset + 2 * share.pairs * static_cast<int>(sizeof(T));
    bytes += load_vector(to.bias, bias, static_cast<int>(round_up(length, 16)), full);
  }
  if (norm != nullptr) {
    bytes += load_vector(to.norm_weight, norm->weight, C * static_cast<int>(sizeof(T)), full);
    bytes += load_vector(to.norm_bias, norm->bias, C * static_cast<int>(sizeof(T)), full);
  }
  __syncwarp();
  if (threadIdx.x % kWarp == 0) barrier_expect(full, bytes);
}

// A phase's matrix; phase: number 4 layer + kind, the last one of the output layer.
__device__ __forceinline__ const void* matrix_of(const TransformerDecode& decode, int phase) {
  const int layer = phase / kLayerPhases;
  return layer == decode.layers ? decode.head
                                : decode.blocks[layer].linears[phase % kLayerPhases].weight;
}

// All that the computing warps need of the model, in the order in which they need it.
template <typename T>
__device__ void stream_weights(const DecodeLaunch& launch, DecodeShared& shared, char* memory,
                               Ring ring) {
  const TransformerDecode& decode = launch.decode;
  const uint64_t policy = leave_policy();
  const int last = kLayerPhases * decode.layers;
#pragma unroll 1
  for (int phase = 0; phase <= last; ++phase) {
    const int layer = phase / kLayerPhases, kind = phase % kLayerPhases;
    const bool head = phase == last;
    const MatrixShare share = shared.shares[head ? kLayerPhases : kind];
    const DecodeBlock& block = decode.blocks[head ? 0 : layer];
    const DecodeNorm* norm = head ? &decode.norm : block.norms + kind / 2;
    barrier_wait(shared.vectors_empty + kind, (layer & 1) ^ 1);
    load_vectors<T>(vectors_of<T>(launch.layout, memory, share, kind), share,
                    head ? nullptr : block.linears + kind, kind % 2 == 0 ? norm : nullptr, decode.C,
                    shared.vectors_full + kind);
    if (phase == 1) {
      barrier_wait(&shared.tasks_known, 0);
      prefetch_keys<T>(shared.attention, decode, block);
    }
    if (kind == 1 && layer + 1 < decode.layers) {
      prefetch_keys<T>(shared.attention, decode, decode.blocks[layer + 1]);
    }
    fill_ring(ring, share, matrix_of(decode, phase), kTilesAtOnce<T>, policy);
  }
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
