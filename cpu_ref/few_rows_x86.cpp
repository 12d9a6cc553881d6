#include "cpu_ref/few_rows_x86.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "cpu_ref/few_rows_loop.h"

// False alarms of GCC before 13 about the registers that the intrinsics leave undefined.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

// Compiled for more than the rest of the program; called only where the processor has it. What they
// call must be inlined into them, so the helpers carry the attribute too.
#define LLM_AVX2 __attribute__((target("avx2,fma")))
#define LLM_AVX512 __attribute__((target("avx2,fma,avx512f")))

namespace llm::cpu_ref {
namespace {

LLM_AVX2 inline float sum_of_8(__m256 x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// One row waits for memory, and the processor's own prefetching stops at every page and never is
// far enough ahead for both cores. Asks for the step of kPartialSums elements that comes this much
// later; an address behind the end of the weight does no harm.
constexpr int64_t kBytesAhead = 4096;

template <typename Element>
LLM_AVX2 inline void prefetch_step(const Element* weight) {
  const uintptr_t ahead = reinterpret_cast<uintptr_t>(weight) + kBytesAhead;
  for (size_t byte = 0; byte < kPartialSums * sizeof(Element); byte += 64) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): not of an object, where the weight has ended
    _mm_prefetch(reinterpret_cast<const char*>(ahead + byte), _MM_HINT_T0);
  }
}

// --- AVX2: 4 registers of partial sums per row

// 32 columns of kRows rows of x, `stride` apart.
template <int kRows>
LLM_AVX2 inline void step_avx2(__m256 (&sums)[kRows][4], const float* x, int64_t stride,
                               const float* weight) {
  for (int i = 0; i < 4; ++i) {
    const __m256 w = _mm256_loadu_ps(weight + 8 * i);
    for (int r = 0; r < kRows; ++r) {
      sums[r][i] = _mm256_fmadd_ps(w, _mm256_loadu_ps(x + r * stride + 8 * i), sums[r][i]);
    }
  }
}
template <int kRows, int kHalf>
LLM_AVX2 inline void half_step_avx2(__m256 (&sums)[kRows][4], const float* x, int64_t stride,
                                    const uint16_t* weight) {
  const __m256i upper_half = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight + 16 * kHalf));
  const __m256 even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
  const __m256 odd = _mm256_castsi256_ps(_mm256_and_si256(pairs, upper_half));
  for (int r = 0; r < kRows; ++r) {
    const float* of_row = x + r * stride + 8 * kHalf;
    sums[r][kHalf] = _mm256_fmadd_ps(even, _mm256_loadu_ps(of_row), sums[r][kHalf]);
    sums[r][2 + kHalf] = _mm256_fmadd_ps(odd, _mm256_loadu_ps(of_row + 16), sums[r][2 + kHalf]);
  }
}
template <int kRows>
LLM_AVX2 inline void step_avx2(__m256 (&sums)[kRows][4], const float* x, int64_t stride,
                               const uint16_t* weight) {
  half_step_avx2<kRows, 0>(sums, x, stride, weight);
  half_step_avx2<kRows, 1>(sums, x, stride, weight);
}

template <int kRows, typename Element>
LLM_AVX2 void group_avx2(const FewRows& product, const Element* weight, const OrderedRows& rows,
                         int64_t row, int64_t begin, int64_t end) {
  const int64_t in = product.in, whole = in / kPartialSums * kPartialSums, stride = rows.stride();
  const float* x = rows.row(row);
  float rest_x[kRows * kPartialSums];
  Element rest_weight[kPartialSums];
  for (int r = 0; r < kRows && whole < in; ++r) {
    load_rest(rest_x + r * kPartialSums, x + r * stride + whole, stride - whole);
  }
  for (int64_t o = begin; o < end; ++o) {
    const Element* w = weight + o * in;
    __m256 sums[kRows][4];
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < 4; ++i) sums[r][i] = _mm256_setzero_ps();
    }
    for (int64_t c = 0; c < whole; c += kPartialSums) {
      if constexpr (kRows == 1) prefetch_step(w + c);
      step_avx2<kRows>(sums, x + c, stride, w + c);
    }
    if (whole < in) {
      load_rest(rest_weight, w + whole, in - whole);
      step_avx2<kRows>(sums, rest_x, kPartialSums, rest_weight);
    }
    for (int r = 0; r < kRows; ++r) {
      const __m256 sum = _mm256_add_ps(_mm256_add_ps(sums[r][0], sums[r][2]),
                                       _mm256_add_ps(sums[r][1], sums[r][3]));
      product.y[(row + r) * product.out + o] =
          sum_of_8(sum) + (product.bias ? product.bias[o] : 0.0f);
    }
  }
}

// More rows than these have more partial sums than there are registers.
template <typename Element>
constexpr RowGroup<Element> kGroupsAvx2[] = {group_avx2<1, Element>, group_avx2<2, Element>,
                                             group_avx2<3, Element>};

// --- AVX-512: 2 registers of partial sums per row

LLM_AVX512 inline __m256 sum_to_8(const __m512 (&sums)[2]) {
  const __m512d sum = _mm512_castps_pd(_mm512_add_ps(sums[0], sums[1]));
  return _mm256_add_ps(_mm256_castpd_ps(_mm512_castpd512_pd256(sum)),
                       _mm256_castpd_ps(_mm512_extractf64x4_pd(sum, 1)));
}

// 32 columns of kRows rows of x with kOutputs rows of the weight, each `stride` apart.
template <int kRows, int kOutputs>
LLM_AVX512 inline void step_avx512(__m512 (&sums)[kOutputs][kRows][2], const float* x,
                                   int64_t x_stride, const float* weight, int64_t weight_stride) {
  for (int i = 0; i < 2; ++i) {
    __m512 w[kOutputs];
    for (int o = 0; o < kOutputs; ++o) w[o] = _mm512_loadu_ps(weight + o * weight_stride + 16 * i);
    for (int r = 0; r < kRows; ++r) {
      const __m512 value = _mm512_loadu_ps(x + r * x_stride + 16 * i);
      for (int o = 0; o < kOutputs; ++o) {
        sums[o][r][i] = _mm512_fmadd_ps(w[o], value, sums[o][r][i]);
      }
    }
  }
}
template <int kRows, int kOutputs>
LLM_AVX512 inline void step_avx512(__m512 (&sums)[kOutputs][kRows][2], const float* x,
                                   int64_t x_stride, const uint16_t* weight,
                                   int64_t weight_stride) {
  const __m512i upper_half = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  __m512 even[kOutputs], odd[kOutputs];
  for (int o = 0; o < kOutputs; ++o) {
    const __m512i pairs = _mm512_loadu_si512(weight + o * weight_stride);
    even[o] = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
    odd[o] = _mm512_castsi512_ps(_mm512_and_si512(pairs, upper_half));
  }
  for (int r = 0; r < kRows; ++r) {
    const __m512 first = _mm512_loadu_ps(x + r * x_stride);
    const __m512 second = _mm512_loadu_ps(x + r * x_stride + 16);
    for (int o = 0; o < kOutputs; ++o) {
      sums[o][r][0] = _mm512_fmadd_ps(even[o], first, sums[o][r][0]);
      sums[o][r][1] = _mm512_fmadd_ps(odd[o], second, sums[o][r][1]);
    }
  }
}

// Results of kRows rows from `row` on for the columns [o, o + kOutputs).
template <int kRows, int kOutputs, typename Element>
LLM_AVX512 inline void tile_avx512(const FewRows& product, const Element* weight,
                                   const OrderedRows& rows, int64_t row, const float* rest_x,
                                   int64_t o) {
  const int64_t in = product.in, whole = in / kPartialSums * kPartialSums;
  const float* x = rows.row(row);
  const Element* w = weight + o * in;
  __m512 sums[kOutputs][kRows][2];
  for (auto& of_output : sums) {
    for (auto& of_row : of_output) of_row[0] = of_row[1] = _mm512_setzero_ps();
  }
  for (int64_t c = 0; c < whole; c += kPartialSums) {
    if constexpr (kRows == 1) prefetch_step(w + c);
    step_avx512<kRows, kOutputs>(sums, x + c, rows.stride(), w + c, in);
  }
  if (whole < in) {
    Element rest_weight[kOutputs * kPartialSums];
    for (int i = 0; i < kOutputs; ++i) {
      load_rest(rest_weight + i * kPartialSums, w + i * in + whole, in - whole);
    }
    step_avx512<kRows, kOutputs>(sums, rest_x, kPartialSums, rest_weight, kPartialSums);
  }
  for (int i = 0; i < kOutputs; ++i) {
    const float bias = product.bias ? product.bias[o + i] : 0.0f;
    for (int r = 0; r < kRows; ++r) {
      product.y[(row + r) * product.out + o + i] = sum_of_8(sum_to_8(sums[i][r])) + bias;
    }
  }
}

// One row reads one row of the weight after the other, as memory likes it best; several rows take
// two rows of the weight at once, to load x half as often.
template <int kRows, typename Element>
LLM_AVX512 void group_avx512(const FewRows& product, const Element* weight, const OrderedRows& rows,
                             int64_t row, int64_t begin, int64_t end) {
  const int64_t in = product.in, whole = in / kPartialSums * kPartialSums;
  float rest_x[kRows * kPartialSums];
  for (int r = 0; r < kRows && whole < in; ++r) {
    load_rest(rest_x + r * kPartialSums, rows.row(row + r) + whole, rows.stride() - whole);
  }
  int64_t o = begin;
  if constexpr (kRows > 1) {
    for (; o + 2 <= end; o += 2) tile_avx512<kRows, 2>(product, weight, rows, row, rest_x, o);
  }
  for (; o < end; ++o) tile_avx512<kRows, 1>(product, weight, rows, row, rest_x, o);
}

template <typename Element>
constexpr RowGroup<Element> kGroupsAvx512[] = {group_avx512<1, Element>, group_avx512<2, Element>,
                                               group_avx512<3, Element>, group_avx512<4, Element>,
                                               group_avx512<5, Element>, group_avx512<6, Element>};

}  // namespace

bool have_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool have_avx512() { return have_avx2() && __builtin_cpu_supports("avx512f"); }

void few_rows_avx2(const FewRows& product) {
  const StoredRows& weight = product.weight;
  if (weight.dtype == DType::f32) {
    run_few_rows(product, weight.f32(), kGroupsAvx2<float>, std::size(kGroupsAvx2<float>));
  } else {
    run_few_rows(product, weight.bf16(), kGroupsAvx2<uint16_t>, std::size(kGroupsAvx2<uint16_t>));
  }
}

void few_rows_avx512(const FewRows& product) {
  const StoredRows& weight = product.weight;
  if (weight.dtype == DType::f32) {
    run_few_rows(product, weight.f32(), kGroupsAvx512<float>, std::size(kGroupsAvx512<float>));
  } else {
    run_few_rows(product, weight.bf16(), kGroupsAvx512<uint16_t>,
                 std::size(kGroupsAvx512<uint16_t>));
  }
}

}  // namespace llm::cpu_ref

#endif
