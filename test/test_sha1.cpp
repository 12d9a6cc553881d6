// Known answers of SHA-1 (FIPS 180-4 and Git).
#include <gtest/gtest.h>

#include <string>

#include "base/hash.h"
#include "support/fake_hub.h"

namespace llm {
namespace {

std::string sha1_of(const std::string& text) {
  Sha1 hash;
  hash.update(text);
  return hash.hex_digest();
}

TEST(Sha1, KnownAnswers) {
  EXPECT_EQ(sha1_of(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(sha1_of("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(sha1_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
  EXPECT_EQ(sha1_of(std::string(1'000'000, 'a')), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

TEST(Sha1, BlobsOfGit) {
  EXPECT_EQ(test::git_blob_hash(""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_EQ(test::git_blob_hash("hello world\n"), "3b18e512dba79e4c8300dd08aeb37f8e728b8dad");
}

TEST(Sha1, PiecesOfAnySize) {
  const std::string text = test::noise(1000);
  const std::string whole = sha1_of(text);
  for (const size_t piece : {1, 3, 55, 56, 63, 64, 65, 127, 128, 999}) {
    Sha1 hash;
    for (size_t at = 0; at < text.size(); at += piece) {
      hash.update(std::string_view(text).substr(at, piece));
    }
    EXPECT_EQ(hash.hex_digest(), whole) << piece;
  }
}

}  // namespace
}  // namespace llm
