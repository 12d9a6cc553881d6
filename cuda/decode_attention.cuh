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

constexpr int kChunkKeys = 128;  // that are worth a chunk of their own

#ifdef LLM_HOPPER

struct AttentionShared {
  float qkv[3][kPartialLanes * kChannels];  // of one head
  Partial partials[kDecodeWarps][kPartialLanes];
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

  const T *keys, *values;  // at the lane's channels of the head
  const int32_t* blocks;   // of the sequence
  int block_size, row, end;
  bool active;  // the lane has channels
  CachedChannels<T> key[kCount], value[kCount];

  // Positions from `begin` on, below end.
  __device__ __forceinline__ void load(int begin) {
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
      key[n] = value[n] = CachedChannels<T>{};
      const int position = begin + threadIdx.x / kLanes + n * kGroups;
      if (position >= end || !active) continue;
      const int64_t block = __ldg(blocks + position / block_size);
      const int64_t offset = (block * block_size + position % block_size) * row;
      key[n].load(keys + offset);
      value[n].load(values + offset);
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

struct AttentionTask {
  int s, h, chunk, chunks, slot;  // slot: of the first chunk's partial result
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
  const int D = decode.D, size = decode.block_size;
  const int64_t page = decode.block_table[task.s * decode.max_blocks + position / size];
  const int64_t offset = ((page * size + position % size) * decode.H + task.h) * D;
  for (int i = threadIdx.x; i < 2 * D; i += kDecodeThreads) {
    T* to = static_cast<T*>(i < D ? block.keys : block.values) + offset + i % D;
    *to = from_float<T>(shared.qkv[i < D ? 1 : 2][i % D]);
  }
}

__device__ __forceinline__ void send_partial(uint64_t* to, const Partial& partial, uint32_t flag) {
  send(to, partial.top, partial.total, flag);
#pragma unroll
  for (int i = 0; i < kChannels; i += 2) {
    send(to + 2 + i, partial.sum[i], partial.sum[i + 1], flag);
  }
}
__device__ __forceinline__ Partial take_partial(const uint64_t* from, uint32_t flag) {
  TwoUnits two[kPartialUnits / 2];
#pragma unroll
  for (int i = 0; i < kPartialUnits / 2; ++i) two[i].load(from + 2 * i);
  float values[kPartialUnits];
#pragma unroll
  for (int i = 0; i < kPartialUnits / 2; ++i) {
    two[i].wait(from + 2 * i, flag);
    values[2 * i] = __uint_as_float(two[i].data().x);
    values[2 * i + 1] = __uint_as_float(two[i].data().y);
  }
  Partial partial{values[0], values[1], {}};
#pragma unroll
  for (int i = 0; i < kChannels; ++i) partial.sum[i] = values[2 + i];
  return partial;
}

// What all warps made of the task's keys, in the first kLanes threads.
template <int kLanes>
__device__ __forceinline__ Partial merge_block(AttentionShared& shared, int warps) {
  computing_barrier();
  Partial all;
  if (threadIdx.x < kLanes) {
    all = shared.partials[0][threadIdx.x];
    for (int warp = 1; warp < warps; ++warp) all.merge(shared.partials[warp][threadIdx.x]);
  }
  return all;
}

// The other chunks' results, one warp for each or two, and all in the order of the chunks.
template <int kLanes>
__device__ __forceinline__ Partial merge_chunks(AttentionShared& shared, Partial own,
                                                const AttentionTask& task, const uint64_t* partials,
                                                uint32_t flag) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int begin = 1; begin < task.chunks; begin += kDecodeWarps) {
    computing_barrier();  // shared.partials was read
    if (begin + warp < task.chunks && lane < kLanes) {
      const int slot = (task.slot + begin + warp) * kPartialLanes + lane;
      shared.partials[warp][lane] = take_partial(partials + int64_t{slot} * kPartialUnits, flag);
    }
    __syncwarp();
    const Partial others = merge_block<kLanes>(shared, min(kDecodeWarps, task.chunks - begin));
    if (threadIdx.x < kLanes) own.merge(others);
  }
  return own;
}

template <typename T, int kLanes>
__device__ __forceinline__ void run_task(AttentionShared& shared, const TransformerDecode& decode,
                                         const DecodeBlock& block, const AttentionTask& task,
                                         int length, Exchange& exchange, uint32_t flag) {
  const int D = decode.D, channel = threadIdx.x % kLanes * kChannels, cached = length - 1;
  const int begin = cached * task.chunk / task.chunks;
  const bool last = task.chunk == task.chunks - 1;
  CachedKeys<T, kLanes> keys;
  keys.keys = static_cast<const T*>(block.keys) + task.h * D + channel;
  keys.values = static_cast<const T*>(block.values) + task.h * D + channel;
  keys.blocks = decode.block_table + task.s * decode.max_blocks;
  keys.block_size = decode.block_size;
  keys.row = decode.H * D;
  keys.end = cached * (task.chunk + 1) / task.chunks;
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
  if (threadIdx.x % kWarp < kLanes)
    shared.partials[threadIdx.x / kWarp][threadIdx.x % kWarp] = partial;
  Partial all = merge_block<kLanes>(shared, kDecodeWarps);
  if (task.chunk == 0) {
    all = merge_chunks<kLanes>(shared, all, task, exchange.partials, flag);
    if (threadIdx.x < kLanes && keys.active) {
      uint64_t* to = exchange.attention + int64_t{task.s} * decode.C / kUnitElements<T>;
#pragma unroll
      for (int i = 0; i < kChannels; i += 2) {
        send_pair<T>(to, (task.h * D + channel + i) / 2, all.sum[i] / all.total,
                     all.sum[i + 1] / all.total, flag);
      }
    }
  } else if (threadIdx.x < kLanes) {
    const int slot = (task.slot + task.chunk) * kPartialLanes + threadIdx.x;
    send_partial(exchange.partials + int64_t{slot} * kPartialUnits, all, flag);
  }
  if (last) append_to_cache<T>(shared, decode, block, task, cached);
}

// This multiprocessor's tasks of one layer.   lengths: in shared memory
// A first chunk waits for up to 15 tasks behind it, each of which waits for the task `gridDim.x`
// before it at most: with more than 30 multiprocessors every wait leads to an earlier task.
template <typename T>
__device__ __forceinline__ void attend(AttentionShared& shared, const TransformerDecode& decode,
                                       const DecodeBlock& block, const int* lengths,
                                       Exchange& exchange, uint32_t flag) {
  int most = 1;
  for (int s = 0; s < decode.S; ++s) most = max(most, chunks_of(lengths[s]));
  const int tasks = decode.S * decode.H * most;
  for (int number = blockIdx.x; number < tasks; number += gridDim.x) {
    AttentionTask task;
    const int head = number / most;
    task.chunk = number % most;
    task.s = head / decode.H;
    task.h = head % decode.H;
    task.slot = head * most;
    const int length = lengths[task.s];
    task.chunks = chunks_of(length);
    if (task.chunk >= task.chunks) continue;
    if (decode.D <= 8 * kChannels) {
      run_task<T, 8>(shared, decode, block, task, length, exchange, flag);
    } else {
      run_task<T, 16>(shared, decode, block, task, length, exchange, flag);
    }
    computing_barrier();  // before the next task's query is stored
  }
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
