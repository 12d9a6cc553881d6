// Attention of a few queries over a paged cache of keys and values, and appending to the cache.
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
// Rounding: q and the cache are widened; all is f32; out is rounded once. cache_append rounds x to
// the type of the cache.
// Bytes: the visible keys and values once per query and head (mostly from the L2 cache where
// several heads or queries share them).
#include "cuda/attention_decode.h"
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
  int64_t T, H;
  float scale;
};

__device__ __forceinline__ int64_t cache_offset(const PagedCache& cache, int64_t b, int position,
                                                int64_t g) {
  const int size = static_cast<int>(cache.block_size);
  const int64_t block = cache.block_table[b * cache.max_blocks + position / size];
  return ((block * size + position % size) * cache.KV + g) * cache.D;
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
                                          int64_t b, int64_t g, int visible) {
  constexpr int kGroups = kThreads / kLanes;
  const int D = static_cast<int>(decode.keys.D), channel = threadIdx.x % kLanes * kChannels;
  const Cache* keys = static_cast<const Cache*>(decode.keys.data);
  const Cache* values = static_cast<const Cache*>(decode.values.data);
  Partial partial;
  for (int begin = 0; begin < visible; begin += kGroups * kKeys) {
    const int first = begin + threadIdx.x / kLanes;
    float score[kKeys], key[kKeys][kChannels], value[kKeys][kChannels];
#pragma unroll
    for (int n = 0; n < kKeys; ++n) {
      const int j = min(first + n * kGroups, visible - 1);
      load_channels<kAligned>(key[n], keys + cache_offset(decode.keys, b, j, g), channel, D);
      load_channels<kAligned>(value[n], values + cache_offset(decode.values, b, j, g), channel, D);
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
  const int64_t h = blockIdx.x % decode.H, i = blockIdx.x / decode.H % decode.T;
  const int64_t b = blockIdx.x / decode.H / decode.T;
  const int64_t g = h * decode.keys.KV / decode.H;
  const int visible = max(0, decode.lengths[b] - static_cast<int>(decode.T - i) + 1);
  const int D = static_cast<int>(decode.keys.D), channel = threadIdx.x % kLanes * kChannels;

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
  const int64_t D = decode.keys.D;
  const auto kernel = D <= 64    ? attention_decode_kernel<Type, Cache, kAligned, 8>
                      : D <= 128 ? attention_decode_kernel<Type, Cache, kAligned, 16>
                                 : attention_decode_kernel<Type, Cache, kAligned, 32>;
  kernel<<<blocks, kThreads, 0, stream>>>(decode);
}

// A thread per element of x.
template <typename Type, typename Cache>
__global__ void __launch_bounds__(kThreads)
    cache_append_kernel(PagedCache cache, Heads x, const int32_t* lengths, int64_t B, int64_t T) {
  const int64_t element = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t d = element % cache.D, head = element / cache.D % cache.KV;
  const int64_t row = element / cache.D / cache.KV, t = row % T, b = row / T;
  if (b >= B) return;
  const int64_t position = lengths[b] - T + t;
  if (position < 0) return;
  const Type* from = static_cast<const Type*>(x.data) + b * x.batch + t * x.row + head * x.head;
  Cache* to =
      static_cast<Cache*>(cache.data) + cache_offset(cache, b, static_cast<int>(position), head);
  to[d] = from_float<Cache>(to_float(from[d]));
}

}  // namespace

void attention_decode(const Heads& out, const Heads& q, Element element, const PagedCache& keys,
                      const PagedCache& values, const int32_t* lengths, int64_t B, int64_t T,
                      int64_t H, float scale, cudaStream_t stream) {
  if (B <= 0 || T <= 0 || H <= 0) return;
  const Decode decode{out, q, keys, values, lengths, T, H, scale};
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

void cache_append(const PagedCache& cache, const Heads& x, Element element, const int32_t* lengths,
                  int64_t B, int64_t T, cudaStream_t stream) {
  const int64_t elements = B * T * cache.KV * cache.D;
  if (elements <= 0) return;
  const unsigned blocks = static_cast<unsigned>(ceil_div(elements, kThreads));
  with_element(element, [&](auto type) {
    with_element(cache.element, [&](auto cache_type) {
      cache_append_kernel<decltype(type), decltype(cache_type)>
          <<<blocks, kThreads, 0, stream>>>(cache, x, lengths, B, T);
    });
  });
}

}  // namespace llm::cuda
