// How the multiprocessors tell each other their results within one launch. What one has to say is
// cut into units of 8 bytes: 4 bytes of data (one f32 or two bf16) and a flag that belongs to this
// launch and layer. A unit is written and read in one piece, so whoever sees the flag has the data:
// no fence, no barrier, no second trip to the L2 cache. A reader asks for its units again and again
// until their flags are there.
//
// A buffer is written again one layer later. Nobody does so too early: before it writes, a
// multiprocessor has read the sums of some phase in between, which every multiprocessor has a part
// of and sends only after it has read the buffer.
#pragma once

#include "cuda/common.cuh"
#include "cuda/transformer_decode.h"

namespace llm::cuda {

constexpr int kDecodeProcessors = 256;  // at most
constexpr int kMostChunks = 8;          // of a sequence's keys
constexpr int kMostHeadSize = 128;
constexpr int kPartialUnits = kMostHeadSize + 2;  // of a partial softmax: maximum, total, sums
constexpr int kPartialSlots = kDecodeSequences * kMostChunks * kDecodeChannels / 64;

// The memory of it all; one for a stream of launches.
struct Exchange {
  uint32_t launches, exits;  // so far; blocks that have left the present launch
  uint64_t unused[15];
  uint64_t qkv[kDecodeSequences * 3 * kDecodeChannels];  // (S, 3 C)
  uint64_t attention[kDecodeSequences * kDecodeChannels];
  uint64_t middle[kDecodeSequences * kDecodeChannels];  // the stream between attention and MLP
  uint64_t hidden[kDecodeSequences * kDecodeHidden];
  uint64_t stream[kDecodeSequences * kDecodeChannels];  // behind the MLP
  uint64_t partials[kPartialSlots * kPartialUnits];     // (S, H, chunks)
};

// Elements that the data of a unit hold.
template <typename T>
constexpr int kUnitElements = 4 / sizeof(T);

__device__ __forceinline__ uint64_t unit_of(uint32_t data, uint32_t flag) {
  return uint64_t{flag} << 32 | data;
}

__device__ __forceinline__ void send(uint64_t* to, uint32_t data, uint32_t flag) {
  asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(to), "l"(unit_of(data, flag))
               : "memory");
}
// Two neighbours; `to` at a multiple of 16 bytes.
__device__ __forceinline__ void send(uint64_t* to, float a, float b, uint32_t flag) {
  asm volatile("st.relaxed.gpu.global.v2.b64 [%0], {%1, %2};" ::"l"(to),
               "l"(unit_of(__float_as_uint(a), flag)), "l"(unit_of(__float_as_uint(b), flag))
               : "memory");
}
// Neighbouring elements 2 pair and 2 pair + 1 of a row.
template <typename T>
__device__ __forceinline__ void send_pair(uint64_t* row, int pair, float a, float b,
                                          uint32_t flag) {
  if constexpr (sizeof(T) == 4) {
    send(row + 2 * pair, a, b, flag);
  } else {
    const __nv_bfloat162 both = __floats2bfloat162_rn(a, b);
    send(row + pair, *reinterpret_cast<const uint32_t*>(&both), flag);
  }
}

struct TwoUnits {
  uint64_t a, b;

  __device__ __forceinline__ void load(const uint64_t* from) {
    asm volatile("ld.relaxed.gpu.global.v2.b64 {%0, %1}, [%2];"
                 : "=l"(a), "=l"(b)
                 : "l"(from)
                 : "memory");
  }
  // Zero where both have come.
  __device__ __forceinline__ uint32_t missing(uint32_t flag) const {
    return (static_cast<uint32_t>(a >> 32) ^ flag) | (static_cast<uint32_t>(b >> 32) ^ flag);
  }
  __device__ __forceinline__ uint2 data() const {
    return make_uint2(static_cast<uint32_t>(a), static_cast<uint32_t>(b));
  }
};

// The pairs of units number 0, step, 2 step, ... below `count` from `units` on. ask() sends for
// them; what one does before wait() costs no time while they are on their way.
template <int kCount>
struct Inbox {
  const uint64_t* units;
  int step, count;
  TwoUnits two[kCount];

  __device__ __forceinline__ void ask() {
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
      if (n * step < count) two[n].load(units + 2 * n * step);
    }
  }
  __device__ __forceinline__ void wait(uint32_t flag) {
    while (true) {
      uint32_t missing[kCount], any = 0;
#pragma unroll
      for (int n = 0; n < kCount; ++n) {
        missing[n] = n * step < count ? two[n].missing(flag) : 0;
        any |= missing[n];
      }
      if (any == 0) return;
#pragma unroll
      for (int n = 0; n < kCount; ++n) {
        if (missing[n] != 0) two[n].load(units + 2 * n * step);
      }
    }
  }
};

}  // namespace llm::cuda
