// What multiprocessors do before a product, each for itself: take the activations that the others
// sent, or the embedding, and normalize them.
#pragma once

#include "cuda/decode_exchange.cuh"
#include "cuda/decode_product.cuh"

namespace llm::cuda {

// A row is kParts parts whatever the number of sequences, so that its statistics are the same sums.
constexpr int kParts = kDecodeWarps;

// What the warps tell each other of the rows.
struct NormShared {
  alignas(16) float sums[kDecodeSequences][kParts], squares[kDecodeSequences][kParts];
};

#ifdef LLM_HOPPER

// The warps that share the row of one sequence, of kS, and a thread's place among their lanes.
template <int kS>
struct RowPlace {
  static constexpr int kWarps = kDecodeWarps / kS;
  static constexpr int kLanes = kWarps * kWarp;
  static constexpr int kPairs = kDecodeChannels / 2 / kLanes;  // of a thread at most
  int s = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  int source;  // the row to read; where fewer sequences than kS live, the last of them stands in

  __device__ __forceinline__ explicit RowPlace(int live) : source(min(s, live - 1)) {}
  __device__ __forceinline__ int pair(int n) const { return lane + n * kLanes; }
  // The part of pairs n, n + kS, ... of this thread's warp, n < kS.
  __device__ __forceinline__ int part(int n) const { return lane / kWarp + n * kWarps; }
};

// Elements 2 pair and 2 pair + 1 of the embedding of sequence s.
template <typename T>
__device__ __forceinline__ float2 embed_pair(const TransformerDecode& decode, int s, int pair) {
  const int64_t C = decode.C;
  const T* token = static_cast<const T*>(decode.token_table) + decode.tokens[s] * C;
  const T* position = static_cast<const T*>(decode.position_table) + decode.positions[s] * C;
  const float2 a = load_pair<T>(token, pair);
  const float2 b = load_pair<T>(position, pair);
  return make_float2(a.x + b.x, a.y + b.y);
}

template <typename T>
__device__ __forceinline__ void store_pair(char* row, int pair, float a, float b) {
  if constexpr (sizeof(T) == 4) {
    reinterpret_cast<float2*>(row)[pair] = make_float2(a, b);
  } else {
    reinterpret_cast<__nv_bfloat162*>(row)[pair] = __floats2bfloat162_rn(a, b);
  }
}

// The sum over a row, for all its threads, of which each has `mine` of parts number place.part(n).
// totals: (kS, kParts), not in use by others
template <int kS>
__device__ __forceinline__ float row_sum(const float (&mine)[kS], const RowPlace<kS>& place,
                                         float (&totals)[kDecodeSequences][kParts]) {
#pragma unroll
  for (int n = 0; n < kS; ++n) {
    const float part = warp_sum(mine[n]);
    if (threadIdx.x % kWarp == 0) totals[place.s][place.part(n)] = part;
  }
  computing_barrier();
  const float4* row = reinterpret_cast<const float4*>(totals[place.s]);
  static_assert(kParts == 8);
  const float4 a = row[0], b = row[1];
  return ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w));
}

// x = layernorm(rows) of what was sent, or where `units` is null of the embedding.
//   units: (live, C) f32   weight, bias: (C), in shared memory   shared: not in use by others
// Calls early() while it waits. Ends with a barrier: x is there.
template <typename T, int kS, typename Early>
__device__ __forceinline__ void normalize(const Activations& x, const uint64_t* units,
                                          uint32_t flag, const TransformerDecode& decode,
                                          const void* weight, const void* bias, NormShared& shared,
                                          Early&& early) {
  const RowPlace<kS> place(decode.S);
  constexpr int kPairs = RowPlace<kS>::kPairs, kAsked = kPairs < 8 ? kPairs : 8;
  const int pairs = decode.C / 2;
  const float share = 1 / static_cast<float>(decode.C);
  Inbox<kAsked> inbox{units + int64_t{place.source} * decode.C + 2 * place.lane, place.kLanes,
                      pairs - place.lane};
  if (units != nullptr) inbox.ask();
  early();
  float2 value[kPairs];
#pragma unroll
  for (int begin = 0; begin < kPairs; begin += kAsked) {
    if (units != nullptr) {
      if (begin > 0) {
        inbox.units += 2 * kAsked * place.kLanes;
        inbox.count -= kAsked * place.kLanes;
        inbox.ask();
      }
      inbox.wait(flag);
    }
#pragma unroll
    for (int n = 0; n < kAsked; ++n) {
      const uint2 data = inbox.two[n].data();
      const bool given = place.pair(begin + n) < pairs;
      value[begin + n].x = given ? __uint_as_float(data.x) : 0;
      value[begin + n].y = given ? __uint_as_float(data.y) : 0;
    }
  }
  if (units == nullptr) {
    for (int n = 0; n < kPairs; ++n) {
      const int pair = place.pair(n);
      if (pair < pairs) value[n] = embed_pair<T>(decode, place.source, pair);
    }
  }
  __syncwarp();
  float mine[kS] = {};
#pragma unroll
  for (int n = 0; n < kPairs; ++n) mine[n % kS] += value[n].x + value[n].y;
  const float mean = row_sum<kS>(mine, place, shared.sums) * share;
#pragma unroll
  for (int n = 0; n < kPairs; ++n) {
    value[n].x -= mean, value[n].y -= mean;
    const float square = value[n].x * value[n].x + value[n].y * value[n].y;
    mine[n % kS] = (n < kS ? 0 : mine[n % kS]) + (place.pair(n) < pairs ? square : 0);
  }
  const float variance = row_sum<kS>(mine, place, shared.squares) * share;
  const float scale = rsqrtf(variance + decode.epsilon);
  char* to = x.data + place.s * x.stride;
#pragma unroll
  for (int n = 0; n < kPairs; ++n) {
    const int pair = place.pair(n);
    if (pair >= pairs) continue;
    const float2 w = load_pair<T>(weight, pair), b = load_pair<T>(bias, pair);
    store_pair<T>(to, pair, value[n].x * scale * w.x + b.x, value[n].y * scale * w.y + b.y);
  }
  computing_barrier();
}

// x = what was sent, `live` rows of K.   units: (live, K) of T
// Calls early() while it waits. Ends with a barrier.
template <typename T, int kS, typename Early>
__device__ __forceinline__ void take_activations(const Activations& x, const uint64_t* units, int K,
                                                 int live, uint32_t flag, Early&& early) {
  constexpr int kTaken = 2 * kUnitElements<T>;  // elements of two units: 8 bytes
  constexpr int kAsked = 8;
  const int per_row = K / kTaken;
  const RowPlace<kS> place(live);
  Inbox<kAsked> inbox{units + place.source * (K / kUnitElements<T>)+2 * place.lane, place.kLanes,
                      per_row - place.lane};
  inbox.ask();
  early();
  uint2* to = reinterpret_cast<uint2*>(x.data + place.s * x.stride) + place.lane;
#pragma unroll 1
  while (true) {
    inbox.wait(flag);
#pragma unroll
    for (int n = 0; n < kAsked; ++n) {
      if (n * place.kLanes < inbox.count) to[n * place.kLanes] = inbox.two[n].data();
    }
    inbox.count -= kAsked * place.kLanes;
    if (inbox.count <= 0) break;
    inbox.units += 2 * kAsked * place.kLanes;
    to += kAsked * place.kLanes;
    inbox.ask();
  }
  computing_barrier();
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
