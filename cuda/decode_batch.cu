// A token of up to 64 sequences through a transformer, a kernel for each operation.
//
// So many sequences share a read of the weights that their cached keys and values are what most
// bytes are of. A layer has seven kernels:
//
//   norm; q, k, v; attention, which appends to the cache; projection, added to the stream;
//   norm; the MLP's first matrix, GELU; its second matrix, added to the stream
//
// Most take a few microseconds, little of which is work, so what counts is what lies between them:
// every kernel begins while the one before still runs (programmatic dependent launch), brings
// what does not depend on that into its shared memory and registers (weights, cached keys and
// values) and waits only then. A kernel ends only after it has waited, so that whoever has waited
// knows that all before it is done.
//
// Rounding: sums, the stream, statistics and GELU are f32; q, k, v, the cache, the weights of
// values and the inputs of products are bf16; logits are f32. Sums are of a fixed order; what
// becomes of a sequence does not depend on what the others are, only on how many there are, and not
// on that either if it must not. Bytes: the weights and the cached keys and values once.
#include <algorithm>

#include "cuda/attention_decode_mma.h"
#include "cuda/decode_batch.h"
#include "cuda/decode_batch_norm.cuh"
#include "cuda/decode_batch_product.cuh"

namespace llm::cuda {
namespace {

static_assert(kDecodeBatch == kTileSequences);
static_assert(kMostSplits * kMostOwnChunks * kPanelColumns >= kDecodeHidden);
static_assert(kNormFours * kNormThreads * 4 == kDecodeChannels);

// Where the kernels find each other's results.
struct BatchMemory {
  float stream[kDecodeBatch * kDecodeChannels];
  bf16 normed[kDecodeBatch * kDecodeChannels];
  bf16 qkv[kDecodeBatch * 3 * kDecodeChannels];
  bf16 attention[kDecodeBatch * kDecodeChannels];
  bf16 hidden[kDecodeBatch * kDecodeHidden];
};

// (rows, columns) of bf16, in boxes of 64 x 64.
bool map_matrix(CUtensorMap* map, const void* data, int rows, int columns) {
  return make_tensor_map(map, {.data = data,
                               .batches = 1,
                               .heads = 1,
                               .rows = rows,
                               .columns = columns,
                               .batch_stride = 0,
                               .head_stride = 0,
                               .row_stride = columns,
                               .box_rows = kTileRows});
}

// How a product is spread over the device.
struct Spread {
  int splits;  // of the sums: blocks of a cluster
  int clusters;
  int bytes;  // shared memory of a block
};

// Fills in the rest of a product of which the chunks and tiles are known.
Spread spread_over_device(BatchProduct& product) {
  const int processors = multiprocessors(), tiles = product.tiles;
  const int memory = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  Spread spread{1, tiles, 0};
  const auto own = [&] { return static_cast<int>(ceil_div(product.chunks, spread.splits)); };
  while (own() > kMostOwnChunks) spread.splits *= 2;
  while (spread.splits < kMostSplits && 2 * spread.splits <= product.chunks &&
         2 * tiles * spread.splits < processors) {
    spread.splits *= 2;
  }
  product.own_chunks = own();
  product.stages = std::min(product.own_chunks, kMostChunkStages);
  spread.bytes = product_bytes(product, tiles);
  const int resident = processors * std::max(1, memory / (spread.bytes + 1024));
  if (tiles * spread.splits > resident || spread.bytes > memory) {
    spread.clusters = std::min(tiles, processors / spread.splits);
    product.stages = 0;
    const int rest = memory - product_bytes(product, spread.clusters);
    product.stages = std::min(rest / kChunkBytes, kMostChunkStages);
    spread.bytes = product_bytes(product, spread.clusters);
  }
  return spread;
}

// What all steps of a call know.
struct Batch {
  const TransformerDecode& decode;
  BatchMemory& memory;
  cudaStream_t stream;
  int S, C;

  void norm(const DecodeNorm& norm) const {
    launch_kernel(
        decode_batch_norm_kernel<false>,
        {.grid = dim3(static_cast<unsigned>(S)), .block = dim3(kNormThreads), .early = true},
        stream, norm_of(norm));
  }
  void embed_and_norm(const DecodeNorm& norm) const {
    BatchNorm each = norm_of(norm);
    each.embedding = {decode.tokens, decode.positions, static_cast<const bf16*>(decode.token_table),
                      static_cast<const bf16*>(decode.position_table)};
    // Weights are read before the kernel waits; sampling has not written them.
    launch_kernel(decode_batch_norm_kernel<true>,
                  {.grid = dim3(static_cast<unsigned>(S)),
                   .block = dim3(kNormThreads),
                   .early = decode.after_sampling},
                  stream, each);
  }
  void attend(const DecodeBlock& block) const {
    const auto cache = [&](void* data) {
      return PagedCache{data,     Element::bf16,      1 << decode.block_shift, decode.H,
                        decode.D, decode.block_shift, decode.block_table,      decode.max_blocks};
    };
    attention_decode_mma({.out = {memory.attention, C, C, decode.D},
                          .q = {memory.qkv, 3 * C, 3 * C, decode.D},
                          .keys = cache(block.keys),
                          .values = cache(block.values),
                          .lengths = decode.lengths,
                          .B = S,
                          .H = decode.H,
                          .scale = decode.scale,
                          .to_new = C,
                          .shared_as_for = decode.batch_invariant ? kDecodeBatch : 0},
                         /*early=*/true, stream);
  }
  // to: see BatchResult   activations: (64, in)
  template <BatchResult kResult>
  void multiply(void* to, const bf16* activations, const DecodeLinear& linear, int out,
                int in) const {
    BatchProduct product{};
    product.bias = static_cast<const bf16*>(linear.bias);
    product.to = to;
    product.S = S, product.out = out;
    product.chunks = static_cast<int>(ceil_div(in, kPanelColumns));
    product.tiles = static_cast<int>(ceil_div(out, kTileRows));
    const Spread spread = spread_over_device(product);
    CUtensorMap matrix, rows;
    const bool mapped = map_matrix(&matrix, linear.weight, out, in) &&
                        map_matrix(&rows, activations, kTileSequences, in);
    const auto kernel = decode_batch_product_kernel<kResult>;
    allow_shared_memory(kernel, device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
    launch_kernel(kernel,
                  {.grid = dim3(static_cast<unsigned>(spread.clusters * spread.splits)),
                   .block = dim3(kProductThreads),
                   .shared = mapped ? static_cast<size_t>(spread.bytes) : kRefusedLaunch,
                   .cluster = static_cast<unsigned>(spread.splits),
                   .early = true},
                  stream, matrix, rows, product);
  }

 private:
  BatchNorm norm_of(const DecodeNorm& norm) const {
    return {{},
            memory.stream,
            memory.normed,
            static_cast<const bf16*>(norm.weight),
            static_cast<const bf16*>(norm.bias),
            C,
            decode.epsilon};
  }
};

}  // namespace

int64_t decode_batch_bytes() { return static_cast<int64_t>(sizeof(BatchMemory)); }

void decode_batch(const TransformerDecode& decode, void* memory, cudaStream_t stream) {
  BatchMemory& m = *static_cast<BatchMemory*>(memory);
  const int C = decode.C, hidden = decode.hidden;
  const Batch batch{decode, m, stream, decode.S, C};
  for (int layer = 0; layer < decode.layers; ++layer) {
    const DecodeBlock& block = decode.blocks[layer];
    layer == 0 ? batch.embed_and_norm(block.norms[0]) : batch.norm(block.norms[0]);
    batch.multiply<BatchResult::rounded>(m.qkv, m.normed, block.linears[0], 3 * C, C);
    batch.attend(block);
    batch.multiply<BatchResult::added>(m.stream, m.attention, block.linears[1], C, C);
    batch.norm(block.norms[1]);
    batch.multiply<BatchResult::gelu>(m.hidden, m.normed, block.linears[2], hidden, C);
    batch.multiply<BatchResult::added>(m.stream, m.hidden, block.linears[3], C, hidden);
  }
  batch.norm(decode.norm);
  batch.multiply<BatchResult::plain>(decode.logits, m.normed, {decode.head, nullptr}, decode.vocab,
                                     C);
}

}  // namespace llm::cuda
