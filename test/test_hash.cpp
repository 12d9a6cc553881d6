// Known answers of CRC-32C and SHA-256, and the processor's instructions against the plain
// definitions.
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "support/temporary_directory.h"

namespace llm {
namespace {

std::vector<std::byte> random_bytes(size_t count, uint64_t stream) {
  const Random random(7, stream);
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(random.bits32(i));
  return bytes;
}

// Appendix B.4 of RFC 3720, and the check value of the catalogues of CRCs.
TEST(Crc32c, KnownAnswers) {
  EXPECT_EQ(crc32c(as_bytes("")), 0u);
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xe3069283u);
  std::vector<std::byte> bytes(32, std::byte{0});
  EXPECT_EQ(crc32c(bytes), 0x8a9136aau);
  bytes.assign(32, std::byte{0xff});
  EXPECT_EQ(crc32c(bytes), 0x62a8ab43u);
  for (size_t i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(i);
  EXPECT_EQ(crc32c(bytes), 0x46dd794eu);
  for (size_t i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(31 - i);
  EXPECT_EQ(crc32c(bytes), 0x113fdb5cu);
}

TEST(Crc32c, ContinuesAndAgreesWithThePlainDefinition) {
  const std::vector<std::byte> bytes = random_bytes(1000, 1);
  const uint32_t whole = internal::crc32c_plain(bytes, 0);
  EXPECT_EQ(crc32c(bytes), whole);
  for (size_t cut = 0; cut <= bytes.size(); cut += 7) {
    const Bytes all(bytes);
    const uint32_t first = crc32c(all.first(cut));
    EXPECT_EQ(first, internal::crc32c_plain(all.first(cut), 0));
    EXPECT_EQ(crc32c(all.subspan(cut), first), whole) << cut;
  }
}

TEST(Crc32c, EveryFlippedBitChangesIt) {
  std::vector<std::byte> bytes = random_bytes(64, 2);
  const uint32_t good = crc32c(bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto flip = static_cast<std::byte>(1 << bit % 8);
    bytes[bit / 8] ^= flip;
    EXPECT_NE(crc32c(bytes), good) << bit;
    bytes[bit / 8] ^= flip;
  }
}

// The examples that NIST publishes with FIPS 180-4.
TEST(Sha256, KnownAnswers) {
  const auto of = [](const std::string& text) { return sha256_of(as_bytes(text)); };
  EXPECT_EQ(of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(of("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
               "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"),
            "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(of(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesGiveTheSameAsTheWhole) {
  const std::vector<std::byte> bytes = random_bytes(400, 3);
  const Bytes all(bytes);
  for (size_t size = 0; size <= 200; ++size) {
    const std::string whole = sha256_of(all.first(size));
    for (const size_t piece : {1, 5, 63, 64, 65}) {
      Sha256 hash;
      hash.update(Bytes());
      for (size_t at = 0; at < size; at += piece) {
        hash.update(all.subspan(at, std::min(piece, size - at)));
      }
      EXPECT_EQ(hash.hex_digest(), whole) << size << " in pieces of " << piece;
    }
  }
}

TEST(Sha256, InstructionsAgreeWithThePlainDefinition) {
  if (!internal::has_sha_instructions()) GTEST_SKIP() << "this processor has no SHA instructions";
  const Random random(8, 1);
  for (size_t blocks = 0; blocks < 20; ++blocks) {
    std::array<uint32_t, 8> plain;
    for (size_t i = 0; i < 8; ++i) plain[i] = random.bits32(blocks * 8 + i);
    std::array<uint32_t, 8> fast = plain;
    const std::vector<std::byte> bytes = random_bytes(blocks * 64, 10 + blocks);
    internal::sha256_blocks_plain(plain, bytes.data(), blocks);
    internal::sha256_blocks(fast, bytes.data(), blocks);
    EXPECT_EQ(fast, plain) << blocks;
  }
}

TEST(Sha256, OfFileIsThatOfItsBytes) {
  const test::TemporaryDirectory folder;
  const std::vector<std::byte> bytes = random_bytes((size_t{1} << 20) + 12345, 4);
  FileWriter writer(folder / "bytes");
  writer.write(Bytes(bytes));
  writer.close();
  EXPECT_EQ(sha256_of_file(folder / "bytes"), sha256_of(bytes));
  EXPECT_THROW(sha256_of_file(folder / "absent"), Error);
}

}  // namespace
}  // namespace llm
