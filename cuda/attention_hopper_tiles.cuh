// Tiles of the attention kernels on Hopper: copies and products of whole tiles, see hopper.cuh.
#pragma once

#include "cuda/attention_arguments.h"
#include "cuda/hopper.cuh"

namespace llm::cuda {

// A tensor of heads (of `count` heads and `rows` rows) in boxes of box_rows x 64.
inline bool make_head_map(CUtensorMap* map, const Heads& heads, const AttentionProblem& problem,
                          int64_t count, int64_t rows, int box_rows) {
  return make_tensor_map(map, {heads.data, problem.B, count, rows, problem.D, heads.batch,
                               heads.head, heads.row, box_rows});
}

__host__ __device__ constexpr int panels_of(int D) {
  return (D + kPanelColumns - 1) / kPanelColumns;
}
__host__ __device__ constexpr int tile_elements(int rows, int D) {
  return panels_of(D) * rows * kPanelColumns;
}
__host__ __device__ constexpr int tile_bytes(int rows, int D) {
  return panels_of(D) * rows * kPanelRowBytes;
}

#ifdef LLM_HOPPER

// Orders a tile of kRows x D, box by box of 64 columns, into shared memory; the caller has told
// `full` to expect tile_bytes(). What lies outside the tensor becomes 0.
template <int kRows, int kD>
__device__ __forceinline__ void load_tile(bf16* to, const CUtensorMap* map, uint64_t* full, int row,
                                          int head, int batch) {
#pragma unroll
  for (int panel = 0; panel < panels_of(kD); ++panel) {
    tma_load(to + panel * kRows * kPanelColumns, map, full, panel * kPanelColumns, row, head,
             batch);
  }
}

// s = a b^T over D, one committed batch. a: 64 rows x D in a tile of kRowsA rows; b: kN rows x D in
// a tile of kRowsB rows; both as descriptors of rows.
template <int kN, int kD, int kRowsA, int kRowsB>
__device__ __forceinline__ void issue_scores(float (&s)[kN / 2], uint64_t a, uint64_t b) {
  wgmma_fence();
#pragma unroll
  for (int step = 0; step < kD / 16; ++step) {
    const int panel = step / 4, bytes = step % 4 * 32;
    wgmma_shared<kN>(s, advance(a, panel * kRowsA * kPanelRowBytes + bytes),
                     advance(b, panel * kRowsB * kPanelRowBytes + bytes), step > 0);
  }
  wgmma_commit();
}

// o += p b over kN rows of b; the caller commits. p: 64 x kN in registers; b: kN rows x D as a
// descriptor of columns.
template <int kN, int kD>
__device__ __forceinline__ void issue_values(float (&o)[kD / 2], uint32_t (&p)[kN / 4],
                                             uint64_t b) {
  hold_registers(o);
  hold_registers(p);
  wgmma_fence();
#pragma unroll
  for (int step = 0; step < kN / 16; ++step) {
    wgmma_registers<kD>(o, &p[4 * step], advance(b, step * 16 * kPanelRowBytes));
  }
}

// bf16 pairs of x from `from` on.
template <int kPairs, int kCount>
__device__ __forceinline__ void pack(uint32_t (&pairs)[kPairs], const float (&x)[kCount],
                                     int from) {
#pragma unroll
  for (int i = 0; i < kPairs; ++i) pairs[i] = pack_bf16(x[from + 2 * i], x[from + 2 * i + 1]);
}

// Writes a warpgroup's 64 x D accumulator, times `factor` of each of the lane's two rows, as bf16
// to a tile of 64 rows in shared memory.
template <int kColumns>
__device__ __forceinline__ void store_tile(void* tile, const float (&d)[kColumns / 2],
                                           float factor0, float factor1) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x % kWarpgroup / kWarp;
  const int row = 16 * warp + lane % 16;  // matrices: rows 0-7, 8-15, then the next 8 columns
  char* base = static_cast<char*>(tile) + row * kPanelRowBytes;
#pragma unroll
  for (int i = 0; i < kColumns / 8; i += 2) {
    const int chunk = i + lane / 16;
    char* to = base + chunk / 8 * (64 * kPanelRowBytes) + (((chunk % 8) ^ (row % 8)) << 4);
    store_matrices(to, pack_bf16(d[4 * i] * factor0, d[4 * i + 1] * factor0),
                   pack_bf16(d[4 * i + 2] * factor1, d[4 * i + 3] * factor1),
                   pack_bf16(d[4 * i + 4] * factor0, d[4 * i + 5] * factor0),
                   pack_bf16(d[4 * i + 6] * factor1, d[4 * i + 7] * factor1));
  }
}

// All the warpgroup's threads: bf16 of the accumulator to `tile` (64 rows, as it is free to be
// overwritten by then), from there to the tensor's rows from `row` on. The group's first thread
// orders the copy, and has to tma_store_wait() before anybody writes to the tile.
template <int kD>
__device__ __forceinline__ void store_rows(const CUtensorMap* map, bf16* tile,
                                           const float (&d)[kD / 2], float factor0, float factor1,
                                           int row, int rows, int head, int batch) {
  const int barrier = 1 + threadIdx.x / kWarpgroup;
  named_barrier(barrier, kWarpgroup);
  store_tile<kD>(tile, d, factor0, factor1);
  fence_async_proxy();
  named_barrier(barrier, kWarpgroup);
  if (threadIdx.x % kWarpgroup != 0 || row >= rows) return;
#pragma unroll
  for (int panel = 0; panel < panels_of(kD); ++panel) {
    tma_store(map, tile + panel * 64 * kPanelColumns, panel * kPanelColumns, row, head, batch);
  }
  tma_store_commit();
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
