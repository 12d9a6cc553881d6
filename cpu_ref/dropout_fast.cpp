#include <algorithm>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "backend/dropout_mask.h"
#include "cpu_ref/dropout.h"
#include "cpu_ref/threads.h"

namespace llm::cpu_ref {
namespace {

#ifdef __AVX2__

constexpr int kGroups = 4;  // independent chains of multiplications
constexpr int64_t kNumbers = 16 * kGroups;

// bits[n] = Random(seed, stream).bits32(4 * block + n) for n in [0, kNumbers); see base/rng.h. Each
// 64-bit lane holds one 32-bit word of a block in its lower half; what is left in the upper half
// the multiplication does not see.
void random_bits(uint32_t* bits, uint64_t seed, uint64_t stream, uint64_t block) {
  const auto splat = [](uint64_t value) {
    return _mm256_set1_epi64x(static_cast<long long>(value));
  };
  const __m256i factor_a = splat(0xD2511F53u), factor_b = splat(0xCD9E8D57u);
  __m256i word[kGroups][4];
  for (int g = 0; g < kGroups; ++g) {
    word[g][0] = _mm256_add_epi64(splat(block + 4 * static_cast<uint64_t>(g)),
                                  _mm256_setr_epi64x(0, 1, 2, 3));
    word[g][1] = _mm256_srli_epi64(word[g][0], 32);
    word[g][2] = splat(stream);
    word[g][3] = splat(stream >> 32);
  }
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const __m256i keys0 = splat(key0), keys1 = splat(key1);
    for (auto& w : word) {
      const __m256i a = _mm256_mul_epu32(factor_a, w[0]), b = _mm256_mul_epu32(factor_b, w[2]);
      w[0] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(b, 32), w[1]), keys0);
      w[1] = b;
      w[2] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(a, 32), w[3]), keys1);
      w[3] = a;
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (int g = 0; g < kGroups; ++g) {
    const auto pair = [](__m256i low, __m256i high) {
      return _mm256_blend_epi32(low, _mm256_slli_epi64(high, 32), 0xAA);
    };
    const __m256i first = pair(word[g][0], word[g][1]), second = pair(word[g][2], word[g][3]);
    const __m256i even = _mm256_unpacklo_epi64(first, second);
    const __m256i odd = _mm256_unpackhi_epi64(first, second);
    auto* to = reinterpret_cast<__m256i*>(bits + 16 * g);
    _mm256_storeu_si256(to, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(even, odd, 0x31));
  }
}

#else

constexpr int64_t kNumbers = 64;

void random_bits(uint32_t* bits, uint64_t seed, uint64_t stream, uint64_t block) {
  const Random random(seed, stream);
  for (int64_t n = 0; n < kNumbers; n += 4) {
    const PhiloxBlock words = random.block(block + static_cast<uint64_t>(n / 4));
    std::copy(words.begin(), words.end(), bits + n);
  }
}

#endif

}  // namespace

void dropout_factors(float* factors, uint64_t seed, uint64_t stream, uint64_t first, int64_t count,
                     float rate) {
  const uint32_t threshold = dropout_threshold(rate);
  const float kept = 1.0f / (1.0f - rate);
  uint32_t bits[kNumbers];
  int64_t done = 0;
  while (done < count) {
    const uint64_t element = first + static_cast<uint64_t>(done);
    const auto skip = static_cast<int64_t>(element % 4);
    const int64_t take = std::min(count - done, kNumbers - skip);
    random_bits(bits, seed, stream, element / 4);
    if (take == kNumbers) {  // a length that the compiler knows
      for (int64_t i = 0; i < kNumbers; ++i) {
        factors[done + i] = bits[i] >= threshold ? kept : 0.0f;
      }
    } else {
      for (int64_t i = 0; i < take; ++i) {
        factors[done + i] = bits[skip + i] >= threshold ? kept : 0.0f;
      }
    }
    done += take;
  }
}

void dropout_fast(float* y, const float* x, const int64_t* sample_ids, int64_t samples,
                  int64_t elements, float rate, uint64_t seed, uint32_t site, Threads threads) {
  constexpr int64_t kChunk = 1024;
  const int64_t chunks = (elements + kChunk - 1) / kChunk;
  parallel_ranges(samples * chunks, threads, 4, [&](int64_t begin, int64_t end) {
    float factors[kChunk];
    for (int64_t item = begin; item < end; ++item) {
      const int64_t sample = item / chunks, first = item % chunks * kChunk;
      const int64_t count = std::min(kChunk, elements - first);
      const int64_t at = sample * elements + first;
      dropout_factors(factors, seed, dropout_stream(site, sample_ids[sample]),
                      static_cast<uint64_t>(first), count, rate);
      // A dropped element is 0 whatever x is, also for x = Inf.
      for (int64_t i = 0; i < count; ++i) {
        y[at + i] = factors[i] > 0 ? x[at + i] * factors[i] : 0.0f;
      }
    }
  });
}

}  // namespace llm::cpu_ref
