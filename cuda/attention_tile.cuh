// What the tensor-core attention kernels share: tiles of a head in shared memory and the two kinds
// of products with them.
//
// A block has 4 warps. A tile is some rows of one head (queries, keys, ...), D bf16 each, 16 bytes
// apart: the distance of two rows is then an odd number of 16-byte words, so that the 8 rows of a
// matrix load meet no bank twice, and all addresses are one register plus a constant.
//
// Each warp owns 16 * kRowTiles rows of the block's result and keeps their sums in registers. With
// two row tiles every fragment of the other side is used twice, without which shared memory would
// limit the tensor cores of Hopper (4 cycles for 4 products of 1.6 cycles each).
//
// Keys lie in shared memory in an order that gives a lane 4 consecutive keys of a query: one block
// of Philox. Which key a column of a product stands for matters to masks and dropout only.
#pragma once

#include "cuda/attention_mask.cuh"
#include "cuda/mma.cuh"

namespace llm::cuda {

constexpr int kTileWarps = 4;
constexpr int kTileThreads = kTileWarps * kWarp;
constexpr float kLn2 = 0.693147180559945309f;

template <int D>
constexpr int kRowBytes = D * 2 + 16;

// --- Orders of rows in a tile: the row that lies at a place. Rows of place p and of q add up to
// that of p + q for p < 16 and q a multiple of 16, and for p < 4 and q a multiple of 4.

struct NaturalOrder {
  __device__ static int row_at(int place) { return place; }
};
// As columns of a product: lane with pair = lane % 4 has keys 4 pair ... 4 pair + 3 of each 16,
// the first two of them in the first column tile of 8, the others in the second.
struct ColumnOrder {
  __device__ static int row_at(int place) {
    return place / 16 * 16 + place % 8 / 2 * 4 + place % 16 / 8 * 2 + place % 2;
  }
};
// As rows of a product: row = lane / 4 has keys 2 kRowTiles row, +1, ... of each warp's.
template <int kRowTiles>
struct RowOrder {
  __device__ static int row_at(int place) {
    constexpr int kRows = 16 * kRowTiles;
    return place / kRows * kRows + place % 8 * (2 * kRowTiles) + place % kRows / 8;
  }
};

// --- Copies

// Rows of one head, `stride` elements apart.
struct HeadRows {
  bf16* data;
  int stride;
};

// From row `row` of batch row b on.
__device__ __forceinline__ HeadRows rows_of_head(const Heads& heads, int64_t b, int64_t row,
                                                 int64_t head) {
  bf16* data = static_cast<bf16*>(heads.data);
  return {data + b * heads.batch + row * heads.row + head * heads.head,
          static_cast<int>(heads.row)};
}

// Starts to copy rows [first, first + kRows) of a head, zeros from row `end` on. 8 threads copy a
// row, 128 bytes at a time, so that a thread needs one address per row.
template <int D, int kRows, typename Order>
__device__ __forceinline__ void copy_tile(uint32_t to, const HeadRows& rows, int first, int end) {
  static_assert(kRows % 16 == 0, "16 rows at a time");
  constexpr int kPieces = D / 8;
  const int place = threadIdx.x / 8, piece = threadIdx.x % 8;
  to += place * kRowBytes<D> + piece * 16;
  first += Order::row_at(place);
  const bf16* from = rows.data + int64_t{first} * rows.stride + piece * 8;
#pragma unroll
  for (int n = 0; n < kRows; n += 16) {
    const bf16* row = from + int64_t{Order::row_at(n)} * rows.stride;
    const bool valid = first + Order::row_at(n) < end;
#pragma unroll
    for (int k = 0; k < kPieces; k += 8) {
      if (k + 8 > kPieces && k + piece >= kPieces) continue;
      copy_async_16(to + n * kRowBytes<D> + k * 16, row + k * 8, valid);
    }
  }
}

// Writes a warp's rows of a result, sums times factors[row tile][half], through its own part of
// shared memory, 16 bytes per lane. Rows from `end` on are left out.
template <int D, int kRowTiles, typename Order>
__device__ __forceinline__ void store_rows(const HeadRows& rows, int first, int end,
                                           const float (&sums)[kRowTiles][D / 8][4],
                                           const float (&factors)[kRowTiles][2], char* staging) {
  constexpr int kPieces = D / 8;
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      char* row = staging + (16 * m + 8 * half + lane / 4) * kRowBytes<D> + lane % 4 * 4;
      const float factor = factors[m][half];
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        *reinterpret_cast<uint32_t*>(row + n * 16) =
            pack_bf16(sums[m][n][2 * half] * factor, sums[m][n][2 * half + 1] * factor);
      }
    }
  }
  __syncwarp();
  const int place = lane / 8, piece = lane % 8;
  staging += place * kRowBytes<D> + piece * 16;
  first += Order::row_at(place);
  bf16* to = rows.data + int64_t{first} * rows.stride + piece * 8;
#pragma unroll
  for (int n = 0; n < 16 * kRowTiles; n += 4) {
    bf16* row = to + int64_t{Order::row_at(n)} * rows.stride;
    if (first + Order::row_at(n) >= end) continue;
#pragma unroll
    for (int k = 0; k < kPieces; k += 8) {
      if (k + 8 > kPieces && k + piece >= kPieces) continue;
      *reinterpret_cast<int4*>(row + k * 8) =
          *reinterpret_cast<const int4*>(staging + n * kRowBytes<D> + k * 16);
    }
  }
  __syncwarp();
}

// --- Products

// Where a lane's row begins in 16 x 16 elements of a tile, for matrix loads of
// left fragments, and transposed of right fragments (rows of the tile are summed over) ...
template <int D>
__device__ __forceinline__ uint32_t left_offset() {
  const int lane = threadIdx.x % kWarp;
  return lane % 16 * kRowBytes<D> + lane / 16 * 16;
}
// ... and of right fragments of two column tiles (rows of the tile are columns of the product).
template <int D>
__device__ __forceinline__ uint32_t right_offset() {
  const int lane = threadIdx.x % kWarp;
  return (lane % 8 + lane / 16 * 8) * kRowBytes<D> + lane / 8 % 2 * 16;
}

// A warp's rows as the left side of products over D: in registers all the time, or loaded at each
// use.
template <int D, int kRowTiles, bool kInRegisters>
class LeftRows {
 public:
  // address: of the first row, plus left_offset().
  __device__ __forceinline__ explicit LeftRows(uint32_t address) : address_(address) {
    if constexpr (kInRegisters) {
#pragma unroll
      for (int step = 0; step < D / 16; ++step) read(fragments_[step], step);
    }
  }
  __device__ __forceinline__ void get(uint32_t (&to)[kRowTiles][4], int step) const {
    if constexpr (kInRegisters) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int n = 0; n < 4; ++n) to[m][n] = fragments_[step][m][n];
      }
    } else {
      read(to, step);
    }
  }

 private:
  __device__ __forceinline__ void read(uint32_t (&to)[kRowTiles][4], int step) const {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      load_matrices(to[m], address_ + m * 16 * kRowBytes<D> + step * 32);
    }
  }

  uint32_t address_;
  uint32_t fragments_[kInRegisters ? D / 16 : 1][kRowTiles][4];
};

// results[row][column] = sum over d of left[row][d] * tile[column][d].
//   tile: address of its first row, plus right_offset()
template <int D, int kRowTiles, bool kInRegisters, int kColumnTiles>
__device__ __forceinline__ void multiply_rows(float (&results)[kRowTiles][kColumnTiles][4],
                                              const LeftRows<D, kRowTiles, kInRegisters>& left,
                                              uint32_t tile) {
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
      for (int x = 0; x < 4; ++x) results[m][n][x] = 0;
    }
  }
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
    uint32_t rows[kRowTiles][4];
    left.get(rows, step);
#pragma unroll
    for (int n = 0; n < kColumnTiles; n += 2) {
      uint32_t right[4];
      load_matrices(right, tile + n * 8 * kRowBytes<D> + step * 32);
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        multiply_add(results[m][n], rows[m], right[0], right[1]);
        multiply_add(results[m][n + 1], rows[m], right[2], right[3]);
      }
    }
  }
}

// sums[row][d] += sum over k of weights[row][k] * tile[k][d].
//   weights: left fragments of 16 k each   tile: address of its first row, plus left_offset()
template <int D, int kRowTiles, int kSteps>
__device__ __forceinline__ void add_products(float (&sums)[kRowTiles][D / 8][4],
                                             const uint32_t (&weights)[kRowTiles][kSteps][4],
                                             uint32_t tile) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int n = 0; n < D / 8; n += 2) {
      uint32_t right[4];
      load_matrices_transposed(right, tile + step * 16 * kRowBytes<D> + n * 16);
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        multiply_add(sums[m][n], weights[m][step], right[0], right[1]);
        multiply_add(sums[m][n + 1], weights[m][step], right[2], right[3]);
      }
    }
  }
}

// Rounds results to the left fragments of a second product.
template <int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void round_results(uint32_t (&to)[kRowTiles][kColumnTiles / 2][4],
                                              const float (&results)[kRowTiles][kColumnTiles][4]) {
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
      to[m][n / 2][n % 2 * 2] = pack_bf16(results[m][n][0], results[m][n][1]);
      to[m][n / 2][n % 2 * 2 + 1] = pack_bf16(results[m][n][2], results[m][n][3]);
    }
  }
}

// --- Masks and dropout of keys in ColumnOrder

// The key of column tile n, element x % 2, from the first of the tile.
__device__ __forceinline__ int key_of_column(int n, int x) {
  return n / 2 * 16 + threadIdx.x % 4 * 4 + n % 2 * 2 + x % 2;
}

// Which probabilities of a lane's rows and 16 * kGroups keys are kept: bit
// 4 kGroups (2 row tile + half) + 2 column tile + x % 2. first: the element of its first row and
// key
template <int kRowTiles, int kGroups>
__device__ __forceinline__ uint64_t keeps_columns(const ProbabilityDropout& dropout,
                                                  uint64_t stream, uint64_t first,
                                                  uint32_t row_elements) {
  static_assert(kGroups <= 4 && 8 * kGroups * kRowTiles <= 64, "they fit");
  uint64_t kept = 0;
  if (first % 4 == 0) {      // and so are the other rows', 8 * row_elements further on
#pragma unroll(4 / kGroups)  // 4 Philox blocks at a time hide their latency
    for (int row = 0; row < 2 * kRowTiles; ++row, first += 8 * row_elements) {
      uint32_t bits = 0;
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        bits |= dropout.keeps_block(stream, first / 4 + 4 * group) << 4 * group;
      }
      kept |= static_cast<uint64_t>(bits) << 4 * kGroups * row;
    }
    return kept;
  }
#pragma unroll 1
  for (int n = 0; n < 2 * kRowTiles * kGroups; ++n) {
    const uint64_t element = first + uint64_t{row_elements} * (n / kGroups * 8) + n % kGroups * 16;
    kept |= static_cast<uint64_t>(dropout.keeps_four(stream, element)) << 4 * n;
  }
  return kept;
}

__device__ __forceinline__ bool is_kept(uint64_t kept, int groups, int m, int n, int x) {
  return kept >> (4 * groups * (2 * m + x / 2) + 2 * n + x % 2) & 1;
}

}  // namespace llm::cuda
