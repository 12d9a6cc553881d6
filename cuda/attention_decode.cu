// Attention of a few queries over a paged cache of keys and values, and appending to the cache.
// One bf16 query of a sequence goes to attention_decode_mma.cu where that takes it.
//
// attention_decode: one block of 8 warps per (sequence, query, head). The lanes of a warp form
// groups, each as wide as a head needs at 8 channels per lane (D = 64: 8 lanes, so 4 groups in a
// warp): a lane has 8 channels of the query, of a key, of a value and of the sum. The groups of the
// block take the visible keys in turn, kKeys at a time, so that several loads are in flight, each
// group with its own running maximum, sum of exponentials and weighted sum of values (online
// softmax). At the end the groups of a warp are merged by shuffles and the warps through shared
// memory, in a fixed order. Where D is not a multiple of 8, a lane loads channel by channel.
//
// A head of the queries finds its keys' head at h * KV / H. A query that sees no key gives 0.
//
// Rounding: q and the cache are widened; all is f32; out is rounded once. cache_append rounds k
// and v to the type of the cache.
// Bytes: the visible keys and values once per query and head (mostly from the L2 cache where
// several heads or queries share them).
#include "cuda/attention_decode.h"
#include "cuda/attention_decode_mma.h"
#include "cuda/online_softmax.cuh"
#include "cuda/packet.cuh"

namespace llm::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kKeys = 4;  // of a group in flight

struct Decode {
  Heads out, q;
  PagedCache keys, values;
  const int32_t* lengths;
  int T, H;
  float scale;
};

// Where a position of sequence b lies, in tokens of the cache.
__device__ __forceinline__ int cached_row(const PagedCache& cache, int b, int position) {
  const auto place = static_cast<unsigned>(position),
             size = static_cast<unsigned>(cache.block_size);
  const int32_t* table = cache.block_table + b * cache.max_blocks;
  if (cache.block_shift >= 0) {
    return (__ldg(table + (place >> cache.block_shift)) << cache.block_shift) +
           static_cast<int>(place & (size - 1));
  }
  return __ldg(table + place / size) * cache.block_size + static_cast<int>(place % size);
}

// Channels [channel, channel + 8) of a row of D, as f32; 0 beyond D.
template <bool kAligned, typename T>
__device__ __forceinline__ void load_channels(float (&to)[kChannels], const T* row, int channel,
                                              int D) {
  if constexpr (kAligned) {
    constexpr int kSize = Vector<T>::kSize;
    if (channel < D) {
#pragma unroll
      for (int part = 0; part < kChannels / kSize; ++part) {
        const Vector<T> x = load(row + channel + part * kSize);
#pragma unroll
        for (int i = 0; i < kSize; ++i) to[part * kSize + i] = to_float(x.at[i]);
      }
      return;
    }
  }
#pragma unroll
  for (int i = 0; i < kChannels; ++i) to[i] = channel + i < D ? to_float(row[channel + i]) : 0;
}

// What the group of this lane makes of its keys. All lanes of a warp stay together: keys from
// `visible` on are loaded as the last one and not added.
template <typename Cache, bool kAligned, int kLanes>
__device__ __forceinline__ Partial attend(const Decode& decode, const float (&query)[kChannels],
                                          int b, int g, int visible) {
  constexpr int kGroups = kThreads / kLanes;
  const int D = decode.keys.D, row_size = decode.keys.KV * D;
  const int channel = threadIdx.x % kLanes * kChannels;
  const Cache* keys = static_cast<const Cache*>(decode.keys.data) + g * D;
  const Cache* values = static_cast<const Cache*>(decode.values.data) + g * D;
  Partial partial;
  for (int begin = 0; begin < visible; begin += kGroups * kKeys) {
    const int first = begin + threadIdx.x / kLanes;
    float score[kKeys], key[kKeys][kChannels], value[kKeys][kChannels];
#pragma unroll
    for (int n = 0; n < kKeys; ++n) {
      const int j = min(first + n * kGroups, visible - 1);
      const int64_t at = int64_t{cached_row(decode.keys, b, j)} * row_size;
      load_channels<kAligned>(key[n], keys + at, channel, D);
      load_channels<kAligned>(value[n], values + at, channel, D);
    }
    float top = partial.top;
#pragma unroll
    for (int n = 0; n < kKeys; ++n) {
      float product = 0;
#pragma unroll
      for (int i = 0; i < kChannels; ++i) product += query[i] * key[n][i];
      score[n] = group_sum<kLanes>(product) * decode.scale;
      if (first + n * kGroups < visible) top = fmaxf(top, score[n]);
    }
    partial.raise(top);
#pragma unroll
    for (int n = 0; n < kKeys; ++n) {
      if (first + n * kGroups < visible) partial.add(score[n], value[n]);
    }
  }
  return partial;
}

// Type: of q and out. Cache: of the cache.
template <typename Type, typename Cache, bool kAligned, int kLanes>
__global__ void __launch_bounds__(kThreads) attention_decode_kernel(Decode decode) {
  __shared__ Partial shared[kWarps][kLanes];
  const int row = static_cast<int>(blockIdx.x) / decode.H;
  const int h = static_cast<int>(blockIdx.x) % decode.H, i = row % decode.T, b = row / decode.T;
  const int g = h * decode.keys.KV / decode.H;
  const int visible = max(0, decode.lengths[b] - (decode.T - i) + 1);
  const int D = decode.keys.D, channel = threadIdx.x % kLanes * kChannels;

  const Heads& q = decode.q;
  float query[kChannels];
  load_channels<false>(
      query, static_cast<const Type*>(q.data) + b * q.batch + i * q.row + h * q.head, channel, D);
  Partial partial = attend<Cache, kAligned, kLanes>(decode, query, b, g, visible);
  merge_warp<kLanes>(partial);
  if (threadIdx.x % kWarp < kLanes) shared[threadIdx.x / kWarp][threadIdx.x % kWarp] = partial;
  __syncthreads();
  if (threadIdx.x >= kLanes) return;
  for (int warp = 1; warp < kWarps; ++warp) partial.merge(shared[warp][threadIdx.x]);
  const Heads& out = decode.out;
  Type* to = static_cast<Type*>(out.data) + b * out.batch + i * out.row + h * out.head + channel;
#pragma unroll
  for (int c = 0; c < kChannels; ++c) {
    if (channel + c < D) {
      to[c] = from_float<Type>(visible > 0 ? partial.sum[c] / partial.total : 0);
    }
  }
}

template <typename Type, typename Cache, bool kAligned>
void launch_decode(const Decode& decode, unsigned blocks, cudaStream_t stream) {
  const int D = decode.keys.D;
  const auto kernel = D <= 64    ? attention_decode_kernel<Type, Cache, kAligned, 8>
                      : D <= 128 ? attention_decode_kernel<Type, Cache, kAligned, 16>
                                 : attention_decode_kernel<Type, Cache, kAligned, 32>;
  kernel<<<blocks, kThreads, 0, stream>>>(decode);
}

// What is appended to a cache.
struct Appended {
  PagedCache keys, values;
  Heads k, v;
  const int32_t* lengths;
  int T;
};

template <typename T, int kWidth>
struct alignas(kWidth * sizeof(T) < 16 ? sizeof(T) : 16) Neighbours {
  T at[kWidth];
};

// A block per token; kWidth neighbouring channels of a head at a time, first of its keys, then of
// its values.
template <typename Type, typename Cache, int kWidth>
__global__ void __launch_bounds__(kThreads) cache_append_kernel(Appended appended) {
  const PagedCache& cache = appended.keys;
  const int row = static_cast<int>(blockIdx.x), t = row % appended.T, b = row / appended.T;
  const int position = appended.lengths[b] - appended.T + t;
  if (position < 0) return;
  const int64_t at = int64_t{cached_row(cache, b, position)} * cache.KV * cache.D;
  const int parts = cache.D / kWidth, count = cache.KV * parts;
  for (int i = threadIdx.x; i < 2 * count; i += kThreads) {
    const bool value = i >= count;
    const int part = value ? i - count : i, head = part / parts;
    const Heads& x = value ? appended.v : appended.k;
    const Type* from = static_cast<const Type*>(x.data) + b * x.batch + t * x.row + head * x.head +
                       (part - head * parts) * kWidth;
    void* data = value ? appended.values.data : cache.data;
    const auto numbers = *reinterpret_cast<const Neighbours<Type, kWidth>*>(from);
    Neighbours<Cache, kWidth> to;
#pragma unroll
    for (int n = 0; n < kWidth; ++n) to.at[n] = from_float<Cache>(to_float(numbers.at[n]));
    *reinterpret_cast<Neighbours<Cache, kWidth>*>(static_cast<Cache*>(data) + at + part * kWidth) =
        to;
  }
}

}  // namespace

void attention_decode(const Heads& out, const Heads& q, Element element, const PagedCache& keys,
                      const PagedCache& values, const int32_t* lengths, int64_t B, int64_t T,
                      int64_t H, float scale, cudaStream_t stream) {
  if (B <= 0 || T <= 0 || H <= 0) return;
  const TokenAttention alone{
      out, q, keys, values, lengths, static_cast<int>(B), static_cast<int>(H), scale};
  if (T == 1 && attention_decode_mma_takes(alone, element)) {
    return attention_decode_mma(alone, /*early=*/false, stream);
  }
  const Decode decode{out,  q, keys, values, lengths, static_cast<int>(T), static_cast<int>(H),
                      scale};
  const unsigned blocks = static_cast<unsigned>(B * T * H);
  with_element(element, [&](auto type) {
    with_element(keys.element, [&](auto cache_type) {
      using Type = decltype(type);
      using Cache = decltype(cache_type);
      if (keys.D % kChannels == 0) {
        launch_decode<Type, Cache, true>(decode, blocks, stream);
      } else {
        launch_decode<Type, Cache, false>(decode, blocks, stream);
      }
    });
  });
}

void cache_append(const PagedCache& keys, const PagedCache& values, const Heads& k, const Heads& v,
                  Element element, const int32_t* lengths, int64_t B, int64_t T,
                  cudaStream_t stream) {
  if (B <= 0 || T <= 0 || keys.KV <= 0 || keys.D <= 0) return;
  const Appended appended{keys, values, k, v, lengths, static_cast<int>(T)};
  const unsigned blocks = static_cast<unsigned>(B * T);
  const bool packets = keys.D % kChannels == 0 && rows_aligned(k) && rows_aligned(v) &&
                       aligned_to_16(keys.data) && aligned_to_16(values.data);
  with_element(element, [&](auto type) {
    with_element(keys.element, [&](auto cache_type) {
      using Type = decltype(type);
      using Cache = decltype(cache_type);
      const auto kernel = packets ? cache_append_kernel<Type, Cache, kChannels>
                                  : cache_append_kernel<Type, Cache, 1>;
      kernel<<<blocks, kThreads, 0, stream>>>(appended);
    });
  });
}

}  // namespace llm::cuda
