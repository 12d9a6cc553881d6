// SHA-1 (FIPS 180-4), only to compare files with the identities that Git gives them: it is no guard
// against forgery.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/file.h"

namespace llm {

class Sha1 {
 public:
  Sha1();
  void update(Bytes bytes);
  void update(std::string_view text) { update(as_bytes(text)); }
  std::string hex_digest();  // 40 lower-case hex digits; the object is spent afterwards

 private:
  void compress(const std::byte* block);

  std::array<uint32_t, 5> state_;
  std::array<std::byte, 64> block_;  // the first length_ % 64 bytes wait here
  uint64_t length_ = 0;
};

}  // namespace llm
