#include "cpu_ref/few_rows.h"

#include <cstring>

#include "cpu_ref/few_rows_loop.h"
#include "cpu_ref/few_rows_x86.h"
#include "cpu_ref/vector_math.h"

namespace llm::cpu_ref {
namespace {

constexpr int64_t kRegisters = kPartialSums / kLanes;

inline void load_columns(Floats (&w)[kRegisters], const float* from) {
  for (int64_t i = 0; i < kRegisters; ++i) w[i] = load(from + kLanes * i);
}
inline void load_columns(Floats (&w)[kRegisters], const uint16_t* from) {
  typedef uint32_t Words __attribute__((vector_size(32)));
  for (int64_t i = 0; i < kRegisters / 2; ++i) {
    Words pairs;
    std::memcpy(&pairs, from + 2 * kLanes * i, sizeof pairs);
    const Words even = pairs << 16, odd = pairs & 0xffff0000u;
    std::memcpy(&w[i], &even, sizeof even);
    std::memcpy(&w[kRegisters / 2 + i], &odd, sizeof odd);
  }
}

template <typename Element>
inline void step(Floats (&sums)[kRegisters], const float* x, const Element* weight) {
  Floats w[kRegisters];
  load_columns(w, weight);
  for (int64_t i = 0; i < kRegisters; ++i) sums[i] += w[i] * load(x + kLanes * i);
}

inline float sum_of(const Floats (&sums)[kRegisters]) {
  return sum_lanes((sums[0] + sums[2]) + (sums[1] + sums[3]));
}

template <typename Element>
void portable_row(const FewRows& product, const Element* weight, const OrderedRows& rows,
                  int64_t row, int64_t begin, int64_t end) {
  const int64_t in = product.in, whole = in / kPartialSums * kPartialSums;
  const float* x = rows.row(row);
  float rest_x[kPartialSums];
  Element rest_weight[kPartialSums];
  load_rest(rest_x, x + whole, rows.stride() - whole);
  for (int64_t o = begin; o < end; ++o) {
    const Element* w = weight + o * in;
    Floats sums[kRegisters] = {};
    for (int64_t c = 0; c < whole; c += kPartialSums) step(sums, x + c, w + c);
    if (whole < in) {
      load_rest(rest_weight, w + whole, in - whole);
      step(sums, rest_x, rest_weight);
    }
    product.y[row * product.out + o] = sum_of(sums) + (product.bias ? product.bias[o] : 0.0f);
  }
}

void few_rows_portable(const FewRows& product) {
  const RowGroup<float> wide = portable_row<float>;
  const RowGroup<uint16_t> rounded = portable_row<uint16_t>;
  if (product.weight.dtype == DType::f32) {
    run_few_rows(product, product.weight.f32(), &wide, 1);
  } else {
    run_few_rows(product, product.weight.bf16(), &rounded, 1);
  }
}

std::vector<FewRowsBody> usable_bodies() {
  std::vector<FewRowsBody> bodies;
#if defined(__x86_64__)
  if (have_avx512()) bodies.push_back({"avx512", few_rows_avx512});
  if (have_avx2()) bodies.push_back({"avx2", few_rows_avx2});
#endif
  bodies.push_back({"portable", few_rows_portable});
  return bodies;
}

}  // namespace

const std::vector<FewRowsBody>& few_rows_bodies() {
  static const std::vector<FewRowsBody> bodies = usable_bodies();
  return bodies;
}

}  // namespace llm::cpu_ref
