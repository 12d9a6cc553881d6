// A token of up to 8 sequences through a whole transformer in one kernel.
//
// With one token per sequence every weight is read once for a few products, so the bound is the
// time to read the weights. Kernel by kernel that bound is far away: each starts with an empty
// memory pipeline and ends with a tail. Here one block per multiprocessor stays for the whole
// token. Each owns a share of the rows of every matrix. One warp streams the share's weights
// through a ring in shared memory (decode_ring.cuh) and never waits for the other multiprocessors;
// 8 warps compute (decode_product.cuh). A layer is five phases:
//
//   normalize the stream; rows of q, k, v             -> exchange.qkv
//   attention, by heads and chunks of keys            -> exchange.attention, the cache
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
// Blocks wait for each other, so all must be on the device at once: a cooperative launch.
#include <algorithm>

#include "cuda/decode_attention.cuh"
#include "cuda/decode_norm.cuh"
#include "cuda/decode_product.cuh"
#include "cuda/gelu.cuh"
#include "cuda/packet.cuh"
#include "cuda/transformer_decode.h"

namespace llm::cuda {
namespace {

constexpr int kThreads = kDecodeThreads + kWarp;
constexpr int kMostStages = 16;
constexpr int kLeastStages = 4;
constexpr int kLeastProcessors = 32;  // see attend in decode_attention.cuh

// The matrices of a layer and the output layer, as they are shared out.
struct Plans {
  MatrixPlan qkv, projection, up, down, head;
};

// Of dynamic shared memory, in bytes.
struct Layout {
  int own, sums, activations, ring;  // offsets
  int activation_stride, stages, total;
};

struct Launch {
  TransformerDecode decode;
  Plans plans;
  Layout layout;
};

#ifdef LLM_HOPPER

struct Shared {
  uint64_t full[kMostStages], empty[kMostStages];
  Moments moments[kDecodeSequences * kParts];
  int lengths[kDecodeSequences];
  uint32_t launches;
  AttentionShared attention;
};

template <typename T>
__device__ void stream_weights(const Launch& launch, Ring ring) {
  const TransformerDecode& decode = launch.decode;
  const Plans& plans = launch.plans;
  constexpr int kBytes = sizeof(T);
  const int row = decode.C * kBytes, hidden_row = decode.hidden * kBytes;
  const uint64_t policy = leave_policy();
  for (int layer = 0; layer < decode.layers; ++layer) {
    const DecodeBlock& block = decode.blocks[layer];
    fill_ring(ring, plans.qkv, block.qkv.weight, row, policy);
    fill_ring(ring, plans.projection, block.projection.weight, row, policy);
    fill_ring(ring, plans.up, block.up.weight, row, policy);
    fill_ring(ring, plans.down, block.down.weight, hidden_row, policy);
  }
  fill_ring(ring, plans.head, decode.head, row, policy);
}

// What the computing warps know all the time.
struct Worker {
  const Launch& launch;
  Shared& shared;
  Exchange& exchange;
  Ring ring;
  Activations x;
  float2* own;  // this multiprocessor's part of the stream, by number of pair and sequence
  float* sums;
};

template <typename T, int kS>
__device__ __forceinline__ void run_attention(Worker& w, const DecodeBlock& block, uint32_t flag) {
  const TransformerDecode& decode = w.launch.decode;
  const Plans& plans = w.launch.plans;
  const int C = decode.C;
  multiply<T, kS>(w.ring, plans.qkv, block.qkv.bias, w.x, w.sums, decode.S,
                  [&](int, int pair, int s, float a, float b) {
                    send_pair<T>(w.exchange.qkv + s * 3 * C / kUnitElements<T>, pair, a, b, flag);
                  });
  attend<T>(w.shared.attention, decode, block, w.shared.lengths, w.exchange, flag);
  take_activations<T, kS>(w.x, w.exchange.attention, C, decode.S, flag);
  multiply<T, kS>(w.ring, plans.projection, block.projection.bias, w.x, w.sums, decode.S,
                  [&](int i, int pair, int s, float a, float b) {
                    const float2 sum = make_float2(w.own[i].x + a, w.own[i].y + b);
                    w.own[i] = sum;
                    send(w.exchange.middle + s * C + 2 * pair, sum.x, sum.y, flag);
                  });
}

template <typename T, int kS>
__device__ __forceinline__ void run_mlp(Worker& w, const DecodeBlock& block, uint32_t flag) {
  const TransformerDecode& decode = w.launch.decode;
  const Plans& plans = w.launch.plans;
  const int C = decode.C, hidden = decode.hidden;
  normalize<T, kS>(w.x, SentRows<kS>{w.exchange.middle, flag, C, {}}, block.norm2, C, decode.S,
                   decode.epsilon, w.shared.moments);
  multiply<T, kS>(w.ring, plans.up, block.up.bias, w.x, w.sums, decode.S,
                  [&](int, int pair, int s, float a, float b) {
                    send_pair<T>(w.exchange.hidden + s * hidden / kUnitElements<T>, pair, gelu(a),
                                 gelu(b), flag);
                  });
  take_activations<T, kS>(w.x, w.exchange.hidden, hidden, decode.S, flag);
  multiply<T, kS>(w.ring, plans.down, block.down.bias, w.x, w.sums, decode.S,
                  [&](int i, int pair, int s, float a, float b) {
                    const float2 sum = make_float2(w.own[i].x + a, w.own[i].y + b);
                    w.own[i] = sum;
                    send(w.exchange.stream + s * C + 2 * pair, sum.x, sum.y, flag);
                  });
}

template <typename T, int kS>
__device__ void compute(Worker& w) {
  const TransformerDecode& decode = w.launch.decode;
  const Plans& plans = w.launch.plans;
  const int C = decode.C, pairs = plans.projection.shares.size(blockIdx.x);
  for (int i = threadIdx.x; i < pairs * kS; i += kDecodeThreads) {
    w.own[i] = embed_pair<T>(decode, min(i % kS, decode.S - 1),
                             plans.projection.shares.begin(blockIdx.x) + i / kS);
  }
  const uint32_t base = w.shared.launches * kDecodeLayers;
  uint32_t flag = base;
  for (int layer = 0; layer < decode.layers; ++layer) {
    const DecodeBlock& block = decode.blocks[layer];
    if (layer == 0) {
      normalize<T, kS>(w.x, EmbeddedRows<T, kS>{decode}, block.norm1, C, decode.S, decode.epsilon,
                       w.shared.moments);
    } else {
      normalize<T, kS>(w.x, SentRows<kS>{w.exchange.stream, flag, C, {}}, block.norm1, C, decode.S,
                       decode.epsilon, w.shared.moments);
    }
    flag = base + layer + 1;
    run_attention<T, kS>(w, block, flag);
    run_mlp<T, kS>(w, block, flag);
  }
  normalize<T, kS>(w.x, SentRows<kS>{w.exchange.stream, flag, C, {}}, decode.norm, C, decode.S,
                   decode.epsilon, w.shared.moments);
  multiply<T, kS>(w.ring, plans.head, nullptr, w.x, w.sums, decode.S,
                  [&](int, int pair, int s, float a, float b) {
                    float* row = decode.logits + int64_t{s} * decode.vocab;
                    reinterpret_cast<float2*>(row)[pair] = make_float2(a, b);
                  });
}

#endif  // LLM_HOPPER

template <typename T, int kS>
__global__ void __launch_bounds__(kThreads, 1)
    transformer_decode_kernel(const __grid_constant__ Launch launch) {
#ifdef LLM_HOPPER
  extern __shared__ __align__(128) char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const Layout& layout = launch.layout;
  Exchange& exchange = *static_cast<Exchange*>(launch.decode.exchange);
  Ring ring{shared.full, shared.empty, memory + layout.ring, layout.stages};
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < ring.stages; ++stage) {
      barrier_init(ring.full + stage, 1);
      barrier_init(ring.empty + stage, kDecodeWarps);
    }
    barrier_init_fence();
    shared.launches = exchange.launches;
  }
  if (threadIdx.x < launch.decode.S)
    shared.lengths[threadIdx.x] = launch.decode.lengths[threadIdx.x];
  __syncthreads();

  if (threadIdx.x >= kDecodeThreads) {
    stream_weights<T>(launch, ring);
    return;
  }
  Worker worker{launch,
                shared,
                exchange,
                ring,
                {memory + layout.activations, layout.activation_stride},
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

// Bytes of the fixed part; as Shared, which only the device's compiler knows.
constexpr int kFixedBytes = 2 * 8 * kMostStages + 12 * kDecodeSequences * kDecodeWarps +
                            4 * kDecodeSequences + 8 + 3 * 4 * kPartialLanes * kChannels +
                            kDecodeWarps * kPartialLanes * static_cast<int>(sizeof(Partial));
#ifdef LLM_HOPPER
static_assert(sizeof(Shared) <= kFixedBytes);
#endif

int up_to_128(int bytes) { return static_cast<int>(round_up(bytes, 128)); }

Layout layout_of(int C, int hidden, int element_bytes, int S, int processors) {
  Layout layout{};
  const int own_pairs = static_cast<int>(ceil_div(C / 2, processors));
  const int row = std::max(C, hidden) * element_bytes;
  layout.activation_stride = row % 128 == 0 ? row + 64 : row;
  layout.own = up_to_128(kFixedBytes);
  layout.sums = layout.own + up_to_128(own_pairs * S * static_cast<int>(sizeof(float2)));
  layout.activations = layout.sums + kDecodeWarps * S * kBatchRows * 4;
  layout.ring = layout.activations + up_to_128(S * layout.activation_stride);
  layout.stages = std::min(kMostStages, (shared_memory() - layout.ring) / kStageBytes);
  layout.total = layout.ring + layout.stages * kStageBytes;
  return layout;
}

int bytes_of(Element element) { return element == Element::f32 ? 4 : 2; }

template <typename T, int kS>
void launch_decode(const Launch& launch, int processors, cudaStream_t stream) {
  const auto kernel = transformer_decode_kernel<T, kS>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, launch.layout.total);
  cudaLaunchAttribute together{};
  together.id = cudaLaunchAttributeCooperative;
  together.val.cooperative = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(processors));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = static_cast<size_t>(launch.layout.total);
  config.stream = stream;
  config.attrs = &together;
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
                    shape.H * shape.D == C && shape.D % kChannels == 0 &&
                    shape.D <= kPartialLanes * kChannels && C * bytes % kStepBytes == 0 &&
                    shape.hidden * bytes % kStepBytes == 0 && shape.vocab % 2 == 0 &&
                    shape.D >= 64 && processors_for(C) >= kLeastProcessors;
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
  Launch launch{
      decode,
      {plan_matrix(3 * C, row, processors), plan_matrix(C, row, processors),
       plan_matrix(decode.hidden, row, processors), plan_matrix(C, hidden_row, processors),
       plan_matrix(decode.vocab, row, processors)},
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
