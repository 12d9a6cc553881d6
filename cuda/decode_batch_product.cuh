// A matrix times the activations of up to 64 sequences, for decode_batch.
//
// 64 rows of the matrix times all sequences are a tile of results, a product of one warpgroup. The
// sum over the columns is cut into as many parts as a cluster has blocks; the tiles go to the
// clusters in turn. A block keeps its part of the activations in shared memory; one warp streams
// its part of the rows through a ring, chunks of 64 columns at a time; a warpgroup multiplies. The
// sums go straight to the shared memory of the cluster's blocks, to each the sequences that it
// finishes: it adds up the parts, in the order of the blocks.
//
// The matrix does not depend on what is computed: it is on its way before the kernel waits for the
// one before it.
//
// Rounding: sums, the stream and GELU are f32.   Bytes: the matrix once.
#pragma once

#include "cuda/cluster.cuh"
#include "cuda/gelu.cuh"
#include "cuda/hopper.cuh"
#include "cuda/kernel_launch.cuh"
#include "cuda/packet.cuh"

namespace llm::cuda {

constexpr int kTileSequences = 64;                // of a tile of results; some perhaps idle
constexpr int kTileRows = 64;                     // of the matrix
constexpr int kChunkBytes = 64 * kPanelRowBytes;  // 64 columns of a tile's rows or of all sequences
constexpr int kMostSplits = 8;                    // of a sum
constexpr int kMostOwnChunks = 16;                // of a block's part of the activations
constexpr int kMostChunkStages = 16;              // of the ring
constexpr int kPartStride = kTileRows + 8;        // of a sequence in a part, in f32
constexpr int kProductThreads = kWarpgroup + kWarp;

enum class BatchResult {
  rounded,  // bf16
  gelu,     // bf16, of GELU
  added,    // f32, to what is there
  plain,    // f32
};

struct BatchProduct {
  const bf16* bias;  // (out) or null
  void* to;          // (S, out)
  int S, out;
  int chunks;      // of 64 columns, at least as many as a cluster has blocks
  int tiles;       // of 64 rows
  int own_chunks;  // of a block, at most
  int stages;
};

struct alignas(16) BatchProductShared {
  uint64_t full[kMostChunkStages], empty[kMostChunkStages];
  uint64_t activations;  // are there
  uint64_t parts;        // of a tile are there, of all blocks
  uint64_t room;         // for parts in all blocks
};

// In shared memory: the activations, the ring, the parts that the block adds up, the barriers, and
// if there are more tiles than clusters, the block's own sums, which else lie where the activations
// were.
constexpr int kPartBytes = kTileSequences * kPartStride * 4;
__host__ __device__ inline int chunk_bytes(const BatchProduct& product) {
  const int bytes = (product.own_chunks + product.stages) * kChunkBytes;
  return bytes < kPartBytes ? kPartBytes : bytes;
}
inline int product_bytes(const BatchProduct& product, int clusters) {
  return chunk_bytes(product) + (product.tiles > clusters ? 2 : 1) * kPartBytes +
         static_cast<int>(sizeof(BatchProductShared));
}

#ifdef LLM_HOPPER

// What all warps of a block know.
struct ProductPart {
  const BatchProduct& product;
  BatchProductShared& shared;
  char *activations, *ring;
  float* own;        // (sequences, kPartStride): this block's sums
  float* parts;      // (splits, sequences of a block, kPartStride): what it finishes
  int rank, splits;  // of the cluster
  int cluster, clusters;
  int first, count;  // of the block's chunks
};

// Goes through the tiles' chunks; one thread.
__device__ __forceinline__ void stream_matrix(const ProductPart& part, const CUtensorMap* matrix) {
  int stage = 0, parity = 1;
  for (int tile = part.cluster; tile < part.product.tiles; tile += part.clusters) {
    for (int chunk = 0; chunk < part.count; ++chunk) {
      barrier_wait(part.shared.empty + stage, parity);
      barrier_expect(part.shared.full + stage, kChunkBytes);
      tma_load(part.ring + stage * kChunkBytes, matrix, part.shared.full + stage,
               (part.first + chunk) * kPanelColumns, tile * kTileRows, 0, 0);
      if (++stage == part.product.stages) stage = 0, parity ^= 1;
    }
  }
}

// This block's part of the sums of a tile: sequences times rows.
struct TileProduct {
  int stage = 0, parity = 0;

  __device__ __forceinline__ void run(float (&sums)[kTileRows / 2], const ProductPart& part) {
    int before = 0;
#pragma unroll 1
    for (int chunk = 0; chunk < part.count; ++chunk) {
      barrier_wait(part.shared.full + stage, parity);
      const uint64_t a = descriptor_of_rows(part.activations + chunk * kChunkBytes);
      const uint64_t b = descriptor_of_rows(part.ring + stage * kChunkBytes);
      wgmma_fence();
#pragma unroll
      for (int k = 0; k < kPanelColumns / 16; ++k) {
        wgmma_shared<kTileRows>(sums, advance(a, 32 * k), advance(b, 32 * k), true);
      }
      wgmma_commit();
      if (chunk > 0) {
        wgmma_wait<1>();
        give_back(part, before);
      }
      before = stage;
      if (++stage == part.product.stages) stage = 0, parity ^= 1;
    }
    wgmma_wait<0>();
    hold_registers(sums);
    give_back(part, before);
  }

 private:
  __device__ __forceinline__ static void give_back(const ProductPart& part, int stage) {
    if (threadIdx.x % kWarp == 0) barrier_arrive(part.shared.empty + stage);
  }
};

// To each block of the cluster the sums of the sequences that it finishes; those that this one
// finishes go there at once.
__device__ __forceinline__ void send_parts(const ProductPart& part,
                                           const float (&sums)[kTileRows / 2]) {
  const int each = kTileSequences / part.splits, lane = threadIdx.x % kWarp;
  named_barrier(1, kWarpgroup);  // all are done with the activations, where `own` may lie
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int sequence = threadIdx.x / kWarp * 16 + lane / 4 + 8 * half;
    const bool mine = sequence / each == part.rank;
    const int row = mine ? part.rank * each + sequence % each : sequence;
    float* to = (mine ? part.parts : part.own) + row * kPartStride + 2 * (lane % 4);
#pragma unroll
    for (int i = 0; i < kTileRows / 8; ++i) {
      *reinterpret_cast<float2*>(to + 8 * i) =
          make_float2(sums[4 * i + 2 * half], sums[4 * i + 2 * half + 1]);
    }
  }
  fence_async_proxy();
  named_barrier(1, kWarpgroup);
  const int owner = threadIdx.x, bytes = each * kPartStride * 4;
  if (owner < part.splits && owner != part.rank) {
    send_to_block(address_in(owner, part.parts + part.rank * each * kPartStride),
                  part.own + owner * each * kPartStride, bytes,
                  address_in(owner, &part.shared.parts));
  }
}

// How a block's threads share the results that it finishes: four neighbours of a sequence each.
constexpr int kFours = kTileRows / 4;                          // of a sequence
constexpr int kSequencesAtOnce = kWarpgroup / kFours;          // of the block's threads
constexpr int kMostItems = kTileSequences / kSequencesAtOnce;  // of a thread

__device__ __forceinline__ float4 to_floats(uint2 packed) {
  return make_float4(__uint_as_float(packed.x << 16), __uint_as_float(packed.x & 0xffff0000u),
                     __uint_as_float(packed.y << 16), __uint_as_float(packed.y & 0xffff0000u));
}

template <BatchResult kResult>
__device__ __forceinline__ void store_four(void* to, int64_t at, float4 x) {
  if constexpr (kResult == BatchResult::added || kResult == BatchResult::plain) {
    *reinterpret_cast<float4*>(static_cast<float*>(to) + at) = x;
  } else {
    if constexpr (kResult == BatchResult::gelu) {
      x = make_float4(gelu(x.x), gelu(x.y), gelu(x.z), gelu(x.w));
    }
    *reinterpret_cast<uint2*>(static_cast<bf16*>(to) + at) =
        make_uint2(pack_bf16(x.x, x.y), pack_bf16(x.z, x.w));
  }
}

// The sequences that this block finishes, of one tile: waits for the parts of all blocks.
template <BatchResult kResult>
__device__ __forceinline__ void finish_tile(const ProductPart& part, int tile, int parity) {
  const BatchProduct& product = part.product;
  const int each = kTileSequences / part.splits, items = max(1, each / kSequencesAtOnce);
  const int column = threadIdx.x % kFours * 4, row = tile * kTileRows + column;
  const int begin = static_cast<int>(threadIdx.x) / kFours;
  const bool inside = row < product.out && begin < each;
  float4 bias = make_float4(0, 0, 0, 0);
  if (inside && product.bias) {
    bias = to_floats(__ldg(reinterpret_cast<const uint2*>(product.bias + row)));
  }
  float4 old[kMostItems];
  if constexpr (kResult == BatchResult::added) {
#pragma unroll
    for (int i = 0; i < kMostItems; ++i) {
      const int sequence = part.rank * each + begin + i * kSequencesAtOnce;
      if (i < items && inside && sequence < product.S) {
        old[i] = *reinterpret_cast<const float4*>(static_cast<const float*>(product.to) +
                                                  int64_t{sequence} * product.out + row);
      }
    }
  }
  barrier_wait(&part.shared.parts, parity);
#pragma unroll
  for (int i = 0; i < kMostItems; ++i) {
    if (i >= items) break;
    const int own = begin + i * kSequencesAtOnce, sequence = part.rank * each + own;
    if (!inside || sequence >= product.S) continue;
    float4 sum = bias;
    for (int split = 0; split < part.splits; ++split) {
      const float4 x = *reinterpret_cast<const float4*>(
          part.parts + (split * each + own) * kPartStride + column);
      sum.x += x.x, sum.y += x.y, sum.z += x.z, sum.w += x.w;
    }
    if constexpr (kResult == BatchResult::added) {
      sum.x += old[i].x, sum.y += old[i].y, sum.z += old[i].z, sum.w += old[i].w;
    }
    store_four<kResult>(product.to, int64_t{sequence} * product.out + row, sum);
  }
}

template <BatchResult kResult>
__device__ __forceinline__ void compute_tiles(const ProductPart& part,
                                              const CUtensorMap* activations) {
  if (threadIdx.x == 0) {
    barrier_expect(&part.shared.activations, part.count * kChunkBytes);
    for (int chunk = 0; chunk < part.count; ++chunk) {
      tma_load(part.activations + chunk * kChunkBytes, activations, &part.shared.activations,
               (part.first + chunk) * kPanelColumns, 0, 0, 0);
    }
  }
  barrier_wait(&part.shared.activations, 0);
  TileProduct product;
  int parity = 0;
  for (int tile = part.cluster; tile < part.product.tiles; tile += part.clusters, parity ^= 1) {
    float sums[kTileRows / 2] = {};
    product.run(sums, part);
    if (tile != part.cluster) barrier_wait(&part.shared.room, parity ^ 1);
    if (threadIdx.x == 0) {
      barrier_expect(&part.shared.parts, kPartBytes - kPartBytes / part.splits);
    }
    send_parts(part, sums);
    finish_tile<kResult>(part, tile, parity);
    if (tile + part.clusters >= part.product.tiles) break;
    named_barrier(1, kWarpgroup);  // all have read
    if (static_cast<int>(threadIdx.x) < part.splits) {
      arrive_in_block(address_in(threadIdx.x, &part.shared.room));
    }
  }
}

#endif  // LLM_HOPPER

// Grid: clusters of as many blocks as the sums have parts.
template <BatchResult kResult>
__global__ void __launch_bounds__(kProductThreads)
    decode_batch_product_kernel(const __grid_constant__ CUtensorMap matrix,
                                const __grid_constant__ CUtensorMap activations,
                                const __grid_constant__ BatchProduct product) {
#ifdef LLM_HOPPER
  extern __shared__ __align__(1024) char memory[];
  let_next_kernel_begin();
  char* ring = memory + product.own_chunks * kChunkBytes;
  char* parts = memory + chunk_bytes(product);
  BatchProductShared& shared = *reinterpret_cast<BatchProductShared*>(parts + kPartBytes);
  const int rank = cluster_rank(), splits = cluster_size();
  const int first = product.chunks * rank / splits;
  const int clusters = static_cast<int>(gridDim.x) / splits;
  char* own = product.tiles > clusters ? reinterpret_cast<char*>(&shared + 1) : memory;
  const ProductPart part{product,
                         shared,
                         memory,
                         ring,
                         reinterpret_cast<float*>(own),
                         reinterpret_cast<float*>(parts),
                         rank,
                         splits,
                         static_cast<int>(blockIdx.x) / splits,
                         clusters,
                         first,
                         product.chunks * (rank + 1) / splits - first};
  if (threadIdx.x == kWarpgroup) {
    for (int stage = 0; stage < product.stages; ++stage) {
      barrier_init(shared.full + stage, 1);
      barrier_init(shared.empty + stage, kWarpgroup / kWarp);
    }
    barrier_init(&shared.activations, 1);
    barrier_init(&shared.parts, 1);
    barrier_init(&shared.room, splits);
    barrier_init_fence();
  }
  __syncwarp();
  cluster_arrive();
  if (threadIdx.x >= kWarpgroup) {
    if (threadIdx.x == kWarpgroup) stream_matrix(part, &matrix);
    return;
  }
  if (threadIdx.x == 0) prefetch_map(&activations);
  __syncwarp();
  cluster_wait();
  wait_for_previous_kernel();
  compute_tiles<kResult>(part, &activations);
  __syncwarp();
  // Others may still be reading this block's sums.
  cluster_arrive();
  cluster_wait();
#else
  __trap();
#endif
}

}  // namespace llm::cuda
