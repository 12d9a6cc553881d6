#include <algorithm>

#include "backend/dropout_mask.h"
#include "cpu_ref/dropout.h"
#include "cpu_ref/threads.h"

namespace llm::cpu_ref {
namespace {

constexpr int kBlocks = 8;
constexpr int64_t kNumbers = 4 * kBlocks;
typedef uint32_t Words __attribute__((vector_size(4 * kBlocks)));
typedef uint64_t WideWords __attribute__((vector_size(8 * kBlocks)));

// The upper and lower halves of a * b.
void multiply(Words& high, Words& low, uint32_t a, Words b) {
  const WideWords product = __builtin_convertvector(b, WideWords) * uint64_t{a};
  high = __builtin_convertvector(product >> 32, Words);
  low = __builtin_convertvector(product, Words);
}

// bits[n] = Random(seed, stream).bits32(4 * block + n) for n in [0, kNumbers); see base/rng.h.
void random_bits(uint32_t* bits, uint64_t seed, uint64_t stream, uint64_t block) {
  const WideWords lanes = {0, 1, 2, 3, 4, 5, 6, 7};
  const WideWords numbers = lanes + block;
  Words counter[4] = {
      __builtin_convertvector(numbers, Words), __builtin_convertvector(numbers >> 32, Words),
      Words{} + static_cast<uint32_t>(stream), Words{} + static_cast<uint32_t>(stream >> 32)};
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    Words high_a, low_a, high_b, low_b;
    multiply(high_a, low_a, 0xD2511F53u, counter[0]);
    multiply(high_b, low_b, 0xCD9E8D57u, counter[2]);
    counter[0] = high_b ^ counter[1] ^ key0;
    counter[1] = low_b;
    counter[2] = high_a ^ counter[3] ^ key1;
    counter[3] = low_a;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (int lane = 0; lane < kBlocks; ++lane) {
    for (int word = 0; word < 4; ++word) bits[4 * lane + word] = counter[word][lane];
  }
}

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
    for (int64_t i = 0; i < take; ++i) {
      factors[done + i] = bits[skip + i] >= threshold ? kept : 0.0f;
    }
    done += take;
  }
}

void dropout_fast(float* y, const float* x, const int64_t* sample_ids, int64_t samples,
                  int64_t elements, float rate, uint64_t seed, uint32_t site, int threads) {
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
