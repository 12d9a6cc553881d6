// What multiprocessors do before a product, each for itself: take the activations that the others
// sent, or the embedding, and normalize them.
#pragma once

#include "cuda/decode_exchange.cuh"
#include "cuda/decode_product.cuh"

namespace llm::cuda {

#ifdef LLM_HOPPER

// A row is kParts parts whatever the number of sequences, so that its statistics are the same sums.
constexpr int kParts = kDecodeWarps;

// Of a part of a row. In f64 one pass is enough: nothing cancels that f32 could tell.
struct Moments {
  double sum, squares;
};

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

// Pairs that a thread asks for at once.
template <int kS>
constexpr int kAsked = RowPlace<kS>::kPairs < 8 ? RowPlace<kS>::kPairs : 8;

// Where rows come from: what was sent under a flag ...
template <int kS>
struct SentRows {
  const uint64_t* units;  // (kS, C)
  uint32_t flag;
  int C;
  TwoUnits two[kAsked<kS>];

  // For pairs begin ... begin + kAsked - 1 of this thread.
  __device__ __forceinline__ void ask(const RowPlace<kS>& place, int begin) {
    const uint64_t* row = units + place.source * C;
#pragma unroll
    for (int n = 0; n < kAsked<kS>; ++n) {
      const int pair = place.pair(begin + n);
      if (2 * pair < C) two[n].load(row + 2 * pair);
    }
  }
  __device__ __forceinline__ float2 take(const RowPlace<kS>& place, int n) {
    TwoUnits& units_of_pair = two[n % kAsked<kS>];
    units_of_pair.wait(units + place.source * C + 2 * place.pair(n), flag);
    const uint2 data = units_of_pair.data();
    return make_float2(__uint_as_float(data.x), __uint_as_float(data.y));
  }
};

// Elements 2 pair and 2 pair + 1 of the embedding of sequence s.
template <typename T>
__device__ __forceinline__ float2 embed_pair(const TransformerDecode& decode, int s, int pair) {
  const int64_t C = decode.C;
  const T* token = static_cast<const T*>(decode.token_table) + decode.tokens[s] * C;
  const T* position = static_cast<const T*>(decode.position_table) + decode.positions[s] * C;
  const float2 a = load_pair<T>(token, pair), b = load_pair<T>(position, pair);
  return make_float2(a.x + b.x, a.y + b.y);
}

// ... or the embedding.
template <typename T, int kS>
struct EmbeddedRows {
  const TransformerDecode& decode;

  __device__ __forceinline__ void ask(const RowPlace<kS>&, int) {}
  __device__ __forceinline__ float2 take(const RowPlace<kS>& place, int n) {
    return embed_pair<T>(decode, place.source, place.pair(n));
  }
};

template <typename T>
__device__ __forceinline__ void store_pair(char* row, int pair, float a, float b) {
  if constexpr (sizeof(T) == 4) {
    reinterpret_cast<float2*>(row)[pair] = make_float2(a, b);
  } else {
    reinterpret_cast<__nv_bfloat162*>(row)[pair] = __floats2bfloat162_rn(a, b);
  }
}

// Of the numbers of a part, of which each lane has x[first], x[first + kS], ...; zeros beyond.
template <int kS, int kPairs>
__device__ __forceinline__ Moments moments_of(const float2 (&x)[kPairs], int first) {
  Moments moments{0, 0};
#pragma unroll
  for (int n = first; n < kPairs; n += kS) {
    const double a = x[n].x, b = x[n].y;
    moments.sum += a + b;
    moments.squares += a * a + b * b;
  }
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    moments.sum += __shfl_xor_sync(~0u, moments.sum, offset);
    moments.squares += __shfl_xor_sync(~0u, moments.squares, offset);
  }
  return moments;
}

// x = layernorm(rows).   moments: (kS, kParts), not in use by others
// Ends with a barrier: x is there.
template <typename T, int kS, typename Rows>
__device__ __forceinline__ void normalize(const Activations& x, Rows rows, const DecodeNorm& norm,
                                          int C, double inverse_C, int live, float epsilon,
                                          Moments* moments) {
  const RowPlace<kS> place(live);
  constexpr int kPairs = RowPlace<kS>::kPairs;
  constexpr bool kEarly = kPairs <= 8;  // the weights wait in registers
  const int pairs = C / 2;
  float2 value[kPairs], weight[kEarly ? kPairs : 1], bias[kEarly ? kPairs : 1];
  bool given[kPairs];
  rows.ask(place, 0);
#pragma unroll
  for (int n = 0; n < kPairs; ++n) {
    given[n] = place.pair(n) < pairs;
    if (!kEarly || !given[n]) continue;
    weight[n] = load_pair<T>(norm.weight, place.pair(n));
    bias[n] = load_pair<T>(norm.bias, place.pair(n));
  }
#pragma unroll
  for (int n = 0; n < kPairs; ++n) {
    if (n > 0 && n % kAsked<kS> == 0) rows.ask(place, n);
    value[n] = given[n] ? rows.take(place, n) : make_float2(0, 0);
  }
  __syncwarp();
  Moments* row = moments + place.s * kParts;
#pragma unroll
  for (int n = 0; n < kS; ++n) {
    const Moments part = moments_of<kS>(value, n);
    if (threadIdx.x % kWarp == 0) row[place.part(n)] = part;
  }
  computing_barrier();
  double sum = 0, squares = 0;
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    sum += row[part].sum;
    squares += row[part].squares;
  }
  sum *= inverse_C;
  const float mean = static_cast<float>(sum);
  const float scale = rsqrtf(static_cast<float>(squares * inverse_C - sum * sum) + epsilon);
  char* to = x.data + place.s * x.stride;
#pragma unroll
  for (int n = 0; n < kPairs; ++n) {
    if (!given[n]) continue;
    const float2 w = kEarly ? weight[kEarly ? n : 0] : load_pair<T>(norm.weight, place.pair(n));
    const float2 b = kEarly ? bias[kEarly ? n : 0] : load_pair<T>(norm.bias, place.pair(n));
    store_pair<T>(to, place.pair(n), (value[n].x - mean) * scale * w.x + b.x,
                  (value[n].y - mean) * scale * w.y + b.y);
  }
  computing_barrier();
}

// x = what was sent, `live` rows of K.   units: (live, K) of T. Ends with a barrier.
template <typename T, int kS>
__device__ __forceinline__ void take_activations(const Activations& x, const uint64_t* units, int K,
                                                 int live, uint32_t flag) {
  constexpr int kTaken = 2 * kUnitElements<T>;  // elements of two units: 8 bytes
  const int per_row = K / kTaken;
  const RowPlace<kS> place(live);
  uint2* to = reinterpret_cast<uint2*>(x.data + place.s * x.stride);
  receive<8>(units + place.source * (K / kUnitElements<T>), place.lane, place.kLanes, per_row, flag,
             [&](int i, uint2 data) { to[i] = data; });
  computing_barrier();
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
