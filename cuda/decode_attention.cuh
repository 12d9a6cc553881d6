// Attention of one new token per sequence over a paged cache, for transformer_decode.
//
// A task is one head of one sequence, or where there are many multiprocessors and keys, a chunk of
// its cached keys. Cached keys and values do not depend on the token, so a task asks for its first
// ones before it waits for the query. The new key and value come with the query, are the last
// chunk's and are put into the cache. Where there are chunks, the first one's multiprocessor takes
// the others' results and merges them in their order.
#pragma once

#include "cuda/decode_exchange.cuh"
#include "cuda/decode_product.cuh"
#include "cuda/online_softmax.cuh"

namespace llm::cuda {

constexpr int kChunkKeys = 384;  // that are worth a chunk of their own

#ifdef LLM_HOPPER

constexpr int kMostChannels = kPartialLanes * kChannels;  // of a head

struct AttentionTask {
  int s, h, chunk, chunks, slot;  // slot: of the first chunk's partial result
};

struct AttentionShared {
  float qkv[3][kMostChannels];  // of one head
  // Partial softmaxes over the keys of a warp or a chunk.
  float sums[kDecodeWarps][kMostChannels], tops[kDecodeWarps], totals[kDecodeWarps];
  int most;            // chunks of the longest sequence
  AttentionTask task;  // this multiprocessor's first; none where chunk >= chunks
};

// kChannels channels of a key or value as they lie in the cache.
template <typename T>
struct CachedChannels {
  Vector<T> parts[kChannels / Vector<T>::kSize];

  __device__ __forceinline__ void load(const T* from) {
#pragma unroll
    for (int i = 0; i < kChannels / Vector<T>::kSize; ++i) {
      const int4 bits = __ldcg(reinterpret_cast<const int4*>(from) + i);
      parts[i] = *reinterpret_cast<const Vector<T>*>(&bits);
    }
  }
  __device__ __forceinline__ void unpack(float (&to)[kChannels]) const {
#pragma unroll
    for (int i = 0; i < kChannels; ++i) {
      to[i] = to_float(parts[i / Vector<T>::kSize].at[i % Vector<T>::kSize]);
    }
  }
};

// Cached keys and values of one head, some per group of kLanes lanes at a time.
template <typename T, int kLanes>
struct CachedKeys {
  static constexpr int kGroups = kDecodeThreads / kLanes;
  static constexpr int kCount = 4;  // of a group, at once

  const T *keys, *values;              // at the lane's channels of the head
  const T *later_keys, *later_values;  // the same of the next layer
  const int32_t* blocks;               // of the sequence
  int block_shift, row, end;
  bool active;  // the lane has channels
  CachedChannels<T> key[kCount], value[kCount];

  // Positions from `begin` on, below end.
  __device__ __forceinline__ void load(int begin) {
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
      key[n] = value[n] = CachedChannels<T>{};
      const int position = begin + threadIdx.x / kLanes + n * kGroups;
      if (position >= end || !active) continue;
      const int block = __ldg(blocks + (position >> block_shift));
      const int place = (block << block_shift) + (position & ((1 << block_shift) - 1));
      const int64_t offset = int64_t{place} * row;
      key[n].load(keys + offset);
      value[n].load(values + offset);
      prefetch_line(later_keys + offset);
      prefetch_line(later_values + offset);
    }
  }
  __device__ __forceinline__ void attend(Partial& partial, const float (&query)[kChannels],
                                         int begin, float scale) const {
    const int first = begin + threadIdx.x / kLanes;
    float score[kCount], top = partial.top;
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
      float channels[kChannels], product = 0;
      key[n].unpack(channels);
#pragma unroll
      for (int i = 0; i < kChannels; ++i) product += query[i] * channels[i];
      score[n] = group_sum<kLanes>(product) * scale;
      if (first + n * kGroups < end) top = fmaxf(top, score[n]);
    }
    partial.raise(top);
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
      float channels[kChannels];
      value[n].unpack(channels);
      if (first + n * kGroups < end) partial.add(score[n], channels);
    }
  }
};

// Chunks of a sequence of `length` tokens, the new one included.
__device__ __forceinline__ int chunks_of(int length) {
  return max(1, min(kMostChunks, (length - 1 + kChunkKeys - 1) / kChunkKeys));
}

// q, k and v of the task's head.
template <typename T>
__device__ __forceinline__ void take_qkv(AttentionShared& shared, const TransformerDecode& decode,
                                         const AttentionTask& task, const uint64_t* units,
                                         uint32_t flag) {
  constexpr int kTaken = 2 * kUnitElements<T>;
  const int loads = decode.D / kTaken;  // of each of the three
  const int part = threadIdx.x / (kDecodeThreads / 4);
  const int lane = threadIdx.x % (kDecodeThreads / 4);
  if (part < 3) {
    const int64_t row = int64_t{3} * task.s + part;
    const uint64_t* from = units + (row * decode.C + int64_t{task.h} * decode.D) / kUnitElements<T>;
    receive<1>(from, lane, kDecodeThreads / 4, loads, flag, [&](int i, uint2 data) {
      float* to = shared.qkv[part] + i * kTaken;
      if constexpr (sizeof(T) == 4) {
        to[0] = __uint_as_float(data.x), to[1] = __uint_as_float(data.y);
      } else {
        to[0] = __uint_as_float(data.x << 16), to[1] = __uint_as_float(data.x & 0xffff0000u);
        to[2] = __uint_as_float(data.y << 16), to[3] = __uint_as_float(data.y & 0xffff0000u);
      }
    });
  }
  computing_barrier();
}

template <typename T>
__device__ __forceinline__ void append_to_cache(const AttentionShared& shared,
                                                const TransformerDecode& decode,
                                                const DecodeBlock& block, const AttentionTask& task,
                                                int position) {
  const int D = decode.D, shift = decode.block_shift;
  const int64_t page = decode.block_table[task.s * decode.max_blocks + (position >> shift)];
  const int64_t place = (page << shift) + (position & ((1 << shift) - 1));
  const int part = threadIdx.x / kMostChannels, channel = threadIdx.x % kMostChannels;
  static_assert(kDecodeThreads == 2 * kMostChannels, "keys and values at once");
  if (channel >= D) return;
  T* to = static_cast<T*>(part == 0 ? block.keys : block.values);
  to[(place * decode.H + task.h) * D + channel] = from_float<T>(shared.qkv[1 + part][channel]);
}

// A channel's part of a softmax over some keys.
struct ChannelPartial {
  float top, total, sum;
};

// Of the first `count` parts in shared memory, for channel threadIdx.x < D, in their order.
__device__ __forceinline__ ChannelPartial merge_parts(const AttentionShared& shared, int count,
                                                      int D) {
  computing_barrier();
  ChannelPartial all{-FLT_MAX, 0, 0};
  if (threadIdx.x >= D) return all;
#pragma unroll
  for (int i = 0; i < kDecodeWarps; ++i) {
    if (i < count) all.top = fmaxf(all.top, shared.tops[i]);
  }
#pragma unroll
  for (int i = 0; i < kDecodeWarps; ++i) {
    if (i >= count) continue;
    const float factor = exp_of(shared.tops[i] - all.top);
    all.total += factor * shared.totals[i];
    all.sum += factor * shared.sums[i][threadIdx.x];
  }
  return all;
}

// A partial result as units: its maximum and total, then the channels' sums.
__device__ __forceinline__ uint64_t* partial_at(Exchange& exchange, int slot) {
  return exchange.partials + int64_t{slot} * kPartialLanes * kPartialUnits;
}

__device__ __forceinline__ void send_partial(uint64_t* to, const ChannelPartial& all, int D,
                                             uint32_t flag) {
  const float next = __shfl_down_sync(~0u, all.sum, 1);
  if (threadIdx.x >= D) return;
  if (threadIdx.x == 0) send(to, all.top, all.total, flag);
  if (threadIdx.x % 2 == 0) send(to + 2 + threadIdx.x, all.sum, next, flag);
}

// The other chunks' results, one warp for each, and all in the order of the chunks.
__device__ __forceinline__ ChannelPartial merge_chunks(AttentionShared& shared, ChannelPartial all,
                                                       const AttentionTask& task,
                                                       Exchange& exchange, int D, uint32_t flag) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int begin = 1; begin < task.chunks; begin += kDecodeWarps - 1) {
    computing_barrier();  // the parts were read
    if (threadIdx.x < D) shared.sums[0][threadIdx.x] = all.sum;
    if (threadIdx.x == 0) shared.tops[0] = all.top, shared.totals[0] = all.total;
    const int chunk = begin + warp - 1;
    if (warp > 0 && chunk < task.chunks) {
      receive<3>(partial_at(exchange, task.slot + chunk), lane, kWarp, D / 2 + 1, flag,
                 [&](int i, uint2 data) {
                   const float a = __uint_as_float(data.x), b = __uint_as_float(data.y);
                   if (i == 0) {
                     shared.tops[warp] = a, shared.totals[warp] = b;
                   } else {
                     shared.sums[warp][2 * i - 2] = a, shared.sums[warp][2 * i - 1] = b;
                   }
                 });
    }
    all = merge_parts(shared, min(kDecodeWarps, task.chunks - begin + 1), D);
  }
  return all;
}

template <typename T, int kLanes>
__device__ __forceinline__ void run_task(AttentionShared& shared, const TransformerDecode& decode,
                                         const DecodeBlock& block, const DecodeBlock& later,
                                         const AttentionTask& task, int length, Exchange& exchange,
                                         uint32_t flag) {
  const int D = decode.D, channel = threadIdx.x % kLanes * kChannels, cached = length - 1;
  const bool whole = task.chunks == 1;
  const int begin = whole ? 0 : cached * task.chunk / task.chunks;
  const bool last = task.chunk == task.chunks - 1;
  CachedKeys<T, kLanes> keys;
  keys.keys = static_cast<const T*>(block.keys) + task.h * D + channel;
  keys.values = static_cast<const T*>(block.values) + task.h * D + channel;
  keys.later_keys = static_cast<const T*>(later.keys) + task.h * D + channel;
  keys.later_values = static_cast<const T*>(later.values) + task.h * D + channel;
  keys.blocks = decode.block_table + task.s * decode.max_blocks;
  keys.block_shift = decode.block_shift;
  keys.row = decode.H * D;
  keys.end = whole ? cached : cached * (task.chunk + 1) / task.chunks;
  keys.active = channel < D;
  keys.load(begin);
  take_qkv<T>(shared, decode, task, exchange.qkv, flag);

  float query[kChannels];
#pragma unroll
  for (int i = 0; i < kChannels; ++i) query[i] = keys.active ? shared.qkv[0][channel + i] : 0;
  Partial partial;
  constexpr int kRound = keys.kGroups * keys.kCount;
  for (int from = begin; from < keys.end; from += kRound) {
    if (from > begin) keys.load(from);
    keys.attend(partial, query, from, decode.scale);
  }
  if (last && threadIdx.x < kWarp) {  // the new key: all groups of the warp compute, one adds
    float product = 0, value[kChannels];
#pragma unroll
    for (int i = 0; i < kChannels; ++i) {
      product += keys.active ? query[i] * shared.qkv[1][channel + i] : 0;
      value[i] = keys.active ? shared.qkv[2][channel + i] : 0;
    }
    const float score = group_sum<kLanes>(product) * decode.scale;
    if (threadIdx.x < kLanes) {
      partial.raise(fmaxf(partial.top, score));
      partial.add(score, value);
    }
    __syncwarp();
  }
  merge_warp<kLanes>(partial);
  const int warp = threadIdx.x / kWarp;
  if (threadIdx.x % kWarp == 0)
    shared.tops[warp] = partial.top, shared.totals[warp] = partial.total;
  if (threadIdx.x % kWarp < kLanes) {
#pragma unroll
    for (int i = 0; i < kChannels; ++i) shared.sums[warp][channel + i] = partial.sum[i];
  }
  ChannelPartial all = merge_parts(shared, kDecodeWarps, D);
  if (task.chunk > 0) {
    send_partial(partial_at(exchange, task.slot + task.chunk), all, D, flag);
  } else {
    if (!whole) all = merge_chunks(shared, all, task, exchange, D, flag);
    const float out = threadIdx.x < D ? all.sum / all.total : 0;
    const float next = __shfl_down_sync(~0u, out, 1);
    uint64_t* to = exchange.attention + int64_t{task.s} * decode.C / kUnitElements<T>;
    if (threadIdx.x < D && threadIdx.x % 2 == 0) {
      send_pair<T>(to, (task.h * D + static_cast<int>(threadIdx.x)) / 2, out, next, flag);
    }
  }
  if (last) append_to_cache<T>(shared, decode, block, task, cached);
}

__device__ __forceinline__ AttentionTask make_task(const TransformerDecode& decode,
                                                   const int* lengths, int number, int most) {
  AttentionTask task{0, 0, 1, 0, 0};
  if (number >= decode.S * decode.H * most) return task;
  const int head = number / most;
  task.chunk = number % most;
  task.s = head / decode.H;
  task.h = head % decode.H;
  task.slot = head * most;
  task.chunks = chunks_of(lengths[task.s]);
  return task;
}

// Once per launch, by one thread.
__device__ __forceinline__ void plan_attention(AttentionShared& shared,
                                               const TransformerDecode& decode,
                                               const int* lengths) {
  shared.most = 1;
  for (int s = 0; s < decode.S; ++s) shared.most = max(shared.most, chunks_of(lengths[s]));
  shared.task = make_task(decode, lengths, blockIdx.x, shared.most);
}

// This multiprocessor's tasks of one layer.   lengths: in shared memory
// A first chunk waits for up to 15 tasks behind it, each of which waits for the task `gridDim.x`
// before it at most: with more than 30 multiprocessors every wait leads to an earlier task.
template <typename T>
__device__ __forceinline__ void attend(AttentionShared& shared, const TransformerDecode& decode,
                                       const DecodeBlock& block, const DecodeBlock& later,
                                       const int* lengths, Exchange& exchange, uint32_t flag) {
  const int most = shared.most, tasks = decode.S * decode.H * most;
  AttentionTask task = shared.task;
  for (int number = blockIdx.x; number < tasks; number += gridDim.x) {
    if (number != blockIdx.x) task = make_task(decode, lengths, number, most);
    if (task.chunk >= task.chunks) continue;
    const int length = lengths[task.s];
    if (decode.D <= 8 * kChannels) {
      run_task<T, 8>(shared, decode, block, later, task, length, exchange, flag);
    } else {
      run_task<T, 16>(shared, decode, block, later, task, length, exchange, flag);
    }
    computing_barrier();  // before the next task's query is stored
  }
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
