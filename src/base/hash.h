// CRC-32C for shards (a slip of the disk), SHA-256 for manifests and identities, SHA-1 for Git's
// (both FIPS 180-4).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/file.h"

namespace llm {

// CRC-32C (Castagnoli), continuing from `previous`; hardware instruction where there is one.
uint32_t crc32c(Bytes bytes, uint32_t previous = 0);

// A hash of FIPS 180-4 over blocks of 64 bytes with a state of kWords words. kBlocks changes the
// state by whole blocks.
template <size_t kWords, void (*kBlocks)(std::array<uint32_t, kWords>&, const std::byte*, size_t)>
class BlockHash {
 public:
  explicit BlockHash(const std::array<uint32_t, kWords>& initial) : state_(initial) {}
  void update(Bytes bytes);
  void update(std::string_view text) { update(as_bytes(text)); }
  // 8 lower-case hex digits for each word; the object is spent afterwards
  std::string hex_digest();

 private:
  std::array<uint32_t, kWords> state_;
  std::array<std::byte, 64> block_;  // the first length_ % 64 bytes wait here
  uint64_t length_ = 0;
};

namespace internal {
// The plain definitions, and what the processor's instructions make of them (the plain ones where
// it has none). The tests hold them against each other.
uint32_t crc32c_plain(Bytes bytes, uint32_t previous);
// Whole blocks of 64 bytes.
void sha256_blocks_plain(std::array<uint32_t, 8>& state, const std::byte* data, size_t blocks);
void sha256_blocks(std::array<uint32_t, 8>& state, const std::byte* data, size_t blocks);
bool has_sha_instructions();
void sha1_blocks(std::array<uint32_t, 5>& state, const std::byte* data, size_t blocks);
}  // namespace internal

class Sha256 : public BlockHash<8, internal::sha256_blocks> {
 public:
  Sha256();
};
std::string sha256_of(Bytes bytes);
std::string sha256_of_file(const fs::path& path);  // streams

// SHA-1, only to compare files with the identities that Git gives them: it is no guard against
// forgery.
class Sha1 : public BlockHash<5, internal::sha1_blocks> {
 public:
  Sha1();
};

}  // namespace llm
