#include "base/rng.h"

#include <cmath>
#include <numbers>

namespace llm {

PhiloxBlock philox4x32(PhiloxBlock counter, std::array<uint32_t, 2> key) {
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

uint64_t stream_id(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

namespace {
PhiloxBlock block_of(uint64_t seed, uint64_t stream, uint64_t index) {
  return philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                     static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                    {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}
double to_unit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }
}  // namespace

uint32_t Random::bits32(uint64_t index) const {
  return block_of(seed_, stream_, index / 4)[index % 4];
}

uint64_t Random::bits64(uint64_t index) const {
  const PhiloxBlock block = block_of(seed_, stream_, index / 2);
  const size_t at = index % 2 * 2;
  return block[at] | static_cast<uint64_t>(block[at + 1]) << 32;
}

double Random::uniform(uint64_t index) const { return to_unit(bits64(index)); }

double Random::normal(uint64_t index) const {
  // One block gives two uniforms and so a pair of normals.
  const PhiloxBlock block = block_of(seed_, stream_, index / 2);
  const double first = to_unit(block[0] | static_cast<uint64_t>(block[1]) << 32);
  const double second = to_unit(block[2] | static_cast<uint64_t>(block[3]) << 32);
  const double radius = std::sqrt(-2.0 * std::log1p(-first));  // 1 - first is in (0, 1]
  const double angle = 2.0 * std::numbers::pi * second;
  return radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

uint64_t Random::below(uint64_t bound, uint64_t index) const {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(bits64(index)) * bound) >> 64);
}

uint64_t permute_index(uint64_t index, uint64_t count, uint64_t seed, uint64_t stream) {
  if (count <= 1) return 0;
  int half = 1;  // bits of each half of the Feistel network: 4^half >= count
  while (half < 32 && (uint64_t{1} << (2 * half)) < count) ++half;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  do {  // cycle walking: the domain is at most four times as large as count
    uint64_t left = index >> half, right = index & mask;
    for (uint32_t round = 0; round < 6; ++round) {
      const PhiloxBlock mixed =
          philox4x32({static_cast<uint32_t>(right), round, static_cast<uint32_t>(stream),
                      static_cast<uint32_t>(stream >> 32)},
                     {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
      const uint64_t next = left ^ (mixed[0] & mask);
      left = right;
      right = next;
    }
    index = left << half | right;
  } while (index >= count);
  return index;
}

}  // namespace llm
