#include "base/hash.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

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

uint32_t crc_of(const std::byte* data, size_t size, uint32_t crc) {
  for (size_t i = 0; i < size; ++i) {
    crc = crc >> 8 ^ kCrcTable[(crc ^ static_cast<uint32_t>(data[i])) & 0xff];
  }
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t crc_of_hardware(const std::byte* data, size_t size,
                                                           uint32_t crc) {
  uint64_t wide = crc;
  for (; size >= 8; size -= 8, data += 8) {
    uint64_t word;
    std::memcpy(&word, data, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  return crc_of(data, size, static_cast<uint32_t>(wide));
}
#endif

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

// The 16 words of a block, big-endian.
void load_block(uint32_t* words, const std::byte* block) {
  for (size_t i = 0; i < 16; ++i) {
    uint32_t word;
    std::memcpy(&word, block + 4 * i, 4);
    words[i] = __builtin_bswap32(word);
  }
}

void compress(std::array<uint32_t, 8>& state, const std::byte* block) {
  std::array<uint32_t, 64> w;
  load_block(w.data(), block);
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

void compress_sha1(std::array<uint32_t, 5>& state, const std::byte* block) {
  std::array<uint32_t, 80> w;
  load_block(w.data(), block);
  for (size_t i = 16; i < 80; ++i) {
    w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  }
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  const auto round = [&](uint32_t mixed, uint32_t constant, uint32_t word) {
    const uint32_t next = std::rotl(a, 5) + mixed + e + constant + word;
    e = d, d = c, c = std::rotl(b, 30), b = a, a = next;
  };
  for (size_t i = 0; i < 20; ++i) round((b & c) | (~b & d), 0x5a827999, w[i]);
  for (size_t i = 20; i < 40; ++i) round(b ^ c ^ d, 0x6ed9eba1, w[i]);
  for (size_t i = 40; i < 60; ++i) round((b & c) | (b & d) | (c & d), 0x8f1bbcdc, w[i]);
  for (size_t i = 60; i < 80; ++i) round(b ^ c ^ d, 0xca62c1d6, w[i]);
  const std::array<uint32_t, 5> added = {a, b, c, d, e};
  for (size_t i = 0; i < added.size(); ++i) state[i] += added[i];
}

#if defined(__x86_64__)
// The instructions keep the state as (A B E F) and (C D G H), highest word first, and do two rounds
// at a time on the lower half of the sum of schedule and constants.
__attribute__((target("sha,sse4.1,ssse3"))) void sha256_blocks_hardware(
    std::array<uint32_t, 8>& state, const std::byte* data, size_t blocks) {
  const __m128i byte_order = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  auto* const words = reinterpret_cast<__m128i*>(state.data());
  const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128(words), 0xb1);
  const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128(words + 1), 0x1b);
  __m128i abef = _mm_alignr_epi8(badc, hgfe, 8);
  __m128i cdgh = _mm_blend_epi16(hgfe, badc, 0xf0);

  for (; blocks > 0; --blocks, data += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i schedule[4];  // the last 16 words
    for (size_t four = 0; four < 16; ++four) {
      __m128i& current = schedule[four % 4];
      if (four < 4) {
        current = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data) + four);
        current = _mm_shuffle_epi8(current, byte_order);
      } else {
        const __m128i last = schedule[(four + 3) % 4];
        const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(current, schedule[(four + 1) % 4]),
                                          _mm_alignr_epi8(last, schedule[(four + 2) % 4], 4));
        current = _mm_sha256msg2_epu32(sum, last);
      }
      const __m128i constants =
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(kRound.data()) + four);
      const __m128i added = _mm_add_epi32(current, constants);
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, added);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(added, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }

  const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(words, _mm_blend_epi16(feba, dchg, 0xf0));   // A B C D
  _mm_storeu_si128(words + 1, _mm_alignr_epi8(dchg, feba, 8));  // E F G H
}
#endif

}  // namespace

namespace internal {

uint32_t crc32c_plain(Bytes bytes, uint32_t previous) {
  return ~crc_of(bytes.data(), bytes.size(), ~previous);
}

void sha256_blocks_plain(std::array<uint32_t, 8>& state, const std::byte* data, size_t blocks) {
  for (; blocks > 0; --blocks, data += 64) compress(state, data);
}

void sha1_blocks(std::array<uint32_t, 5>& state, const std::byte* data, size_t blocks) {
  for (; blocks > 0; --blocks, data += 64) compress_sha1(state, data);
}

bool has_sha_instructions() {
#if defined(__x86_64__)
  static const bool result = [] {
    unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx >> 29 & 1) != 0 &&
           __builtin_cpu_supports("sse4.1");
  }();
  return result;
#else
  return false;
#endif
}

void sha256_blocks(std::array<uint32_t, 8>& state, const std::byte* data, size_t blocks) {
#if defined(__x86_64__)
  if (has_sha_instructions()) return sha256_blocks_hardware(state, data, blocks);
#endif
  sha256_blocks_plain(state, data, blocks);
}

}  // namespace internal

uint32_t crc32c(Bytes bytes, uint32_t previous) {
#if defined(__x86_64__)
  static const bool hardware = __builtin_cpu_supports("sse4.2");
  if (hardware) return ~crc_of_hardware(bytes.data(), bytes.size(), ~previous);
#endif
  return internal::crc32c_plain(bytes, previous);
}

template <size_t kWords, void (*kBlocks)(std::array<uint32_t, kWords>&, const std::byte*, size_t)>
void BlockHash<kWords, kBlocks>::update(Bytes bytes) {
  if (bytes.empty()) return;
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
    kBlocks(state_, block_.data(), 1);
  }
  kBlocks(state_, data, size / 64);
  std::memcpy(block_.data(), data + size / 64 * 64, size % 64);
}

template <size_t kWords, void (*kBlocks)(std::array<uint32_t, kWords>&, const std::byte*, size_t)>
std::string BlockHash<kWords, kBlocks>::hex_digest() {
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

template class BlockHash<8, internal::sha256_blocks>;
template class BlockHash<5, internal::sha1_blocks>;

Sha256::Sha256()
    : BlockHash({0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
                 0x5be0cd19}) {}

Sha1::Sha1() : BlockHash({0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}) {}

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
