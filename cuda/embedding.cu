// Token and position embeddings, forward and backward.
//
// Forward: a thread takes a packet of 16 bytes (or an element, where rows do not begin at multiples
// of 16 bytes) of kSharing rows at the same place of their sequences, which share the position's
// packet. Wide rows are cut into slices, the blocks of a slice before those of the next. Rounding:
// the sum is f32 and rounded once. Bytes: y is written once and leaves the L2 cache first; the
// table rows are read, repeated ones from the cache, which is asked to keep them.
//
// Backward: dtable[index] += the sum of the rows dy that have this index, without atomics and in an
// order that depends on the indices alone.
//   1. A stable radix sort (CUB) of (index, row): equal indices lie behind each other, in the order
//      of their rows. Such a run is the gradient of one table row.
//   2. Tiles of kTile sorted positions, a block each (times slices of the channels). A thread owns
//      the channels of a packet and goes through the positions. A run that lies inside the tile has
//      no other owner: its sum is added to the table at once. Of a run that crosses the edges of
//      the tile the sum goes to scratch: the tile's `head` if the run began earlier, else its
//      `tail`. So however often a token occurs, no block adds more than kTile rows.
//   3. The tile in which a crossing run begins owns it: its block adds the tail and the heads of
//      the tiles behind it, each warp its share of them, then the sums of the warps in order.
// Rounding: dy is widened, all sums are f32.
// Bytes: dy is read once; the rows of the table that occur are read and written once; scratch:
// at most 2 / kTile of dy in f32, written and read.
//
// Without indices (index = row % length) a thread owns a packet of a table row and adds all rows
// that belong to it, in order.
#include <algorithm>
#include <cub/device/device_radix_sort.cuh>

#include "cuda/embedding.h"
#include "cuda/packet.cuh"

namespace llm::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kTile = 32;
constexpr int kAhead = 8;  // loads in flight

// --- Forward

constexpr int kForwardThreads = 256;  // packets of a row in a slice of the channels, at most
constexpr int kSharing = 2;           // rows of a thread, all at the same place

// Block: (packets of a slice, places). Grid: (places and groups of batches, slices). Sizes are 32
// bits wide: with those of 64 the loads come later, which costs 2 % of the time.
// kGiven: `positions` is given; else a row's position is its place
template <typename T, int kWidth, bool kGiven>
__global__ void __launch_bounds__(kForwardThreads)
    embedding_forward_kernel(T* __restrict__ y, const int32_t* __restrict__ tokens,
                             const int32_t* __restrict__ positions,
                             const T* __restrict__ token_table,
                             const T* __restrict__ position_table, int batches, int length,
                             int channels, int place_blocks) {
  const int place = static_cast<int>(blockIdx.x) % place_blocks * static_cast<int>(blockDim.y) +
                    static_cast<int>(threadIdx.y);
  const int first = static_cast<int>(blockIdx.x) / place_blocks * kSharing;
  const int c = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * kWidth;
  if (place >= length || c >= channels) return;
  const uint64_t keep = keep_policy(), leave = leave_policy();
  int rows[kSharing], ids[kSharing], at[kSharing];
#pragma unroll
  for (int i = 0; i < kSharing; ++i) {
    rows[i] = min(first + i, batches - 1) * length + place;
    ids[i] = tokens[rows[i]];
    at[i] = kGiven ? positions[rows[i]] : place;
  }
  const auto load_row = [&](const T* table, int id, auto... policy) {
    return load_packet<kWidth>(table + int64_t{id} * channels + c, policy...);
  };
  Packet<T, kWidth> parts[kSharing], position = {};
#pragma unroll
  for (int i = 0; i < kSharing; ++i) parts[i] = load_row(token_table, ids[i], keep);
  if (position_table) position = load_row(position_table, at[0]);
#pragma unroll
  for (int i = 0; i < kSharing; ++i) {
    if (first + i >= batches) break;
    if (position_table) {
      if (kGiven && at[i] != at[0]) position = load_row(position_table, at[i]);
      at[0] = at[i];
      float sum[kWidth];
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sum[k] = parts[i][k] + position[k];
      parts[i] = pack<T>(sum);
    }
    store_packet(y + int64_t{rows[i]} * channels + c, parts[i], leave);
  }
}

// --- Backward

// Sums of kWidth channels.
template <int kWidth>
struct Sum {
  float at[kWidth] = {};

  template <typename T>
  __device__ __forceinline__ void add(const Packet<T, kWidth>& x) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) at[i] += x[i];
  }
  // to: aligned to the packet's bytes or 16.
  __device__ __forceinline__ void store(float* to, bool accumulate) const {
    constexpr int kPart = kWidth < 4 ? kWidth : 4;
#pragma unroll
    for (int part = 0; part < kWidth; part += kPart) {
      float values[kPart];
#pragma unroll
      for (int i = 0; i < kPart; ++i) values[i] = at[part + i];
      if (accumulate) {
        const Packet<float, kPart> old = load_packet<kPart>(to + part);
#pragma unroll
        for (int i = 0; i < kPart; ++i) values[i] += old[i];
      }
      store_packet(to + part, pack<float>(values));
    }
  }
};

// Where the sorted pairs and the sums of crossing runs lie in scratch.
struct SortedRows {
  int32_t *indices, *rows;  // (count), sorted
  float *heads, *tails;     // (tiles, channels)
  int32_t* unsorted_rows;   // (count): 0, 1, 2, ...
  void* sort_space;
  size_t sort_bytes, bytes;
};

size_t sort_space(int64_t rows) {
  size_t bytes = 0;
  const int32_t* none = nullptr;
  int32_t* out = nullptr;
  cub::DeviceRadixSort::SortPairs(nullptr, bytes, reinterpret_cast<const uint32_t*>(none),
                                  reinterpret_cast<uint32_t*>(out), none, out,
                                  static_cast<int>(rows));
  return bytes;
}

SortedRows lay_out(int64_t rows, int64_t channels, void* scratch) {
  SortedRows sorted{};
  char* const begin = static_cast<char*>(scratch);
  const auto take = [&](size_t bytes) {
    void* at = begin + sorted.bytes;
    sorted.bytes += round_up(bytes, 256);
    return at;
  };
  const int64_t tiles = ceil_div(rows, kTile);
  sorted.indices = static_cast<int32_t*>(take(rows * sizeof(int32_t)));
  sorted.rows = static_cast<int32_t*>(take(rows * sizeof(int32_t)));
  sorted.unsorted_rows = static_cast<int32_t*>(take(rows * sizeof(int32_t)));
  sorted.heads = static_cast<float*>(take(tiles * channels * sizeof(float)));
  sorted.tails = static_cast<float*>(take(tiles * channels * sizeof(float)));
  sorted.sort_bytes = sort_space(rows);
  sorted.sort_space = take(sorted.sort_bytes);
  return sorted;
}

__global__ void __launch_bounds__(kThreads) count_up_kernel(int32_t* rows, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) rows[i] = static_cast<int32_t>(i);
}

// Step 2: block x is the tile, y the slice of the channels.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    add_tile_kernel(float* dtable, const T* dy, SortedRows sorted, int64_t count,
                    int64_t channels) {
  __shared__ int32_t rows[kTile], indices[kTile + 2];  // indices[0]: the one before the tile
  const int64_t begin = int64_t{blockIdx.x} * kTile;
  const int size = static_cast<int>(min(int64_t{kTile}, count - begin));
  for (int i = threadIdx.x; i < kTile + 2; i += blockDim.x) {
    const int64_t at = begin + i - 1;
    indices[i] = at >= 0 && at < count ? sorted.indices[at] : -1;
    if (i < size) rows[i] = sorted.rows[begin + i];
  }
  __syncthreads();
  const int64_t c = (int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * kWidth;
  if (c >= channels) return;
  Sum<kWidth> sum;
  bool began_earlier = indices[0] == indices[1];
  for (int group = 0; group < size; group += kAhead) {
    Packet<T, kWidth> ahead[kAhead];
#pragma unroll
    for (int n = 0; n < kAhead; ++n) {
      if (group + n < size) ahead[n] = load_packet<kWidth>(dy + rows[group + n] * channels + c);
    }
#pragma unroll
    for (int n = 0; n < kAhead; ++n) {
      const int i = group + n;
      if (i >= size) break;
      sum.add(ahead[n]);
      const int32_t index = indices[i + 1];
      const bool goes_on = indices[i + 2] == index;
      if (goes_on && i + 1 < size) continue;
      if (began_earlier) {
        sum.store(sorted.heads + blockIdx.x * channels + c, false);
      } else if (goes_on) {
        sum.store(sorted.tails + blockIdx.x * channels + c, false);
      } else {
        sum.store(dtable + index * channels + c, true);
      }
      sum = {};
      began_earlier = false;
    }
  }
}

// How many tiles behind `tile` begin with `index`. The indices are sorted: bisection.
__device__ __forceinline__ int64_t tiles_that_follow(const int32_t* indices, int64_t tile,
                                                     int64_t tiles, int32_t index) {
  int64_t inside = tile, outside = tiles;
  for (int64_t step = 1; inside + step < outside; step *= 2) {  // most runs are short
    if (indices[(inside + step) * kTile] != index) {
      outside = inside + step;
      break;
    }
    inside += step;
  }
  while (outside - inside > 1) {
    const int64_t middle = (inside + outside) / 2;
    (indices[middle * kTile] == index ? inside : outside) = middle;
  }
  return inside - tile;
}

// Step 3: block x is the tile in which a run begins, y the slice of kWarp * kWidth channels.
template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    add_crossing_runs_kernel(float* dtable, SortedRows sorted, int64_t count, int64_t channels) {
  __shared__ Sum<kWidth> shared[kWarps][kWarp];
  const int64_t tile = blockIdx.x, tiles = ceil_div(count, kTile);
  const int64_t begin = tile * kTile, last = begin + kTile - 1;
  const int32_t index = sorted.indices[last];  // not the last tile: it is full
  if (sorted.indices[last + 1] != index) return;
  const bool whole = sorted.indices[begin] == index;
  if (whole && begin > 0 && sorted.indices[begin - 1] == index) return;  // began earlier

  const int64_t heads = tiles_that_follow(sorted.indices, tile, tiles, index);
  const int64_t share = ceil_div(heads, kWarps);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t first = tile + 1 + warp * share;
  const int64_t end = min(first + share, tile + 1 + heads);
  const int64_t c = (int64_t{blockIdx.y} * kWarp + lane) * kWidth;
  Sum<kWidth> sum;
  if (c < channels) {
    if (warp == 0) sum.add(load_packet<kWidth>(sorted.tails + tile * channels + c));
#pragma unroll 8
    for (int64_t head = first; head < end; ++head) {
      sum.add(load_packet<kWidth>(sorted.heads + head * channels + c));
    }
  }
  shared[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || c >= channels) return;
  for (int other = 1; other < kWarps; ++other) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum.at[i] += shared[other][lane].at[i];
  }
  sum.store(dtable + index * channels + c, true);
}

// A thread per packet of the table: the order of the rows.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    add_positions_kernel(float* dtable, const T* dy, int64_t rows, int64_t length,
                         int64_t channels) {
  const int64_t packets = channels / kWidth;
  const int64_t packet = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t t = packet / packets, c = packet % packets * kWidth;
  if (t >= length) return;
  Sum<kWidth> sum;
#pragma unroll 8
  for (int64_t row = t; row < rows; row += length) {
    sum.add(load_packet<kWidth>(dy + row * channels + c));
  }
  sum.store(dtable + t * channels + c, true);
}

int bits_below(int64_t table_rows) {
  int bits = 1;
  while (bits < 32 && (int64_t{1} << bits) < table_rows) ++bits;
  return bits;
}

void sort_rows(const SortedRows& sorted, const int32_t* indices, int64_t rows, int64_t table_rows,
               cudaStream_t stream) {
  count_up_kernel<<<static_cast<unsigned>(ceil_div(rows, kThreads)), kThreads, 0, stream>>>(
      sorted.unsorted_rows, rows);
  size_t bytes = sorted.sort_bytes;
  cub::DeviceRadixSort::SortPairs(sorted.sort_space, bytes,
                                  reinterpret_cast<const uint32_t*>(indices),
                                  reinterpret_cast<uint32_t*>(sorted.indices),
                                  static_cast<const int32_t*>(sorted.unsorted_rows), sorted.rows,
                                  static_cast<int>(rows), 0, bits_below(table_rows), stream);
}

template <typename T, int kWidth>
void add_sorted_rows(float* dtable, const T* dy, const SortedRows& sorted, int64_t rows,
                     int64_t channels, cudaStream_t stream) {
  const int64_t tiles = ceil_div(rows, kTile), packets = channels / kWidth;
  const int64_t threads = std::min<int64_t>(kThreads, round_up(packets, kWarp));
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(ceil_div(packets, threads)));
  add_tile_kernel<T, kWidth>
      <<<grid, static_cast<unsigned>(threads), 0, stream>>>(dtable, dy, sorted, rows, channels);
  if (tiles == 1) return;
  constexpr int kFloats = kWidth < 4 ? kWidth : 4;
  const dim3 edges(static_cast<unsigned>(tiles - 1),
                   static_cast<unsigned>(ceil_div(channels, kWarp * kFloats)));
  add_crossing_runs_kernel<kFloats><<<edges, kThreads, 0, stream>>>(dtable, sorted, rows, channels);
}

// body(T{}, std::integral_constant<int, width>{}): the type and the width of a packet of a row.
template <typename Body>
void with_packets(Element element, int64_t channels, const Body& body) {
  with_element(element, [&](auto type) {
    constexpr int kSize = Vector<decltype(type)>::kSize;
    if (channels % kSize == 0) {
      body(type, std::integral_constant<int, kSize>{});
    } else {
      body(type, std::integral_constant<int, 1>{});
    }
  });
}

}  // namespace

void embedding_forward(void* y, const int32_t* tokens, const int32_t* positions,
                       const void* token_table, const void* position_table, Element element,
                       int64_t rows, int64_t length, int64_t channels, cudaStream_t stream) {
  if (rows <= 0 || channels <= 0) return;
  const int64_t batches = rows / length;
  with_packets(element, channels, [&](auto type, auto width) {
    using T = decltype(type);
    constexpr int kWidth = decltype(width)::value;
    const int64_t packets = channels / kWidth;
    const int64_t slices = ceil_div(packets, kForwardThreads);
    const auto lanes = static_cast<unsigned>(ceil_div(packets, slices));
    const unsigned places = lanes >= kForwardThreads / 2 ? 1 : kForwardThreads / lanes;
    const int64_t place_blocks = ceil_div(length, int64_t{places});
    const auto blocks = static_cast<unsigned>(place_blocks * ceil_div(batches, kSharing));
    const auto kernel = positions ? embedding_forward_kernel<T, kWidth, true>
                                  : embedding_forward_kernel<T, kWidth, false>;
    kernel<<<dim3(blocks, static_cast<unsigned>(slices)), dim3(lanes, places), 0, stream>>>(
        static_cast<T*>(y), tokens, positions, static_cast<const T*>(token_table),
        static_cast<const T*>(position_table), static_cast<int>(batches), static_cast<int>(length),
        static_cast<int>(channels), static_cast<int>(place_blocks));
  });
}

int64_t embedding_backward_scratch(int64_t rows, int64_t channels) {
  return rows <= 0 ? 0 : static_cast<int64_t>(lay_out(rows, channels, nullptr).bytes);
}

void embedding_backward(float* dtable, const void* dy, const int32_t* indices, Element element,
                        int64_t rows, int64_t channels, int64_t table_rows, void* scratch,
                        cudaStream_t stream) {
  if (rows <= 0 || channels <= 0) return;
  const SortedRows sorted = lay_out(rows, channels, scratch);
  sort_rows(sorted, indices, rows, table_rows, stream);
  with_packets(element, channels, [&](auto type, auto width) {
    using T = decltype(type);
    add_sorted_rows<T, decltype(width)::value>(dtable, static_cast<const T*>(dy), sorted, rows,
                                               channels, stream);
  });
}

void embedding_backward_positions(float* dtable, const void* dy, Element element, int64_t rows,
                                  int64_t length, int64_t channels, cudaStream_t stream) {
  if (rows <= 0 || length <= 0 || channels <= 0) return;
  with_packets(element, channels, [&](auto type, auto width) {
    using T = decltype(type);
    constexpr int kWidth = decltype(width)::value;
    const int64_t packets = length * (channels / kWidth);
    add_positions_kernel<T, kWidth>
        <<<static_cast<unsigned>(ceil_div(packets, kThreads)), kThreads, 0, stream>>>(
            dtable, static_cast<const T*>(dy), rows, length, channels);
  });
}

}  // namespace llm::cuda
