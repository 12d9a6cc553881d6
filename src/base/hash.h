// CRC-32C for shards (a slip of the disk) and SHA-256 for manifests and identities (FIPS 180-4).
#pragma once

#include <array>
#include <cstdint>
#include <string>

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
  std::array<std::byte, 64> block_;
  uint64_t length_ = 0;
};

std::string sha256_of(Bytes bytes);
std::string sha256_of_file(const fs::path& path);  // streams

}  // namespace llm
