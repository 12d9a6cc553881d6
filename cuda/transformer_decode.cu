// A token of up to 8 sequences through a whole transformer in one kernel.
//
// With one token per sequence every weight is read once for a few products, so the bound is the
// time to read the weights. Kernel by kernel that bound is far away: each starts with an empty
// memory pipeline and ends with a tail. Here one block per multiprocessor stays for the whole
// token. Each owns a share of the rows of every matrix. One warp streams the share's weights
// through a ring in shared memory (decode_ring.cuh) and never waits for the other multiprocessors;
// 8 warps compute (decode_product.cuh). A layer is four phases, each a product:
//
//   normalize the stream; rows of q, k, v             -> exchange.qkv
//   then attention, by heads and chunks of keys       -> exchange.attention, the cache
//   rows of the projection, added to the stream       -> exchange.middle
//   normalize; rows of the MLP's first matrix, GELU   -> exchange.hidden
//   rows of its second matrix, added to the stream    -> exchange.stream
//
// and the final norm with the rows of the output layer ends the token. Between phases there is no
// barrier: results travel with flags (decode_exchange.cuh), so the next phase begins as soon as its
// numbers are there. What all need, each multiprocessor computes for itself (the norms).
//
// Rounding: sums, the stream, statistics, attention and GELU are f32; q, k, v, the cache and the
// inputs of products are of the model's type; logits are f32. Sums are of a fixed order for a given
// number of multiprocessors, and nothing of a sequence depends on the others.
// Bytes: the weights and the cached keys and values once.
//
// Blocks wait for each other, so all must be on the device at once: a cooperative launch, or one
// that begins while the kernel that draws the tokens still runs and reads weights meanwhile.
#include <algorithm>

#include "cuda/decode_attention.cuh"
#include "cuda/decode_norm.cuh"
#include "cuda/decode_product.cuh"
#include "cuda/decode_weights.cuh"
#include "cuda/gelu.cuh"
#include "cuda/kernel_launch.cuh"
#include "cuda/packet.cuh"
#include "cuda/transformer_decode.h"

namespace llm::cuda {
namespace {

constexpr int kThreads = kDecodeThreads + kWarp;

#ifdef LLM_HOPPER

// What the computing warps know all the time.
struct Worker {
  const DecodeLaunch& launch;
  char* memory;
  DecodeShared& shared;
  Exchange& exchange;
  Ring ring;
  Activations x;
  float2* own;  // this multiprocessor's part of the stream, by number of pair and sequence
  float* sums;
};

// Where the results of a phase go; found before one waits for the activations.
struct PhaseResult {
  int kind;      // kLayerPhases: logits
  int step;      // from a pair of rows to the next, in units; a pair of logits takes as much
  uint64_t* to;  // of the share's first pair and this thread's sequence
};

template <typename T>
__device__ __forceinline__ PhaseResult result_of(Worker& w, int kind, const MatrixShare& share,
                                                 int s) {
  const TransformerDecode& decode = w.launch.decode;
  PhaseResult result{kind, 2, nullptr};
  int row = decode.C;  // units of a sequence
  if (kind == kLayerPhases) {
    result.step = 1, row = decode.vocab / 2;
    result.to = reinterpret_cast<uint64_t*>(decode.logits);
  } else if (kind % 2 == 0) {
    constexpr int kStep = 2 / kUnitElements<T>;
    result.step = kStep, row = (kind == 0 ? 3 * decode.C : decode.hidden) / 2 * kStep;
    result.to = kind == 0 ? w.exchange.qkv : w.exchange.hidden;
  } else {
    result.to = kind == 1 ? w.exchange.middle : w.exchange.stream;
  }
  result.to += s * row + share.pair_begin * result.step;
  return result;
}

// Sends or stores the sums of rows 2 pair and 2 pair + 1 of the share.   i: in the worker's `own`
template <typename T>
__device__ __forceinline__ void finish(Worker& w, const PhaseResult& result, uint32_t flag, int i,
                                       int pair, float a, float b) {
  uint64_t* to = result.to + pair * result.step;
  if (result.kind % 2 == 1) {
    const float2 sum = make_float2(w.own[i].x + a, w.own[i].y + b);
    w.own[i] = sum;
    return send(to, sum.x, sum.y, flag);
  }
  if (result.kind == kLayerPhases) {
    *reinterpret_cast<float2*>(to) = make_float2(a, b);
    return;
  }
  if (result.kind == 2) a = gelu(a), b = gelu(b);
  send_pair<T>(to, 0, a, b, flag);
}

// One loop for all products: nearly all instructions run once a layer, so what counts is that those
// of a layer fit into the instruction cache.
template <typename T, int kS>
__device__ void compute(Worker& w) {
  const TransformerDecode& decode = w.launch.decode;
  const int pair_begin = w.shared.shares[1].pair_begin;
  for (int i = threadIdx.x; i < w.shared.shares[1].pairs * kS; i += kDecodeThreads) {
    w.own[i] = embed_pair<T>(decode, min(i % kS, decode.S - 1), pair_begin + i / kS);
  }
  computing_barrier();
  const int phases = kLayerPhases * decode.layers;
#pragma unroll 1
  for (int phase = 0; phase <= phases; ++phase) {
    const int layer = phase / kLayerPhases, kind = phase % kLayerPhases;
    const bool head = phase == phases;
    const MatrixShare share = w.shared.shares[head ? kLayerPhases : kind];
    const uint32_t flag = w.shared.launches * kDecodeLayers + layer + 1;
    const PhaseVectors vectors = vectors_of<T>(w.launch.layout, w.memory, share, kind);
    ProductPlace place;
    PhaseResult result;
    const auto early = [&] {
      place = product_place<kS>(share, w.x, w.sums);
      result = result_of<T>(w, head ? kLayerPhases : kind, share, threadIdx.x % kS);
      // Now, not when they are needed.
      asm volatile("" : "+r"(place.row), "+r"(place.x), "+l"(place.sums), "+l"(result.to));
      barrier_wait(w.shared.vectors_full + kind, layer & 1);
    };
    if (kind % 2 == 0) {
      const uint64_t* stream = kind == 2 ? w.exchange.middle : w.exchange.stream;
      normalize<T, kS>(w.x, phase == 0 ? nullptr : stream, kind == 2 ? flag : flag - 1, decode,
                       vectors.norm_weight, vectors.norm_bias, w.shared.norm, early);
    } else {
      take_activations<T, kS>(w.x, kind == 1 ? w.exchange.attention : w.exchange.hidden,
                              kind == 1 ? decode.C : decode.hidden, decode.S, flag, early);
    }
    multiply<T, kS>(w.ring, share, place, head ? nullptr : vectors.bias + vectors.bias_offset, w.x,
                    w.sums, decode.S, [&](int i, int pair, float a, float b) {
                      finish<T>(w, result, flag, i, pair, a, b);
                    });
    barrier_arrive(w.shared.vectors_empty + kind);
    if (kind == 0 && !head) {
      attend<T>(w.shared.attention, decode, decode.blocks[layer], w.exchange, flag);
    }
  }
}

#endif  // LLM_HOPPER

template <typename T, int kS>
__global__ void __launch_bounds__(kThreads, 1)
    transformer_decode_kernel(const __grid_constant__ DecodeLaunch launch) {
#ifdef LLM_HOPPER
  extern __shared__ __align__(128) char memory[];
  DecodeShared& shared = *reinterpret_cast<DecodeShared*>(memory);
  const DecodeLayout& layout = launch.layout;
  Exchange& exchange = *static_cast<Exchange*>(launch.decode.exchange);
  Ring ring{shared.full, shared.empty, memory + layout.ring, layout.stages};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < ring.stages; ++stage) {
      barrier_init(ring.full + stage, 1);
      barrier_init(ring.empty + stage, kDecodeThreads);
    }
    for (int kind = 0; kind < kLayerPhases; ++kind) {
      barrier_init(shared.vectors_full + kind, 1);
      barrier_init(shared.vectors_empty + kind, kDecodeThreads);
    }
    barrier_init(&shared.tasks_known, 1);
    barrier_init_fence();
  }
  if (threadIdx.x < 4) reinterpret_cast<float*>(memory + layout.zeros)[threadIdx.x] = 0;
  if (threadIdx.x <= kLayerPhases) {
    shared.shares[threadIdx.x] = launch.plans.of[threadIdx.x].share(blockIdx.x);
  }
  __syncthreads();

  if (threadIdx.x >= kDecodeThreads) {
    stream_weights<T>(launch, shared, memory, ring);
    return;
  }
  // Only weights may be read before this, see TransformerDecode::after_sampling.
  wait_for_previous_kernel();
  if (threadIdx.x == 0) shared.launches = exchange.launches;
  find_tasks(shared.attention, launch.decode);
  // Channels behind a head's last one meet keys that are 0 there.
  if (threadIdx.x < kMostHeadSize) shared.attention.head.qkv[0][threadIdx.x] = 0;
  computing_barrier();
  if (threadIdx.x == 0) barrier_arrive(&shared.tasks_known);
  Worker worker{launch,
                memory,
                shared,
                exchange,
                ring,
                {memory + layout.activations, memory + layout.zeros, layout.activation_stride},
                reinterpret_cast<float2*>(memory + layout.own),
                reinterpret_cast<float*>(memory + layout.sums)};
  compute<T, kS>(worker);
  // All blocks have read `launches` before the last one gets here.
  if (threadIdx.x == 0 && atomicInc(&exchange.exits, gridDim.x - 1) == gridDim.x - 1) {
    exchange.launches = shared.launches + 1;
  }
#else
  __trap();
#endif
}

int shared_memory() { return device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin); }

// Every multiprocessor has a part of every matrix: the exchange relies on it.
int processors_for(int C) { return std::min({multiprocessors(), C / 2, kDecodeProcessors}); }

int up_to_128(int bytes) { return static_cast<int>(round_up(bytes, 128)); }

DecodeLayout layout_of(int C, int hidden, int element_bytes, int S, int processors) {
  DecodeLayout layout{};
  const int own_pairs = static_cast<int>(ceil_div(C / 2, processors));
  const int row = std::max(C, hidden) * element_bytes;
  layout.activation_stride = row % 128 == 0 ? row + 64 : row;
  layout.own = up_to_128(static_cast<int>(sizeof(DecodeShared)));
  layout.sums = layout.own + up_to_128(own_pairs * S * static_cast<int>(sizeof(float2)));
  layout.zeros = layout.sums + kDecodeWarps * S * kBatchRows * 4;
  layout.norms = layout.zeros + up_to_128(16);
  layout.norm_bytes = up_to_128(C * element_bytes);
  layout.biases = layout.norms + 4 * layout.norm_bytes;
  const int most_pairs = static_cast<int>(ceil_div(std::max(3 * C, hidden) / 2, processors));
  layout.bias_bytes = up_to_128(2 * most_pairs * element_bytes + 16);
  layout.activations = layout.biases + kLayerPhases * layout.bias_bytes;
  layout.ring = layout.activations + up_to_128(S * layout.activation_stride);
  layout.stages = std::min(kMostStages, (shared_memory() - layout.ring) / kStageBytes);
  layout.total = layout.ring + layout.stages * kStageBytes;
  return layout;
}

int bytes_of(Element element) { return element == Element::f32 ? 4 : 2; }

template <typename T, int kS>
void launch_decode(const DecodeLaunch& launch, int processors, cudaStream_t stream) {
  const auto kernel = transformer_decode_kernel<T, kS>;
  allow_shared_memory(kernel, launch.layout.total);
  // Behind sampling the blocks come as that ends, but all of them come, as no other kernel that
  // waits for its own blocks is on the device: one stream decodes at a time.
  cudaLaunchAttribute attribute{};
  if (launch.decode.after_sampling) {
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
  } else {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(processors));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = static_cast<size_t>(launch.layout.total);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  cudaLaunchKernelEx(&config, kernel, launch);
}

}  // namespace

int transformer_decode_sequences(const DecodeShape& shape, Element element) {
  const int bytes = bytes_of(element), C = shape.C;
  if (device_attribute(cudaDevAttrComputeCapabilityMajor) != 9 || element == Element::f16) return 0;
  if (device_attribute(cudaDevAttrCooperativeLaunch) == 0) return 0;
  const bool fits = shape.layers <= kDecodeLayers && shape.layers > 0 && C <= kDecodeChannels &&
                    shape.hidden <= kDecodeHidden && shape.hidden >= C && shape.vocab >= C &&
                    shape.H * shape.D == C && shape.D % 8 == 0 && shape.D >= 64 &&
                    shape.D <= kMostHeadSize && C * bytes % kStepBytes == 0 &&
                    shape.hidden * bytes % kStepBytes == 0 && shape.vocab % 2 == 0 &&
                    (shape.block_size & (shape.block_size - 1)) == 0 &&
                    processors_for(C) >= kLeastProcessors;
  if (!fits) return 0;
  for (int S = kDecodeSequences; S > 0; S /= 2) {
    if (layout_of(C, shape.hidden, bytes, S, processors_for(C)).stages >= kLeastStages) return S;
  }
  return 0;
}

int64_t transformer_decode_exchange_bytes() { return static_cast<int64_t>(sizeof(Exchange)); }

void transformer_decode(const TransformerDecode& decode, Element element, cudaStream_t stream) {
  const int bytes = bytes_of(element), C = decode.C, processors = processors_for(C);
  const int row = C * bytes, hidden_row = decode.hidden * bytes;
  // The kernel's sequences are a power of two, of which the last ones may be idle.
  int slots = 1;
  while (slots < decode.S) slots *= 2;
  DecodeLaunch launch{
      decode,
      {{plan_matrix(3 * C, row, processors), plan_matrix(C, row, processors),
        plan_matrix(decode.hidden, row, processors), plan_matrix(C, hidden_row, processors),
        plan_matrix(decode.vocab, row, processors)}},
      layout_of(C, decode.hidden, bytes, slots, processors)};
  with_element(element, [&](auto type) {
    using T = decltype(type);
    switch (slots) {
      case 1:
        return launch_decode<T, 1>(launch, processors, stream);
      case 2:
        return launch_decode<T, 2>(launch, processors, stream);
      case 4:
        return launch_decode<T, 4>(launch, processors, stream);
      default:
        return launch_decode<T, 8>(launch, processors, stream);
    }
  });
}

}  // namespace llm::cuda
