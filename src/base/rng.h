// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). A number is a pure function of (seed, stream, index): no state to save, the
// same on every backend and for every number of ranks and threads.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace llm {

using PhiloxBlock = std::array<uint32_t, 4>;

// One block of Philox4x32-10.
PhiloxBlock philox4x32(PhiloxBlock counter, std::array<uint32_t, 2> key);

// A stable 64-bit number for a name (FNV-1a), used to give each use of randomness its own stream.
uint64_t stream_id(std::string_view name);

// Random access into the sequence of one (seed, stream).
class Random {
 public:
  Random(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

  uint32_t bits32(uint64_t index) const;
  uint64_t bits64(uint64_t index) const;
  double uniform(uint64_t index) const;                  // [0, 1), 53 bits
  double normal(uint64_t index) const;                   // mean 0, deviation 1 (Box-Muller)
  uint64_t below(uint64_t bound, uint64_t index) const;  // [0, bound), bias below 2^-64 * bound

 private:
  uint64_t seed_, stream_;
};

// A sequential view of Random for code that just wants the next number.
class RandomSequence {
 public:
  RandomSequence(uint64_t seed, uint64_t stream) : random_(seed, stream) {}
  double uniform() { return random_.uniform(next_++); }
  double normal() { return random_.normal(next_++); }
  uint64_t below(uint64_t bound) { return random_.below(bound, next_++); }
  uint64_t position() const { return next_; }

 private:
  Random random_;
  uint64_t next_ = 0;
};

// A pseudo-random permutation of [0, count) without storing it: a Feistel network with Philox
// rounds and cycle walking. permute(i) is a bijection for each (seed, stream).
uint64_t permute_index(uint64_t index, uint64_t count, uint64_t seed, uint64_t stream);

}  // namespace llm
