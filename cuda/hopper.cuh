// Hopper's own instructions as small functions: barriers in shared memory (mbarrier), the tensor
// memory accelerator (TMA), warpgroup products (wgmma), and the host's tensor maps.
//
// Tiles in shared memory. A tile of a (rows, D) matrix lies as panels of 64 columns: a panel is
// `rows` rows of 128 bytes, aligned to 1024 bytes, in which TMA has exchanged the 16-byte chunks of
// a row: chunk c of row r lies at chunk c ^ (r % 8) ("128-byte swizzle"). So 8 rows of a chunk
// column lie in 8 different groups of banks, and one layout serves both ways of reading:
//   - along D (the products over D): descriptor of rows; 16 columns on: 32 bytes on;
//   - along the rows (the products over rows): descriptor of columns; 16 rows on: 2048 bytes on.
// Both advances keep the address bits 7 to 9 that the swizzle reads, and the tile's start has them
// zero, so that they may be added to the start address.
//
// Accumulators of a warpgroup product 64 x N: warp w of the group has rows 16 w ... 16 w + 15; lane
// l has, of each 8 columns i, d[4 i], d[4 i + 1] at row l / 4, columns 8 i + 2 (l % 4) and the
// next, and d[4 i + 2], d[4 i + 3] 8 rows further down. Two neighbouring groups of 8 columns,
// rounded to bf16 pairs, are the first operand of a product over those 16 columns: no shuffles in
// between.
#pragma once

#include <cuda.h>

#include <climits>

#include "cuda/common.cuh"

// Set where the compiler's target has these instructions; kernels trap elsewhere.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define LLM_HOPPER 1
#endif

namespace llm::cuda {

constexpr int kWarpgroup = 128;
constexpr int kPanelColumns = 64;
constexpr int kPanelRowBytes = 128;

// --- Host: tensor maps

// A (batches, heads, rows, columns) bf16 tensor whose columns are dense, strides in elements
// (multiples of 8, start aligned to 16 bytes), in boxes of box_rows x 64. What a box reads outside
// the tensor is 0; what it would write there is dropped.
struct TensorMapShape {
  const void* data;
  int64_t batches, heads, rows, columns;
  int64_t batch_stride, head_stride, row_stride;
  int box_rows;
};

// False if the driver does not know tensor maps or refuses this one.
inline bool make_tensor_map(CUtensorMap* map, const TensorMapShape& shape) {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const Encode encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                               12000, cudaEnableDefault, &found);
#else
    const cudaError_t error =
        cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
    const bool works = error == cudaSuccess && found == cudaDriverEntryPointSuccess;
    return works ? reinterpret_cast<Encode>(function) : nullptr;
  }();
  if (!encode) return false;
  // The stride of an axis of size 1 is never used but must be a valid one.
  const auto bytes = [](int64_t size, int64_t stride) {
    return static_cast<cuuint64_t>(size == 1 ? 16 : stride * 2);
  };
  const cuuint64_t sizes[4] = {
      static_cast<cuuint64_t>(shape.columns), static_cast<cuuint64_t>(shape.rows),
      static_cast<cuuint64_t>(shape.heads), static_cast<cuuint64_t>(shape.batches)};
  const cuuint64_t strides[3] = {bytes(shape.rows, shape.row_stride),
                                 bytes(shape.heads, shape.head_stride),
                                 bytes(shape.batches, shape.batch_stride)};
  const cuuint32_t box[4] = {kPanelColumns, static_cast<cuuint32_t>(shape.box_rows), 1, 1};
  const cuuint32_t steps[4] = {1, 1, 1, 1};
  return encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<void*>(shape.data), sizes,
                strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

// Shared memory to ask for when a tensor map could not be made: the launch fails and reports it.
constexpr size_t kRefusedLaunch = INT_MAX;

#ifdef LLM_HOPPER

// --- Barriers

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ void barrier_init(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}
// Makes barrier_init visible to TMA; other threads still need a __syncthreads().
__device__ __forceinline__ void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void barrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
// Arrives, and lets the phase wait for this many bytes of TMA as well.
__device__ __forceinline__ void barrier_expect(uint64_t* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
// Waits for the end of the barrier's current phase if its parity is this one. A fresh barrier is in
// a phase of parity 0, and counts as having ended one of parity 1.
__device__ __forceinline__ void barrier_wait(uint64_t* barrier, int parity) {
  asm volatile(
      "{\n.reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra over;\n"
      "bra again;\n"
      "over:\n}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
// The hardware's barrier `id` (0 is __syncthreads) among `threads` threads.
__device__ __forceinline__ void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// What a warpgroup has of the multiprocessor's registers, for each of its threads. Takes effect in
// kernels with a bound on their blocks, where each role is one branch.
template <int kRegisters>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// --- Copies

// Brings the map to where TMA reads it.
__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
// One box of the tensor to shared memory; `barrier` counts its bytes.
__device__ __forceinline__ void tma_load(void* to, const CUtensorMap* map, uint64_t* barrier,
                                         int column, int row, int head, int batch) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%2, %3, %4, %5}], [%6];" ::"r"(shared_address(to)),
      "l"(map), "r"(column), "r"(row), "r"(head), "r"(batch), "r"(shared_address(barrier))
      : "memory");
}
// The same for plain memory; bytes and addresses are multiples of 16.
__device__ __forceinline__ void bulk_load(void* to, const void* from, int bytes,
                                          uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}
// Between ordinary stores to shared memory and TMA or wgmma reading it: each writing thread, before
// the barrier.
__device__ __forceinline__ void fence_async_proxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void tma_store(const CUtensorMap* map, const void* from, int column,
                                          int row, int head, int batch) {
  asm volatile(
      "cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%1, %2, %3, %4}], [%5];" ::"l"(
          map),
      "r"(column), "r"(row), "r"(head), "r"(batch), "r"(shared_address(from))
      : "memory");
}
__device__ __forceinline__ void tma_store_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
// Until this thread's committed stores have read their shared memory, which must not be written or
// given up before.
__device__ __forceinline__ void tma_store_wait() {
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

// Four 8 x 8 matrices from accumulator-like fragments to rows in shared memory; lane l gives the
// address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void store_matrices(void* row, uint32_t a, uint32_t b, uint32_t c,
                                               uint32_t d) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
      "r"(a), "r"(b), "r"(c), "r"(d)
      : "memory");
}

// --- Warpgroup products

// Before the first product of a batch, and after registers that it uses were written.
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most kPending committed batches are under way.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Products write and read registers behind the compiler's back until they were waited for; this
// holds uses of the registers where they stand.
template <int kCount>
__device__ __forceinline__ void hold_registers(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int kCount>
__device__ __forceinline__ void hold_registers(uint32_t (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

// Keeps the assembler from moving a wait that follows in front of the arithmetic that leads to x,
// which is to be done while products are under way: a branch, never taken, ends the block.
__device__ __forceinline__ void compute_before_wait(float x) {
  if (__any_sync(~0u, x > 3e38f)) asm volatile("nanosleep.u32 1;" ::: "memory");
}

// Descriptors of a tile's panel: start, leading and stride byte offsets (in 16 bytes), swizzle.
__device__ __forceinline__ uint64_t descriptor(const void* tile, int leading, int stride) {
  const uint64_t start = shared_address(tile) >> 4;
  return start | static_cast<uint64_t>(leading >> 4) << 16 |
         static_cast<uint64_t>(stride >> 4) << 32 | uint64_t{1} << 62;
}
// Products over D: 8 rows on is 1024 bytes on; the leading offset is not used.
__device__ __forceinline__ uint64_t descriptor_of_rows(const void* panel) {
  return descriptor(panel, 16, 8 * kPanelRowBytes);
}
// Products over the rows: 8 rows on is 1024 bytes on, the next 64 columns a panel of `rows` on.
__device__ __forceinline__ uint64_t descriptor_of_columns(const void* panel, int rows) {
  return descriptor(panel, rows * kPanelRowBytes, 8 * kPanelRowBytes);
}
// The descriptor this many bytes further on.
__device__ __forceinline__ uint64_t advance(uint64_t descriptor, int bytes) {
  return descriptor + static_cast<uint64_t>(bytes >> 4);
}

// The accumulators in the text of an instruction, and as operands.
#define LLM_OPERANDS_32                                                                        \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
  "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define LLM_OPERANDS_40 LLM_OPERANDS_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define LLM_OPERANDS_48 LLM_OPERANDS_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define LLM_OPERANDS_64                                                           \
  LLM_OPERANDS_48                                                                 \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, " \
  "%63"
#define LLM_F8(d, i)                                                                          \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])

// d = a b^T, or d += a b^T: 64 x 16 times N x 16, both in shared memory with the 16 dense.
template <int N>
__device__ void wgmma_shared(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate);
// d += a b: 64 x 16 in registers times 16 x N in shared memory with the N dense.
template <int N>
__device__ void wgmma_registers(float (&d)[N / 2], const uint32_t* a, uint64_t b);

template <>
__device__ __forceinline__ void wgmma_shared<64>(float (&d)[32], uint64_t a, uint64_t b,
                                                 bool accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{" LLM_OPERANDS_32 "}, %32, %33, p, 1, 1, 0, 0;\n}\n"
      : LLM_F8(d, 0), LLM_F8(d, 8), LLM_F8(d, 16), LLM_F8(d, 24)
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));
}
template <>
__device__ __forceinline__ void wgmma_shared<128>(float (&d)[64], uint64_t a, uint64_t b,
                                                  bool accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{" LLM_OPERANDS_64 "}, %64, %65, p, 1, 1, 0, 0;\n}\n"
      : LLM_F8(d, 0), LLM_F8(d, 8), LLM_F8(d, 16), LLM_F8(d, 24), LLM_F8(d, 32), LLM_F8(d, 40),
        LLM_F8(d, 48), LLM_F8(d, 56)
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));
}
template <>
__device__ __forceinline__ void wgmma_registers<64>(float (&d)[32], const uint32_t* a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{" LLM_OPERANDS_32 "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n"
      : LLM_F8(d, 0), LLM_F8(d, 8), LLM_F8(d, 16), LLM_F8(d, 24)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
template <>
__device__ __forceinline__ void wgmma_registers<80>(float (&d)[40], const uint32_t* a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n80k16.f32.bf16.bf16 "
      "{" LLM_OPERANDS_40 "}, {%40, %41, %42, %43}, %44, 1, 1, 1, 1;\n"
      : LLM_F8(d, 0), LLM_F8(d, 8), LLM_F8(d, 16), LLM_F8(d, 24), LLM_F8(d, 32)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
template <>
__device__ __forceinline__ void wgmma_registers<96>(float (&d)[48], const uint32_t* a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n96k16.f32.bf16.bf16 "
      "{" LLM_OPERANDS_48 "}, {%48, %49, %50, %51}, %52, 1, 1, 1, 1;\n"
      : LLM_F8(d, 0), LLM_F8(d, 8), LLM_F8(d, 16), LLM_F8(d, 24), LLM_F8(d, 32), LLM_F8(d, 40)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
template <>
__device__ __forceinline__ void wgmma_registers<128>(float (&d)[64], const uint32_t* a,
                                                     uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{" LLM_OPERANDS_64 "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;\n"
      : LLM_F8(d, 0), LLM_F8(d, 8), LLM_F8(d, 16), LLM_F8(d, 24), LLM_F8(d, 32), LLM_F8(d, 40),
        LLM_F8(d, 48), LLM_F8(d, 56)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
#undef LLM_F8
#undef LLM_OPERANDS_32
#undef LLM_OPERANDS_40
#undef LLM_OPERANDS_48
#undef LLM_OPERANDS_64

// --- Arithmetic

// Two floats to nearest even; `low` at the lower address.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
// Over the four lanes that share the rows of an accumulator.
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

#endif  // LLM_HOPPER

}  // namespace llm::cuda
