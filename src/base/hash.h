// CRC-32C for shards (a slip of the disk) and SHA-256 for manifests and identities (FIPS 180-4).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/file.h"

namespace llm {

// CRC-32C (Castagnoli), continuing from `previous`; hardware instruction where there is one.
uint32_t crc32c(Bytes bytes, uint32_t previous = 0);

class Sha256 {
 public:
  Sha256();
  void update(Bytes bytes);
  void update(std::string_view text) { update(as_bytes(text)); }
  std::string hex_digest();  // 64 lower-case hex digits; the object is spent afterwards

 private:
  std::array<uint32_t, 8> state_;
  std::array<std::byte, 64> block_;  // the first length_ % 64 bytes wait here
  uint64_t length_ = 0;
};

std::string sha256_of(Bytes bytes);
std::string sha256_of_file(const fs::path& path);  // streams

namespace internal {
// The plain definitions, and what the processor's instructions make of them (the plain ones where
// it has none). The tests hold them against each other.
uint32_t crc32c_plain(Bytes bytes, uint32_t previous);
// Whole blocks of 64 bytes.
void sha256_blocks_plain(std::array<uint32_t, 8>& state, const std::byte* data, size_t blocks);
void sha256_blocks(std::array<uint32_t, 8>& state, const std::byte* data, size_t blocks);
bool has_sha_instructions();
}  // namespace internal

}  // namespace llm
