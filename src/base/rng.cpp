#include "base/rng.h"

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace llm {

uint64_t stream_id(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

double Random::normal(uint64_t index) const {
  const PhiloxBlock words = block(index / 2);
  const auto unit = [](uint32_t low, uint32_t high) {
    return static_cast<double>((static_cast<uint64_t>(high) << 32 | low) >> 11) * 0x1p-53;
  };
  const double first = unit(words[0], words[1]), second = unit(words[2], words[3]);
  const double radius = std::sqrt(-2.0 * std::log1p(-first));  // 1 - first is in (0, 1]
  const double angle = 2.0 * std::numbers::pi * second;
  return radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

uint64_t Random::below(uint64_t bound, uint64_t index) const {
  LLM_ASSERT(bound > 0);
  return static_cast<uint64_t>((static_cast<unsigned __int128>(bits64(index)) * bound) >> 64);
}

uint64_t permute_index(uint64_t index, uint64_t count, uint64_t seed, uint64_t stream) {
  LLM_ASSERT(index < count, "index {} of {}", index, count);
  if (count == 1) return 0;
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
