#include "base/sha1.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace llm {

Sha1::Sha1() : state_{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0} {}

void Sha1::compress(const std::byte* block) {
  std::array<uint32_t, 80> w;
  for (size_t i = 0; i < 16; ++i) {
    uint32_t word;
    std::memcpy(&word, block + 4 * i, 4);
    w[i] = __builtin_bswap32(word);
  }
  for (size_t i = 16; i < 80; ++i) {
    w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  }
  uint32_t a = state_[0], b = state_[1], c = state_[2], d = state_[3], e = state_[4];
  const auto round = [&](uint32_t mixed, uint32_t constant, uint32_t word) {
    const uint32_t next = std::rotl(a, 5) + mixed + e + constant + word;
    e = d, d = c, c = std::rotl(b, 30), b = a, a = next;
  };
  for (size_t i = 0; i < 20; ++i) round((b & c) | (~b & d), 0x5a827999, w[i]);
  for (size_t i = 20; i < 40; ++i) round(b ^ c ^ d, 0x6ed9eba1, w[i]);
  for (size_t i = 40; i < 60; ++i) round((b & c) | (b & d) | (c & d), 0x8f1bbcdc, w[i]);
  for (size_t i = 60; i < 80; ++i) round(b ^ c ^ d, 0xca62c1d6, w[i]);
  const std::array<uint32_t, 5> added = {a, b, c, d, e};
  for (size_t i = 0; i < added.size(); ++i) state_[i] += added[i];
}

void Sha1::update(Bytes bytes) {
  while (!bytes.empty()) {
    const size_t used = length_ % 64;
    const size_t count = std::min(bytes.size(), 64 - used);
    std::memcpy(block_.data() + used, bytes.data(), count);
    length_ += count;
    bytes = bytes.subspan(count);
    if (used + count == 64) compress(block_.data());
  }
}

std::string Sha1::hex_digest() {
  const uint64_t bits = __builtin_bswap64(length_ * 8);
  const std::byte end{0x80}, zero{0};
  update(Bytes(&end, 1));
  while (length_ % 64 != 56) update(Bytes(&zero, 1));
  update(std::as_bytes(std::span(&bits, 1)));
  std::string result;
  for (const uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4) result += "0123456789abcdef"[word >> shift & 15];
  }
  return result;
}

}  // namespace llm
