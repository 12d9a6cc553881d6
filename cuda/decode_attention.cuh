// Attention of one new token per sequence over a paged cache, for transformer_decode.
//
// A task is one head of one sequence, or where there are many keys, a chunk of its cached keys.
// Cached keys and values do not depend on the token: they are brought to the L2 cache long before,
// and a task asks for its first ones before it waits for the query. The new key and value come with
// the query, are the last chunk's and are put into the cache. Where there are chunks, the first
// one's multiprocessor takes the others' results and merges them in their order.
#pragma once

#include <cfloat>

#include "cuda/decode_exchange.cuh"
#include "cuda/decode_keys.cuh"
#include "cuda/decode_product.cuh"

namespace llm::cuda {

constexpr int kChunkKeys = 256;       // that are worth a chunk of their own
constexpr int kLeastProcessors = 32;  // see attend()
constexpr int kMostTasks =            // of a multiprocessor
    kDecodeSequences * kMostChunks * kDecodeChannels / 64 / kLeastProcessors;

// Of differences to a maximum; -FLT_MAX and less give 0.
__device__ __forceinline__ float exponential(float x) { return exp2_fast(x * kLog2E); }

// A task's share of the keys of a sequence.
struct AttentionTask {
  int s, h, chunk;
  int chunks;      // of the head; 0: the task is none
  int slot;        // of the first chunk's partial result
  int begin, end;  // cached positions
};

// Keys that a warp takes at a time: one for a lane.
constexpr int kWarpKeys = kWarp;
constexpr int kRoundKeys = kDecodeWarps * kWarpKeys;  // of all warps

// q, k and v of the new token, and what the warps have found: partial softmaxes, one of each warp
// and last the new key's. Channels behind the head's last one are 0 in q.
struct HeadShared {
  alignas(16) float qkv[3][kMostHeadSize];
  float top[kDecodeWarps + 1], total[kDecodeWarps + 1], sum[kDecodeWarps + 1][kMostHeadSize];
};

// One channel of a partial softmax.
struct PartialChannel {
  float top, total, sum;

  __device__ __forceinline__ void merge(float other_top, float other_total, float other_sum) {
    const float both = fmaxf(top, other_top);
    const float mine = exponential(top - both), others = exponential(other_top - both);
    top = both;
    total = total * mine + other_total * others;
    sum = sum * mine + other_sum * others;
  }
};

// A head's cached keys and values of one sequence.
template <typename T>
struct CachedHead {
  const T *keys, *values;  // of the cache's first token
  CachedTokens tokens;
  int row;  // elements from a token to the next
  int D;
};

// The tasks and the present one's head.
struct AttentionShared {
  int count;  // of tasks
  AttentionTask tasks[kMostTasks];
  HeadShared head;
};

#ifdef LLM_HOPPER

// Chunks of a sequence of `length` tokens, the new one included.
__device__ __forceinline__ int chunks_of(int length) {
  return max(1, min(kMostChunks, (length - 1 + kChunkKeys - 1) / kChunkKeys));
}

// This multiprocessor's tasks, the same in all layers. Needs a barrier behind it.
__device__ __forceinline__ void find_tasks(AttentionShared& shared,
                                           const TransformerDecode& decode) {
  const int* lengths = decode.lengths;
  int most = 1;
  for (int s = 0; s < decode.S; ++s) most = max(most, chunks_of(lengths[s]));
  const int tasks = decode.S * decode.H * most, all = gridDim.x;
  const int number = blockIdx.x + threadIdx.x * all;
  if (threadIdx.x == 0) shared.count = blockIdx.x < tasks ? (tasks - 1 - number) / all + 1 : 0;
  if (number >= tasks) return;
  const int head = number / most, chunk = number % most, s = head / decode.H;
  const int cached = lengths[s] - 1;
  int chunks = chunks_of(lengths[s]);
  if (chunk >= chunks) chunks = 0;  // other sequences have so many, this one has not
  const int begin = chunks == 0 ? 0 : cached * chunk / chunks;
  const int end = chunks == 0 ? 0 : cached * (chunk + 1) / chunks;
  shared.tasks[threadIdx.x] = {s, head % decode.H, chunk, chunks, head * most, begin, end};
}

// q, k and v of the task's head, on their way to shared memory.
template <typename T>
struct QkvInbox {
  static constexpr int kTaken = 2 * kUnitElements<T>;
  static constexpr int kThreads = kDecodeThreads / 4;  // of each of the three
  static_assert(kMostHeadSize / 2 <= kThreads);
  Inbox<1> inbox;

  __device__ __forceinline__ QkvInbox(const TransformerDecode& decode, const AttentionTask& task,
                                      const uint64_t* units) {
    const int part = threadIdx.x / kThreads, i = threadIdx.x % kThreads;
    const int row = (3 * task.s + part) * decode.C + task.h * decode.D;
    inbox.units = units + row / kUnitElements<T> + 2 * i;
    inbox.step = 1;
    inbox.count = part < 3 && i < decode.D / kTaken ? 1 : 0;
    inbox.ask();
  }
  // Ends with a barrier.
  __device__ __forceinline__ void wait(float (&qkv)[3][kMostHeadSize], uint32_t flag) {
    const int part = threadIdx.x / kThreads, i = threadIdx.x % kThreads;
    inbox.wait(flag);
    if (inbox.count > 0) {
      const uint2 data = inbox.two[0].data();
      float* to = qkv[part] + i * kTaken;
      if constexpr (sizeof(T) == 4) {
        to[0] = __uint_as_float(data.x), to[1] = __uint_as_float(data.y);
      } else {
        *reinterpret_cast<float4*>(to) =
            make_float4(__uint_as_float(data.x << 16), __uint_as_float(data.x & 0xffff0000u),
                        __uint_as_float(data.y << 16), __uint_as_float(data.y & 0xffff0000u));
      }
    }
    computing_barrier();
  }
};

// The other chunks' results, in the order of the chunks.   partials: of the head
__device__ __forceinline__ void merge_chunks(PartialChannel& all, int chunks, int D,
                                             const uint64_t* partials, uint32_t flag) {
  const int channel = min(static_cast<int>(threadIdx.x), D - 1);
#pragma unroll 1
  for (int chunk = 1; chunk < chunks; ++chunk) {
    const uint64_t* from = partials + chunk * kPartialUnits;
    Inbox<1> whole{from, 1, 1}, sums{from + 2 + channel / 2 * 2, 1, 1};
    whole.ask();
    sums.ask();
    whole.wait(flag);
    sums.wait(flag);
    const uint2 a = whole.two[0].data(), b = sums.two[0].data();
    all.merge(__uint_as_float(a.x), __uint_as_float(a.y), __uint_as_float(channel % 2 ? b.y : b.x));
  }
}

// Positions [begin, end): leaves each warp's partial softmax in `shared`, whose qkv is there after
// wait_for_query(), which is called once the first keys and values are on their way.
template <typename T, typename Wait>
__device__ __forceinline__ void attend_to_cache(HeadShared& shared, const CachedHead<T>& head,
                                                int begin, int end, float scale,
                                                Wait&& wait_for_query) {
  using Part = CachedPart<T>;
  constexpr int kEach = Part::kEach;
  const int D = head.D, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int mine = lane % 8 * kEach;  // channel
  const T *keys = head.keys + mine, *values = head.values + mine;
  float top = -FLT_MAX, total = 0;
  Part part;
  const int row_bytes = head.row * static_cast<int>(sizeof(T));
#pragma unroll 1
  for (int from = begin;; from += kRoundKeys) {
    const int first = from + warp * kWarpKeys;  // of the warp
    // Behind the last key the last one again, with a weight of 0.
    const int row = head.tokens.row(max(0, min(first + lane, end - 1)));
    const bool some = first < end;
    Part::load(part.key, keys, row, row_bytes, some && mine < D);
    Part::load(part.value, values, row, row_bytes, some && mine < D);
    if (from == begin) wait_for_query();
    float scores[Part::kKeys] = {};
    part.add_products(scores, shared.qkv[0] + mine);
#pragma unroll 1
    for (int channel = Part::kChannels; channel < D; channel += Part::kChannels) {
      Part::load(part.key, keys + channel, row, row_bytes, some && mine + channel < D);
      part.add_products(scores, shared.qkv[0] + channel + mine);
    }
    halve(scores, 8, 4);
    halve(scores, 4, 2);
    halve(scores, 2, 1);
    const bool given = first + 4 * (lane % 8) + lane / 8 < end;  // this lane's score's key
    const float score = given ? scores[0] * scale : -FLT_MAX;
    const float both = fmaxf(top, warp_max(score));
    const float factor = exponential(top - both), weight = given ? exponential(score - both) : 0;
    top = both;
    total = total * factor + warp_sum(weight);
#pragma unroll 1
    for (int channel = 0; channel < D; channel += Part::kChannels) {
      if (channel > 0) {
        Part::load(part.value, values + channel, row, row_bytes, some && mine + channel < D);
      }
      float sums[kEach] = {};
      part.add_weighted(sums, weight);
      halve(sums, kEach, 16);
      halve(sums, kEach / 2, 8);
      // A lane has what is left of its channels.
      constexpr int kLeft = kEach / 4;
      const int at = channel + mine + lane / 8 * kLeft;
      if (at >= D) continue;
      float* to = shared.sum[warp] + at;
#pragma unroll
      for (int i = 0; i < kLeft; ++i) {
        to[i] = (from > begin ? to[i] * factor : 0) + sums[i];
      }
    }
    if (from + kRoundKeys >= end) break;
  }
  if (lane == 0) shared.top[warp] = top, shared.total[warp] = total;
}

// The new key as a partial softmax of its own; nothing where it is not given. By one warp.
__device__ __forceinline__ void attend_to_new(HeadShared& shared, int D, float scale, bool given) {
  constexpr int kPart = kDecodeWarps;
  const int lane = threadIdx.x % kWarp;
  float product = 0;
#pragma unroll
  for (int i = 0; i < kMostHeadSize / kWarp; ++i) {
    const int channel = lane + i * kWarp;
    if (channel >= D) continue;
    product += shared.qkv[0][channel] * shared.qkv[1][channel];
    shared.sum[kPart][channel] = given ? shared.qkv[2][channel] : 0;
  }
  product = warp_sum(product);
  if (lane != 0) return;
  shared.top[kPart] = given ? product * scale : -FLT_MAX;
  shared.total[kPart] = given ? 1 : 0;
}

// What has been found, of channel threadIdx.x. Needs a barrier before it.
__device__ __forceinline__ PartialChannel merge_parts(const HeadShared& shared) {
  PartialChannel all{shared.top[0], 0, 0};
#pragma unroll
  for (int part = 1; part <= kDecodeWarps; ++part) all.top = fmaxf(all.top, shared.top[part]);
#pragma unroll
  for (int part = 0; part <= kDecodeWarps; ++part) {
    const float factor = exponential(shared.top[part] - all.top);
    all.total += shared.total[part] * factor;
    all.sum += shared.sum[part][threadIdx.x] * factor;
  }
  return all;
}

// k and v of the new token to the cache.   keys, values: the head's channels at its position
template <typename T>
__device__ __forceinline__ void append_to_cache(const HeadShared& shared, T* keys, T* values,
                                                int D) {
  const int i = threadIdx.x % (kDecodeThreads / 2);
  const bool key = threadIdx.x < kDecodeThreads / 2;
  if (i < D) (key ? keys : values)[i] = from_float<T>(shared.qkv[key ? 1 : 2][i]);
}

template <typename T>
__device__ __forceinline__ void run_task(HeadShared& shared, const TransformerDecode& decode,
                                         const DecodeBlock& block, const AttentionTask& task,
                                         Exchange& exchange, uint32_t flag) {
  const int D = decode.D, warp = threadIdx.x / kWarp;
  const bool last = task.chunk == task.chunks - 1;
  T* keys = static_cast<T*>(block.keys) + task.h * D;
  T* values = static_cast<T*>(block.values) + task.h * D;
  const CachedTokens tokens = cached_tokens(decode, task.s);
  QkvInbox<T> inbox(decode, task, exchange.qkv);
  attend_to_cache(shared, CachedHead<T>{keys, values, tokens, decode.C, D}, task.begin, task.end,
                  decode.scale, [&] { inbox.wait(shared.qkv, flag); });
  // The last warp: where there are few keys it has none of them.
  if (warp == kDecodeWarps - 1) attend_to_new(shared, D, decode.scale, last);
  computing_barrier();
  if (warp < (D + kWarp - 1) / kWarp) {
    PartialChannel all = merge_parts(shared);  // without meaning from channel D on
    uint64_t* partials = exchange.partials + int64_t{task.slot} * kPartialUnits;
    if (task.chunk == 0) {
      merge_chunks(all, task.chunks, D, partials, flag);
      const float x = __fdividef(all.sum, all.total), next = __shfl_down_sync(~0u, x, 1);
      if (threadIdx.x % 2 == 0 && static_cast<int>(threadIdx.x) < D) {
        send_pair<T>(exchange.attention + task.s * decode.C / kUnitElements<T>,
                     (task.h * D + static_cast<int>(threadIdx.x)) / 2, x, next, flag);
      }
    } else {
      uint64_t* to = partials + task.chunk * kPartialUnits;
      if (threadIdx.x == 0) send(to, all.top, all.total, flag);
      if (static_cast<int>(threadIdx.x) < D) {
        send(to + 2 + threadIdx.x, __float_as_uint(all.sum), flag);
      }
    }
  }
  if (last) {
    const int64_t at = int64_t{tokens.row(task.end)} * decode.C;
    append_to_cache(shared, keys + at, values + at, D);
  }
}

// Brings the cached keys and values of this multiprocessor's tasks to the L2 cache; by one warp.
template <typename T>
__device__ __forceinline__ void prefetch_keys(const AttentionShared& shared,
                                              const TransformerDecode& decode,
                                              const DecodeBlock& block) {
  constexpr int kSector = 32;
  const int lane = threadIdx.x % kWarp, bytes = decode.D * static_cast<int>(sizeof(T));
#pragma unroll 1
  for (int i = 0; i < shared.count; ++i) {
    const AttentionTask& task = shared.tasks[i];
    const CachedTokens tokens = cached_tokens(decode, task.s);
#pragma unroll 1
    for (int position = task.begin + lane; position < task.end; position += kWarp) {
      const int64_t at = int64_t{tokens.row(position)} * decode.C + task.h * decode.D;
      const char* key = reinterpret_cast<const char*>(static_cast<const T*>(block.keys) + at);
      const char* value = reinterpret_cast<const char*>(static_cast<const T*>(block.values) + at);
#pragma unroll 1
      for (int offset = 0; offset < bytes; offset += kSector) {
        asm volatile("prefetch.global.L2 [%0];" ::"l"(key + offset));
        asm volatile("prefetch.global.L2 [%0];" ::"l"(value + offset));
      }
    }
  }
}

// This multiprocessor's tasks of one layer.
// A first chunk waits for up to kMostChunks - 1 tasks behind it, each of which waits for the task
// `gridDim.x` before it at most: with kLeastProcessors multiprocessors every wait leads to an
// earlier task.
template <typename T>
__device__ __forceinline__ void attend(AttentionShared& shared, const TransformerDecode& decode,
                                       const DecodeBlock& block, Exchange& exchange,
                                       uint32_t flag) {
#pragma unroll 1
  for (int i = 0; i < shared.count; ++i) {
    if (shared.tasks[i].chunks == 0) continue;
    if (i > 0) computing_barrier();  // the task before has read its query and results
    run_task<T>(shared.head, decode, block, shared.tasks[i], exchange, flag);
  }
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
