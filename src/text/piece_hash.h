// A fast hash of short byte strings, for tables in memory only.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace llm {

inline uint64_t hash_piece(std::string_view piece) {
  constexpr uint64_t kMultiplier = 0xFF51AFD7ED558CCD;  // of MurmurHash3's finalizer
  uint64_t hash = piece.size() * 0x9E3779B97F4A7C15;
  const char* data = piece.data();
  size_t left = piece.size();
  const auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
  };
  for (; left >= 8; left -= 8, data += 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    mix(word);
  }
  uint64_t word = 0;
  std::memcpy(&word, data, left);
  mix(word);
  return hash;
}

}  // namespace llm
