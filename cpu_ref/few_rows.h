// The product of few rows with a weight, as when decoding: each weight is read once, so that the
// memory is the limit.
//
// The sum of one result: 32 partial sums, columns c, c + 32, c + 64, ... of the weight's row going
// to the same one, in that order (of an f32 weight to number c mod 32, of a bf16 weight, whose
// columns are widened in pairs, to half of that and 16 more if it is odd); the 32 are then halved
// by adding the upper to the lower half until one is left; the bias comes last. It does not depend
// on the number of rows, nor on which rows a product is computed beside, nor on the body: AVX2 and
// AVX-512 give the same bits. (The portable body too where the compiler uses fused multiply-adds.)
#pragma once

#include <cstdint>
#include <vector>

#include "cpu_ref/widen.h"

namespace llm::cpu_ref {

// What a body computes: y[r, o] = x[r] . weight[o] + bias[o] for o in [begin, end).
//   y: (rows, out)   x: (rows, in)   bias: (out) or null
struct FewRows {
  float* y;
  const float* x;
  StoredRows weight;  // (out, in)
  const float* bias;
  int64_t rows, in, out;
  int64_t begin, end;
};

struct FewRowsBody {
  const char* name;  // "avx512", "avx2", "portable"
  void (*run)(const FewRows& product);
};

// Those that this processor can run, the fastest first.
const std::vector<FewRowsBody>& few_rows_bodies();

// Rows that one pass over a part of the weight serves, and columns of such a part: small enough for
// the part to stay in the cache until all rows have met it.
inline constexpr int64_t kFewRowsColumns = 16;

}  // namespace llm::cpu_ref
