// Attention of one new token of each sequence over a paged cache, on tensor cores.
//
// A head of a sequence is a task of one warp, or where there are few tasks, of several, which merge
// their partial softmaxes at the end. A warp takes 32 keys and values a round, from shared memory,
// where the next round is on its way (cp.async). In decode_batch the new token's key and value come
// with the query, join the round that they belong to and are put into the cache; the cached ones do
// not depend on the new token, so that the first rounds are asked for before the kernel waits for
// the one before it.
//
// Products are those of tensor cores: the query is all of the upper eight rows of a left factor, so
// that each of the eight groups of four lanes has the same scores, and the weights, rounded to
// bf16, are a left factor again. The lower eight rows are 0 and cost nothing that is scarce here.
//
// Rows of keys and values lie in shared memory as they are, but that the 16-byte chunks of 128
// bytes of a row are exchanged: chunk c of key j lies at chunk c ^ (j % 8). So the eight rows of a
// matrix that is loaded at once lie in different banks.
//
// Rounding: scores, weights' sum and result are f32; weights are rounded to bf16 for their products
// with the values, the result once.   Bytes: the cached keys and values once.
#include <algorithm>
#include <cfloat>

#include "cuda/attention_decode_mma.h"
#include "cuda/kernel_launch.cuh"
#include "cuda/mma.cuh"

namespace llm::cuda {
namespace {

constexpr int kRoundKeys = kWarp;
constexpr int kPartChannels = 64;    // of a head, 128 bytes: a head has one or two parts
constexpr int kChunkChannels = 8;    // 16 bytes
constexpr int kLeastBlockWarps = 2;  // small blocks fit beside the kernel before

constexpr int kRounds = 2;  // of a warp in flight
// Warps whose rounds fit into a multiprocessor, and those of a task at most. More warps with less
// in flight are faster than the opposite: a round's steps wait for each other.
template <int kParts>
constexpr int kResidentWarps = kParts == 1 ? 12 : 6;
template <int kParts>
constexpr int kMostTaskWarps = kParts == 1 ? 8 : 4;
// Of keys or values in shared memory.
template <int kParts>
constexpr int kRowBytes = kParts* kPartChannels * 2;
template <int kParts>
constexpr int kWarpBytes = kRounds * 2 * kRoundKeys* kRowBytes<kParts>;

// A warp's softmax over its keys: a lane has channels 2 lane and 2 lane + 1 of each part.
struct PartialHead {
  float top, total, sums[2][kPartChannels];
};

// One warp's share of a task.
template <int kParts>
struct HeadWarp {
  static constexpr int kSteps = kParts * kPartChannels / 16;  // of a product over the channels
  static constexpr int kChunks = kParts * kPartChannels / kChunkChannels;

  const bf16 *keys, *values;      // of the head, at the cache's first token
  const int32_t* blocks;          // of the sequence, max_blocks
  int max_blocks, shift, row, D;  // row: elements from a token to the next
  int visible, stored;            // keys of the sequence; those of them that are in the cache
  uint32_t memory;                // of the warp: rounds of keys and values
  // Entry first_block + lane of `blocks`: a round waits for its own only every 32 blocks.
  int first_block, block;

  uint32_t query[kSteps][2];                 // left factor
  uint4 new_key[kParts], new_value[kParts];  // chunk lane % 8 of each part
  // The online softmax, in powers of 2. `total` is of the lane's keys.
  float top = -FLT_MAX, total = 0, sums[kChunks][4] = {};

  __device__ __forceinline__ void load_blocks(int from) {
    first_block = from;
    block = __ldg(blocks + min(from + static_cast<int>(threadIdx.x) % kWarp, max_blocks - 1));
  }
  __device__ __forceinline__ int64_t place_in(int its_block, int position) const {
    return int64_t{(its_block << shift) + (position & ((1 << shift) - 1))} * row;
  }
  __device__ __forceinline__ bool has(int chunk) const { return chunk * kChunkChannels < D; }
  // Where a chunk of a round's key lies; `value`: of its value.
  __device__ __forceinline__ uint32_t slot(int round, int value, int key, int chunk) const {
    const int at = (chunk & ~7) | ((chunk ^ key) & 7);
    return memory + ((round * 2 + value) * kRoundKeys + key) * kRowBytes<kParts> + at * 16;
  }

  // Asks for positions [begin, begin + 32), zeros behind the last one.
  __device__ __forceinline__ void ask(int round, int begin) {
    const int lane = threadIdx.x % kWarp;
    if (begin < visible) {
      if ((begin + kRoundKeys - 1) >> shift >= first_block + kWarp) load_blocks(begin >> shift);
      const int position = max(begin, min(begin + lane, stored - 1));
      const int64_t mine =
          place_in(__shfl_sync(~0u, block, (position >> shift) - first_block), position);
#pragma unroll
      for (int i = 0; i < kRoundKeys / 4; ++i) {
        const int key = 4 * i + lane / 8;
        const int64_t at = __shfl_sync(~0u, mine, key);
        if (begin + key >= stored && begin + key < visible) continue;  // the new one
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          const int chunk = part * 8 + lane % 8;
          const bool given = begin + key < stored && has(chunk);
          const int64_t from = given ? at + chunk * kChunkChannels : 0;
          copy_async_16(slot(round, 0, key, chunk), keys + from, given);
          copy_async_16(slot(round, 1, key, chunk), values + from, given);
        }
      }
    }
    copy_async_commit();
  }

  // q, k and v of the new token.   q: of the head   to_new: see TokenAttention
  __device__ __forceinline__ void take_new(const bf16* q, int64_t to_new) {
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int chunk = 2 * step + half;
        const bf16* from = q + chunk * kChunkChannels + 2 * (lane % 4);
        query[step][half] = has(chunk) ? __ldcg(reinterpret_cast<const uint32_t*>(from)) : 0;
      }
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const int chunk = part * 8 + lane % 8;
      new_key[part] = new_value[part] = make_uint4(0, 0, 0, 0);
      if (to_new == 0 || !has(chunk)) continue;
      const bf16* from = q + to_new + chunk * kChunkChannels;
      new_key[part] = __ldcg(reinterpret_cast<const uint4*>(from));
      new_value[part] = __ldcg(reinterpret_cast<const uint4*>(from + to_new));
    }
  }
  __device__ __forceinline__ void put_new(int round, int key) const {
    const int lane = threadIdx.x % kWarp;
    if (lane >= 8) return;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      store_shared(slot(round, 0, key, part * 8 + lane), new_key[part]);
      store_shared(slot(round, 1, key, part * 8 + lane), new_value[part]);
    }
  }
  __device__ __forceinline__ void append(bf16* to_keys, bf16* to_values, int64_t at) const {
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const int chunk = part * 8 + lane;
      if (lane >= 8 || !has(chunk)) continue;
      *reinterpret_cast<uint4*>(to_keys + at + chunk * kChunkChannels) = new_key[part];
      *reinterpret_cast<uint4*>(to_values + at + chunk * kChunkChannels) = new_value[part];
    }
  }

  // scores[2 g], scores[2 g + 1]: of keys 8 g + 2 (lane % 4) and the next.
  __device__ __forceinline__ void score(float (&scores)[kRoundKeys / 4], int round) const {
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int group = 0; group < kRoundKeys / 8; ++group) {
      float sum[4] = {};
#pragma unroll
      for (int step = 0; step < kSteps; step += 2) {
        uint32_t right[4];
        load_matrices(right, slot(round, 0, 8 * group + lane % 8, 2 * step + lane / 8));
        multiply_add(sum, {query[step][0], 0, query[step][1], 0}, right[0], right[1]);
        multiply_add(sum, {query[step + 1][0], 0, query[step + 1][1], 0}, right[2], right[3]);
      }
      scores[2 * group] = sum[0], scores[2 * group + 1] = sum[1];
    }
  }
  __device__ __forceinline__ void add_values(const float (&weights)[kRoundKeys / 4], int round) {
    const int lane = threadIdx.x % kWarp;
#pragma unroll
    for (int step = 0; step < kRoundKeys / 16; ++step) {
      const uint32_t left[4] = {pack_bf16(weights[4 * step], weights[4 * step + 1]), 0,
                                pack_bf16(weights[4 * step + 2], weights[4 * step + 3]), 0};
#pragma unroll
      for (int chunk = 0; chunk < kChunks; chunk += 2) {
        uint32_t right[4];
        load_matrices_transposed(right, slot(round, 1, 16 * step + lane % 16, chunk + lane / 16));
        multiply_add(sums[chunk], left, right[0], right[1]);
        multiply_add(sums[chunk + 1], left, right[2], right[3]);
      }
    }
  }
  // Positions [begin, begin + 32).   scale: of the scores, times log2(e)
  __device__ __forceinline__ void add_round(int round, int begin, float scale) {
    float scores[kRoundKeys / 4];
    score(scores, round);
    const int first = begin + 2 * (threadIdx.x % 4);
    float both = top;
#pragma unroll
    for (int i = 0; i < kRoundKeys / 4; ++i) {
      const bool given = first + i / 2 * 8 + i % 2 < visible;
      scores[i] = given ? scores[i] * scale : -FLT_MAX;
      both = fmaxf(both, scores[i]);
    }
    both = fmaxf(both, __shfl_xor_sync(~0u, both, 1));
    both = fmaxf(both, __shfl_xor_sync(~0u, both, 2));
    const float factor = exp2_fast(top - both);
    top = both;
    total *= factor;
#pragma unroll
    for (int i = 0; i < kRoundKeys / 4; ++i) {
      scores[i] = scores[i] == -FLT_MAX ? 0 : exp2_fast(scores[i] - both);
      total += scores[i];
    }
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      sums[chunk][0] *= factor, sums[chunk][1] *= factor;
    }
    add_values(scores, round);
  }
  // All rounds from `begin` on that are the warp's, every `step` positions.
  __device__ __forceinline__ void run(int begin, int step, float scale) {
#pragma unroll 1
    for (int round = 0; begin < visible; begin += step) {
      copy_async_wait<kRounds - 1>();
      if (stored < visible && stored - begin < kRoundKeys) put_new(round, stored - begin);
      __syncwarp();
      add_round(round, begin, scale);
      __syncwarp();
      ask(round, begin + kRounds * step);
      if (++round == kRounds) round = 0;
    }
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
  }
  // Channels 2 lane and 2 lane + 1 of a part; every group of four lanes has the sums of all.
  __device__ __forceinline__ float2 own_sums(int part) const {
    const int mine = static_cast<int>(threadIdx.x) % kWarp / 4;
    float2 own{};
#pragma unroll
    for (int chunk = 0; chunk < 8; ++chunk) {
      own.x = chunk == mine ? sums[part * 8 + chunk][0] : own.x;
      own.y = chunk == mine ? sums[part * 8 + chunk][1] : own.y;
    }
    return own;
  }
};

// Blocks of whole tasks.
template <int kParts>
__global__ void __launch_bounds__(kMostTaskWarps<kParts>* kWarp)
    attention_decode_mma_kernel(TokenAttention attention, int task_warps) {
  extern __shared__ __align__(128) char memory[];
  let_next_kernel_begin();
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int block_tasks = static_cast<int>(blockDim.x) / kWarp / task_warps;
  const int task = static_cast<int>(blockIdx.x) * block_tasks + warp / task_warps;
  const bool some = task < attention.B * attention.H;
  const int b = some ? task / attention.H : 0, h = some ? task % attention.H : 0;
  const PagedCache& cache = attention.keys;
  const int D = cache.D, head = h * cache.KV / attention.H * D;
  bf16* keys = static_cast<bf16*>(cache.data) + head;
  bf16* values = static_cast<bf16*>(attention.values.data) + head;
  HeadWarp<kParts> mine;
  mine.keys = keys, mine.values = values;
  mine.blocks = cache.block_table + b * cache.max_blocks;
  mine.max_blocks = cache.max_blocks, mine.shift = cache.block_shift;
  mine.row = cache.KV * D, mine.D = D;
  mine.load_blocks(0);
  mine.visible = some ? attention.lengths[b] : 0;
  mine.stored = mine.visible - (attention.to_new != 0);
  mine.memory = shared_address(memory + warp * kWarpBytes<kParts>);
  const int first = warp % task_warps * kRoundKeys, step = task_warps * kRoundKeys;
#pragma unroll
  for (int round = 0; round < kRounds; ++round) mine.ask(round, first + round * step);
  const bool appends = attention.to_new != 0 && mine.visible > 0 && warp % task_warps == 0;
  int64_t new_place = 0;
  if (appends) {
    new_place = mine.place_in(__ldg(mine.blocks + (mine.stored >> mine.shift)), mine.stored);
  }
  wait_for_previous_kernel();
  mine.take_new(
      static_cast<const bf16*>(attention.q.data) + b * attention.q.batch + h * attention.q.head,
      attention.to_new);
  mine.run(first, step, attention.scale * kLog2E);
  if (appends) mine.append(keys, values, new_place);

  float2 sums[kParts];
#pragma unroll
  for (int part = 0; part < kParts; ++part) sums[part] = mine.own_sums(part);
  float top = mine.top, total = mine.total;
  if (task_warps > 1) {
    __syncthreads();  // all have read their keys and values, which the results overwrite
    PartialHead* partials = reinterpret_cast<PartialHead*>(memory);
    if (lane == 0) partials[warp].top = top, partials[warp].total = total;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      reinterpret_cast<float2*>(partials[warp].sums[part])[lane] = sums[part];
    }
    __syncthreads();
    if (warp % task_warps != 0) return;
    for (int other = 1; other < task_warps; ++other) {
      const PartialHead& from = partials[warp + other];
      const float both = fmaxf(top, from.top);
      const float factor = exp2_fast(top - both), others = exp2_fast(from.top - both);
      top = both;
      total = total * factor + from.total * others;
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        const float2 x = reinterpret_cast<const float2*>(from.sums[part])[lane];
        sums[part].x = sums[part].x * factor + x.x * others;
        sums[part].y = sums[part].y * factor + x.y * others;
      }
    }
  }
  if (!some) return;
  bf16* out =
      static_cast<bf16*>(attention.out.data) + b * attention.out.batch + h * attention.out.head;
  const float inverse = mine.visible > 0 ? 1 / total : 0;
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    const int channel = part * kPartChannels + 2 * lane;
    if (channel >= D) continue;
    *reinterpret_cast<uint32_t*>(out + channel) =
        pack_bf16(sums[part].x * inverse, sums[part].y * inverse);
  }
}

template <int kParts>
void attend(const TokenAttention& attention, bool early, cudaStream_t stream) {
  const int tasks = attention.B * attention.H;
  const int resident = multiprocessors() * kResidentWarps<kParts>;
  const int most =
      std::min(kMostTaskWarps<kParts>,
               device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) / kWarpBytes<kParts>);
  const int usual = attention.shared_as_for == 0 ? tasks : attention.shared_as_for * attention.H;
  int task_warps = 1;
  while (2 * task_warps <= most && 2 * task_warps * usual <= resident) task_warps *= 2;
  const int warps = std::max(task_warps, kLeastBlockWarps), bytes = warps * kWarpBytes<kParts>;
  const auto kernel = attention_decode_mma_kernel<kParts>;
  allow_shared_memory(kernel, device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  launch_kernel(kernel,
                {.grid = dim3(static_cast<unsigned>(ceil_div(tasks, warps / task_warps))),
                 .block = dim3(static_cast<unsigned>(warps * kWarp)),
                 .shared = static_cast<size_t>(bytes),
                 .early = early},
                stream, attention, task_warps);
}

}  // namespace

bool attention_decode_mma_takes(const TokenAttention& attention, Element element) {
  const PagedCache& keys = attention.keys;
  return element == Element::bf16 && keys.element == Element::bf16 && keys.block_shift >= 0 &&
         keys.D % kChunkChannels == 0 && keys.D <= 2 * kPartChannels &&
         rows_aligned(attention.out) && rows_aligned(attention.q) && aligned_to_16(keys.data) &&
         aligned_to_16(attention.values.data);
}

void attention_decode_mma(const TokenAttention& attention, bool early, cudaStream_t stream) {
  attention.keys.D <= kPartChannels ? attend<1>(attention, early, stream)
                                    : attend<2>(attention, early, stream);
}

}  // namespace llm::cuda
