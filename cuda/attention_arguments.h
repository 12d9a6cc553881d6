// What the attention launchers take; see attention_forward in backend.h.
#pragma once

#include "cuda/launch.h"

namespace llm::cuda {

// A (B, T, heads, D) tensor: strides in elements, the last axis dense.
struct Heads {
  void* data = nullptr;
  int64_t batch = 0, row = 0, head = 0;
};

// Whether rows can be read 16 bytes at a time, also by kernels that take 8 elements at a time.
inline bool rows_aligned(const Heads& heads) {
  return reinterpret_cast<uintptr_t>(heads.data) % 16 == 0 && heads.batch % 8 == 0 &&
         heads.row % 8 == 0 && heads.head % 8 == 0;
}

enum class Mask : uint8_t { causal, full, window };

struct AttentionProblem {
  int64_t B, Tq, Tk, H, KV, D;
  Mask mask;
  int64_t window;
  float scale;
  // Dropout of the probabilities; rate 0: none. Element (h * Tq + i) * Tk + j of the sample, i and
  // j counted from the start of the row; see backend/dropout_mask.h for the mask.
  float dropout_rate;
  uint64_t dropout_seed;
  uint32_t dropout_site;
  const int64_t* sample_ids;  // (B)
  // Packed rows (B = 1): `sequences` + 1 offsets each, or null. Sequence n's queries
  // [query_offsets[n], query_offsets[n + 1]) see its keys only.
  const int32_t* query_offsets;
  const int32_t* key_offsets;
  int64_t sequences;
};

struct AttentionForward {
  Heads out;   // (B, Tq, H, D)
  float* lse;  // (B, H, Tq) or null
  Heads q;     // (B, Tq, H, D)
  Heads k, v;  // (B, Tk, KV, D)
};

struct AttentionBackward {
  Heads dq, dk, dv;  // as q, k, v; overwritten
  Heads dout, out;   // (B, Tq, H, D)
  const float* lse;  // (B, H, Tq)
  Heads q, k, v;
};

}  // namespace llm::cuda
