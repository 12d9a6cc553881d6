// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). A number is a pure function of (seed, stream, index): no state to save, the
// same on every backend and for every number of ranks and threads.
//
// The layout, which a kernel that makes the same numbers has to follow:
//   block b    = philox4x32(counter {b low, b high, stream low, stream high}, key {seed low, high})
//   bits32(i)  = word i % 4 of block i / 4
//   bits64(i)  = words 2 (i % 2) (low half) and 2 (i % 2) + 1 (high half) of block i / 2
//   uniform(i) = the upper 53 bits of bits64(i) * 2^-53
//   normal(i)  = Box-Muller of uniform(2 (i / 2)) and uniform(2 (i / 2) + 1): cosine for even i,
//                sine for odd i
//
// So different kinds of numbers at the same index are not independent: give each its own stream.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace llm {

using PhiloxBlock = std::array<uint32_t, 4>;

// One block of Philox4x32-10.
inline PhiloxBlock philox4x32(PhiloxBlock counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// A stable 64-bit number for a name (FNV-1a), used to give each use of randomness its own stream.
uint64_t stream_id(std::string_view name);

// Random access into the sequence of one (seed, stream).
class Random {
 public:
  Random(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

  // Words 4 number ... 4 number + 3 of bits32, for loops that use all of them.
  PhiloxBlock block(uint64_t number) const {
    return philox4x32({static_cast<uint32_t>(number), static_cast<uint32_t>(number >> 32),
                       static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)},
                      {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
  }
  uint32_t bits32(uint64_t index) const { return block(index / 4)[index % 4]; }
  uint64_t bits64(uint64_t index) const {
    const PhiloxBlock words = block(index / 2);
    const size_t at = index % 2 * 2;
    return words[at] | static_cast<uint64_t>(words[at + 1]) << 32;
  }
  double uniform(uint64_t index) const {  // [0, 1), 53 bits
    return static_cast<double>(bits64(index) >> 11) * 0x1p-53;
  }
  double normal(uint64_t index) const;                   // mean 0, deviation 1 (Box-Muller)
  uint64_t below(uint64_t bound, uint64_t index) const;  // [0, bound), bias below 2^-64 * bound

 private:
  uint64_t seed_, stream_;
};

// A sequential view of Random for code that just wants the next number. All numbers drawn from one
// sequence are independent, whatever their kinds: none shares random bits with another.
class RandomSequence {
 public:
  RandomSequence(uint64_t seed, uint64_t stream) : random_(seed, stream) {}
  double uniform() { return random_.uniform(next_++); }
  double normal() {  // uses up a whole block, which is that of two of the other kinds
    next_ += next_ % 2 + 2;
    return random_.normal(next_ - 2);
  }
  uint64_t below(uint64_t bound) { return random_.below(bound, next_++); }
  uint64_t position() const { return next_; }

 private:
  Random random_;
  uint64_t next_ = 0;
};

// A pseudo-random permutation of [0, count) without storing it: a Feistel network with Philox
// rounds and cycle walking. A bijection in index for each (count, seed, stream); index < count.
uint64_t permute_index(uint64_t index, uint64_t count, uint64_t seed, uint64_t stream);

}  // namespace llm
