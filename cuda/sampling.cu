// Drawing the next token: a block per sequence.
//
// Where the most likely token is wanted, one pass over memory finds it. Else the logits lie in
// shared memory where they fit, and warp w has the ids from w * (ids per warp) on, 32 at a time.
// What is kept after the cuts is always "above a score, and of those that equal it the first few":
// the score is found by bisection over its bits, each step a count (top-k) or a sum of
// probabilities (top-p) over the block. So no order of threads or atomics decides anything. With
// top-k the tokens that can be among the k are soon few: they are listed in the order of ids, and
// all that follows looks at the list alone. The draw walks the kept tokens in the order of ids:
// sums per warp, then the warp where it ends alone.
//
// Rounding: probabilities and their sums are f64, as on the host, in another order.
// Bytes: the logits once; where one draws and they do not fit into shared memory, once a step.
#include <algorithm>
#include <cfloat>

#include "cuda/kernel_launch.cuh"
#include "cuda/packet.cuh"
#include "cuda/sampling.h"
#include "cuda/sampling_row.cuh"

namespace llm::cuda {
namespace {

// The tokens that may be among the k most likely, listed if they are few, else all. k > 0
__device__ TokenRow likely_tokens(SamplingShared& shared, const TokenRow& row, int64_t k,
                                  uint32_t highest) {
  // Every thread's highest: k of them are at least their k-th highest, so k tokens are.
  uint32_t own = 0;
  row.each([&](int, float x) {
    if (x != kForbidden) own = max(own, key_of(x));
  });
  uint32_t low = 0;
  for (int bit = 31; bit >= 0 && k <= kSamplingThreads; --bit) {
    const uint32_t tried = low | 1u << bit;
    if (tried <= highest && __syncthreads_count(own >= tried) >= k) low = tried;
  }
  int mine = 0;
  row.each([&](int, float x) { mine += x != kForbidden && key_of(x) >= low; });
  const int listed = count_all(shared, mine);
  if (listed > kListed) return row;
  int at = count_before(shared, mine);
  const uint32_t below = (1u << threadIdx.x % kWarp) - 1;
  row.each([&](int place, float x) {
    const bool in = x != kForbidden && key_of(x) >= low;
    const uint32_t all = __ballot_sync(~0u, in);
    if (in) {
      const int mine_at = at + __popc(all & below);
      shared.scores[mine_at] = x;
      shared.ids[mine_at] = place;
    }
    at += __popc(all);
  });
  __syncthreads();
  return TokenRow(shared.scores, listed, shared.ids);
}

// row: likely_tokens() if k > 0
__device__ KeptTokens keep_top_k(SamplingShared& shared, const TokenRow& row, int64_t k,
                                 uint32_t highest) {
  constexpr int kAll = 1 << 30;
  if (k <= 0) return {0, kAll};
  const auto count_from = [&](uint32_t key) {
    int count = 0;
    if (row.rows == 1) {
      const float x = row.first < row.size ? row.logits[row.first] + 0.0f : kForbidden;
      return __syncthreads_count(x != kForbidden && key_of(x) >= key);
    }
    row.each([&](int, float x) { count += x != kForbidden && key_of(x) >= key; });
    return count_all(shared, count);
  };
  // The highest score that k tokens reach, if as many are possible.
  uint32_t low = 0, high = highest;
  while (low < high) {
    const uint32_t tried = low + (high - low) / 2 + 1;
    const int count = count_from(tried);
    if (count == k) return {tried, kAll};
    if (count > k) {
      low = tried;
    } else {
      high = tried - 1;
    }
  }
  return {low, static_cast<int>(k) - count_from(low + 1)};
}

// Of what is kept, the fewest most likely that reach p of the probability.
template <typename Weight>
__device__ KeptTokens keep_top_p(SamplingShared& shared, const TokenRow& row,
                                 const KeptTokens& kept, double p, uint32_t highest,
                                 const Weight& weight) {
  if (p >= 1) return kept;
  const auto mass_from = [&](uint32_t key) {
    double sum = 0;
    each_kept(shared, row, kept, [&](int, float x, bool in) {
      if (in && key_of(x) >= key) sum += weight(x);
    });
    return sum_all(shared, sum);
  };
  const double wanted = p * mass_from(0);
  uint32_t low = kept.key, high = highest;  // the highest score from which the mass is reached
  while (low < high) {
    const uint32_t tried = low + (high - low + 1) / 2;
    if (mass_from(tried) >= wanted) {
      low = tried;
    } else {
      high = tried - 1;
    }
  }
  const double above = low == 0xffffffffu ? 0 : mass_from(low + 1);
  const float score = __uint_as_float(low >> 31 ? low & 0x7fffffffu : ~low);
  const double each = weight(score);
  const double ties = each > 0 ? ceil((wanted - above) / each) : 1;
  const int most = low == kept.key ? kept.ties : 1 << 30;
  return {low, min(most, static_cast<int>(fmax(1.0, fmin(ties, 1e9))))};
}

// The token where the sum of the weights, in the order of ids, exceeds `target`; the last one with
// any weight if rounding keeps it below.
template <typename Weight>
__device__ int walk(SamplingShared& shared, const TokenRow& row, const KeptTokens& kept,
                    double uniform, const Weight& weight) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  double own = 0;
  each_kept(shared, row, kept, [&](int, float x, bool in) { own += in ? weight(x) : 0; });
  own = warp_sum(own);
  if (lane == 0) shared.sums[warp] = own;
  if (threadIdx.x == 0) shared.result = -1;
  __syncthreads();
  double total = 0, begin = 0;
  for (int w = 0; w < kSamplingWarps; ++w) total += shared.sums[w];
  const double target = total * uniform;
  int chosen = -1, last = 0;
  double reached = 0;
  for (int w = 0; w < kSamplingWarps; ++w) {
    if (shared.sums[w] > 0) last = w;
    if (chosen < 0 && reached + shared.sums[w] > target) chosen = w, begin = reached;
    reached += shared.sums[w];
  }
  const bool sliver = chosen < 0;
  if (sliver) chosen = last;
  int found = -1, final_id = -1;  // of the warp
  each_kept(shared, row, kept, [&](int place, float x, bool in) {
    double sum = in ? weight(x) : 0;
    const uint32_t any = __ballot_sync(~0u, sum > 0);
    if (warp != chosen || any == 0 || found >= 0) return;
#pragma unroll
    for (int offset = 1; offset < kWarp; offset *= 2) {
      const double other = __shfl_up_sync(~0u, sum, offset);
      if (lane >= offset) sum += other;
    }
    const uint32_t beyond = __ballot_sync(~0u, begin + sum > target) & any;
    begin += __shfl_sync(~0u, sum, kWarp - 1);
    final_id = place - lane + 31 - __clz(any);
    if (beyond != 0 && !sliver) found = place - lane + __ffs(beyond) - 1;
  });
  if (warp == chosen && lane == 0) shared.result = found >= 0 ? found : final_id;
  __syncthreads();
  return row.id_of(shared.result);
}

// Makes tokens of the history less likely, each once.   seen: a bit per token, zeros
__device__ void penalize(float* logits, int vocab, const int32_t* history, int length,
                         double penalty, uint32_t* seen) {
  for (int i = threadIdx.x; i < (vocab + 31) / 32; i += kSamplingThreads) seen[i] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < length; i += kSamplingThreads) {
    const int id = history[i];
    if (id < 0 || id >= vocab) continue;
    const uint32_t bit = 1u << id % 32;
    if (atomicOr(seen + id / 32, bit) & bit) continue;
    const double logit = logits[id], changed = logit > 0 ? logit / penalty : logit * penalty;
    const double most = FLT_MAX;
    if (isfinite(logit)) logits[id] = static_cast<float>(fmin(fmax(changed, -most), most));
  }
  __syncthreads();
}

__device__ double uniform_of(uint64_t seed, uint64_t stream, uint64_t number) {
  const uint4 words = philox_block(seed, stream, number / 2);
  const uint64_t low = number % 2 ? words.z : words.x, high = number % 2 ? words.w : words.y;
  return static_cast<double>((high << 32 | low) >> 11) * 0x1p-53;
}

// Logits begin ... begin + 3, kForbidden beyond the end.   wide: rows are whole packets of 16 bytes
__device__ __forceinline__ float4 load_four(const float* logits, int begin, int vocab, bool wide) {
  float x[4];
  if (wide) {
    const float4 four = __ldcs(reinterpret_cast<const float4*>(logits + begin));
    x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (begin + i >= vocab) x[i] = kForbidden;
    if (begin + i < vocab && !wide) x[i] = logits[begin + i];
  }
  return make_float4(x[0], x[1], x[2], x[3]);
}

// The lowest id of the highest logit, or -1 as in sample_tokens(). One pass over memory.
__device__ int most_likely(SamplingShared& shared, const float* logits, int vocab, bool wide) {
  uint64_t best = 0;  // the key of a logit, then the complement of its id
  int bad = 0;
#pragma unroll 4
  for (int begin = 4 * static_cast<int>(threadIdx.x); begin < vocab;
       begin += 4 * kSamplingThreads) {
    const float4 four = load_four(logits, begin, vocab, wide);
    const float x[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      bad |= !(x[i] < INFINITY);
      if (x[i] == kForbidden) continue;
      const uint32_t key = key_of(x[i] + 0.0f), id = static_cast<uint32_t>(begin + i);
      best = max(best, uint64_t{key} << 32 | ~id);
    }
  }
  const auto warp_most = [](uint64_t x) {
    const uint32_t high = __reduce_max_sync(~0u, static_cast<uint32_t>(x >> 32));
    const uint32_t low = x >> 32 == high ? static_cast<uint32_t>(x) : 0;
    return uint64_t{high} << 32 | __reduce_max_sync(~0u, low);
  };
  best = warp_most(best);
  if (threadIdx.x % kWarp == 0) shared.best[threadIdx.x / kWarp] = best;
  bad = __syncthreads_or(bad);
  best = warp_most(shared.best[threadIdx.x % kWarp]);
  static_assert(kSamplingWarps == kWarp);
  return bad != 0 || best == 0 ? -1 : static_cast<int>(~static_cast<uint32_t>(best));
}

__device__ int draw(SamplingShared& shared, const SamplingProblem& problem, const float* logits,
                    int s) {
  const TokenRow row(logits, problem.vocab);
  uint32_t own = 0;
  int bad = 0;
  row.each([&](int, float x) {
    bad += !(x < INFINITY);
    if (x != kForbidden) own = max(own, key_of(x));
  });
  bad = count_all(shared, bad);
  const uint32_t highest = max_all(shared, own);
  if (bad > 0 || highest == 0) return -1;
  const double top = __uint_as_float(highest >> 31 ? highest & 0x7fffffffu : ~highest);
  const double lowest = problem.min_p > 0 ? log(problem.min_p) : -INFINITY;
  const auto plain = [&](float x) { return exp((x - top) / problem.temperature); };
  const auto weight = [&](float x) {
    const double score = (x - top) / problem.temperature;
    return score < lowest ? 0 : exp(score);
  };
  const TokenRow tokens =
      problem.top_k > 0 ? likely_tokens(shared, row, problem.top_k, highest) : row;
  const KeptTokens likely = keep_top_k(shared, tokens, problem.top_k, highest);
  const KeptTokens kept = keep_top_p(shared, tokens, likely, problem.top_p, highest, plain);
  const double uniform = uniform_of(problem.seed, static_cast<uint64_t>(problem.streams[s]),
                                    static_cast<uint64_t>(problem.draws[s]));
  return walk(shared, tokens, kept, uniform, weight);
}

// Dynamic shared memory: a bit per token if there is a penalty, then the logits if they fit.
__global__ void __launch_bounds__(kSamplingThreads)
    sample_tokens_kernel(SamplingProblem problem, int seen_words, bool keeps_logits) {
  __shared__ SamplingShared shared;
  extern __shared__ __align__(16) uint32_t dynamic[];
  let_next_kernel_begin();  // see TransformerDecode::after_sampling
  const int s = blockIdx.x;
  const int64_t length = problem.lengths[s];
  float* logits = problem.logits + s * problem.padded;
  int32_t* history = problem.history + s * problem.N;
  if (seen_words > 0) {
    penalize(logits, static_cast<int>(problem.vocab), history, static_cast<int>(length),
             problem.repetition_penalty, dynamic);
  }
  const bool greedy = problem.temperature == 0;
  const bool wide = (reinterpret_cast<uintptr_t>(problem.logits) | problem.padded * 4) % 16 == 0;
  if (keeps_logits) {
    float4* kept = reinterpret_cast<float4*>(dynamic + seen_words);
    const int vocab = static_cast<int>(problem.vocab), fours = (vocab + 3) / 4;
#pragma unroll 4
    for (int i = threadIdx.x; i < fours; i += kSamplingThreads) {
      kept[i] = load_four(logits, 4 * i, vocab, wide);
    }
    __syncthreads();
    logits = reinterpret_cast<float*>(kept);
  }
  const int id = greedy ? most_likely(shared, logits, static_cast<int>(problem.vocab), wide)
                        : draw(shared, problem, logits, s);
  if (threadIdx.x != 0) return;
  const int draws = problem.draws[s];
  const int64_t at = min(length, problem.N - 1);
  problem.log[draws % problem.log_rows * problem.S + s] = id;
  history[at] = problem.tokens[s] = max(id, 0);
  problem.positions[s] = static_cast<int32_t>(at);
  problem.lengths[s] = static_cast<int32_t>(at + 1);
  problem.draws[s] = draws + 1;
}

}  // namespace

void sample_tokens(const SamplingProblem& problem, cudaStream_t stream) {
  if (problem.S == 0) return;
  const bool penalty = problem.repetition_penalty != 1;
  const int seen_words = penalty ? static_cast<int>(round_up(ceil_div(problem.vocab, 32), 4)) : 0;
  const int64_t bytes = (seen_words + round_up(problem.vocab, 4)) * 4;
  const int64_t most = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) -
                       static_cast<int64_t>(sizeof(SamplingShared)) - 256;
  const bool keeps_logits = problem.temperature != 0 && bytes <= most;
  const int64_t dynamic = keeps_logits ? bytes : seen_words * 4;
  allow_shared_memory(sample_tokens_kernel, static_cast<int>(dynamic));
  sample_tokens_kernel<<<static_cast<unsigned>(problem.S), kSamplingThreads,
                         static_cast<size_t>(dynamic), stream>>>(problem, seen_words, keeps_logits);
}

}  // namespace llm::cuda
