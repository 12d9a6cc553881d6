// Attention of one new token to a head's cached keys and to its own, by the computing warps of a
// block.
#pragma once

#include <cfloat>

#include "cuda/decode_keys.cuh"
#include "cuda/decode_warps.cuh"

namespace llm::cuda {

// Of differences to a maximum; -FLT_MAX and less give 0.
__device__ __forceinline__ float exponential(float x) { return exp2_fast(x * kLog2E); }

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

#ifdef LLM_HOPPER

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

#endif  // LLM_HOPPER

}  // namespace llm::cuda
