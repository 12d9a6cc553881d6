#include "base/hash.h"

#include <nmmintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

namespace llm {
namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
    table[i] = value;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

uint32_t crc32c_plain(const std::byte* data, size_t size, uint32_t crc) {
  for (size_t i = 0; i < size; ++i) {
    crc = crc >> 8 ^ kCrcTable[(crc ^ static_cast<uint32_t>(data[i])) & 0xff];
  }
  return crc;
}

__attribute__((target("sse4.2"))) uint32_t crc32c_hardware(const std::byte* data, size_t size,
                                                           uint32_t crc) {
  uint64_t wide = crc;
  for (; size >= 8; size -= 8, data += 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  return crc32c_plain(data, size, static_cast<uint32_t>(wide));
}

// Fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2).
constexpr std::array<uint32_t, 64> kRound = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void compress(std::array<uint32_t, 8>& state, const std::byte* block) {
  std::array<uint32_t, 64> w;
  for (size_t i = 0; i < 16; ++i) {
    uint32_t word;
    std::memcpy(&word, block + 4 * i, 4);
    w[i] = __builtin_bswap32(word);
  }
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t first = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                           ((e & f) ^ (~e & g)) + kRound[i] + w[i];
    const uint32_t second =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
  }
  const std::array<uint32_t, 8> added = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state[i] += added[i];
}

}  // namespace

uint32_t crc32c(Bytes bytes, uint32_t previous) {
  static const bool hardware = __builtin_cpu_supports("sse4.2");
  const uint32_t crc = ~previous;
  return ~(hardware ? crc32c_hardware(bytes.data(), bytes.size(), crc)
                    : crc32c_plain(bytes.data(), bytes.size(), crc));
}

Sha256::Sha256()
    : state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {}

void Sha256::update(Bytes bytes) {
  size_t used = length_ % 64;
  length_ += bytes.size();
  const std::byte* data = bytes.data();
  size_t size = bytes.size();
  if (used > 0) {
    const size_t count = std::min(size, 64 - used);
    std::memcpy(block_.data() + used, data, count);
    data += count;
    size -= count;
    if (used + count < 64) return;
    compress(state_, block_.data());
  }
  for (; size >= 64; size -= 64, data += 64) compress(state_, data);
  if (size > 0) std::memcpy(block_.data(), data, size);
}

std::string Sha256::hex_digest() {
  const uint64_t bits = __builtin_bswap64(length_ * 8);
  const std::byte end{0x80}, zero{0};
  update(Bytes(&end, 1));
  while (length_ % 64 != 56) update(Bytes(&zero, 1));
  update(std::as_bytes(std::span(&bits, 1)));
  std::string result;
  for (uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4) result += "0123456789abcdef"[word >> shift & 15];
  }
  return result;
}

std::string sha256_of(Bytes bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex_digest();
}

std::string sha256_of_file(const fs::path& path) {
  FileReader reader(path);
  Sha256 hash;
  std::vector<char> buffer(size_t{1} << 20);
  while (const size_t count = reader.read(buffer)) {
    hash.update(std::string_view(buffer.data(), count));
  }
  return hash.hex_digest();
}

}  // namespace llm
