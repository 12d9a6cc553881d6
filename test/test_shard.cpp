#include <gtest/gtest.h>

#include <cstring>

#include "base/hash.h"
#include "data/shard.h"
#include "support/dataset_files.h"
#include "support/expect_error.h"
#include "support/temporary_directory.h"

namespace llm::test {
namespace {

std::string header_text(int32_t magic, int32_t version, int32_t count) {
  std::string text(static_cast<size_t>(kShardHeaderBytes), '\0');
  const int32_t values[] = {magic, version, count};
  std::memcpy(text.data(), values, sizeof(values));
  return text;
}

std::vector<TokenId> read_all(const Shard& shard, int64_t vocab_size) {
  std::vector<TokenId> tokens(static_cast<size_t>(shard.tokens()));
  shard.read(0, tokens, vocab_size);
  return tokens;
}

TEST(Shard, HasTheDocumentedLayout) {
  const TemporaryDirectory folder;
  const std::vector<TokenId> tokens{1, 2, 65535};
  write_shard(folder / "narrow.bin", tokens, 65536);
  EXPECT_EQ(read_text_file(folder / "narrow.bin"),
            header_text(20240520, 1, 3) + std::string("\1\0\2\0\xFF\xFF", 6));
  write_shard(folder / "wide.bin", tokens, 65537);
  EXPECT_EQ(read_text_file(folder / "wide.bin"),
            header_text(20240520, 2, 3) + std::string("\1\0\0\0\2\0\0\0\xFF\xFF\0\0", 12));
}

TEST(Shard, GivesBackWhatWasWritten) {
  const TemporaryDirectory folder;
  for (const int64_t vocab_size : {300, 70'000}) {
    for (const int64_t count : {0, 1, 1000, 16'384, 700'000}) {
      const std::vector<TokenId> tokens = counting_tokens(count, vocab_size);
      const fs::path path = folder / "shard.bin";
      ShardWriter writer(path, vocab_size);
      // In uneven parts, so that blocks and buffers end amid them.
      for (size_t at = 0; at < tokens.size(); at += 1237) {
        writer.append(std::span(tokens).subspan(at, std::min<size_t>(1237, tokens.size() - at)));
      }
      EXPECT_EQ(writer.tokens(), count);
      const std::vector<uint32_t> crcs = writer.finish();
      const Shard shard(path);
      EXPECT_EQ(shard.wide(), vocab_size > 65536);
      EXPECT_EQ(read_all(shard, vocab_size), tokens);
      shard.verify(crcs);
      // The checksums are those of the file's MiBs as they lie on disk.
      const std::string bytes = read_text_file(path);
      ASSERT_EQ(static_cast<int64_t>(crcs.size()), shard.blocks());
      for (size_t i = 0; i < crcs.size(); ++i) {
        EXPECT_EQ(crcs[i], crc32c(as_bytes(bytes.substr(i << 20, size_t{1} << 20))));
      }
    }
  }
}

TEST(Shard, RefusesDamagedFiles) {
  const TemporaryDirectory folder;
  const fs::path path = folder / "bad.bin";
  const auto refuse = [&](const std::string& bytes, const std::string& part) {
    write_file(path, bytes);
    expect_error(ErrorKind::input, part, [&] { Shard shard(path); });
    expect_error(ErrorKind::input, path.string(), [&] { Shard shard(path); });
  };
  const std::string four("\0\0\0\0\0\0\0\0", 8);
  refuse("", "truncated");
  refuse("short", "truncated");
  refuse(header_text(20240521, 1, 4) + four, "magic number 20240521");
  refuse(header_text(kShardMagic, 3, 4) + four, "version 3");
  refuse(header_text(kShardMagic, 0, 4) + four, "version 0");
  refuse(header_text(kShardMagic, 1, -1) + four, "negative");
  refuse(header_text(kShardMagic, 1, INT32_MIN) + four, "negative");
  refuse(header_text(kShardMagic, 1, 5) + four, "1,032 bytes, header says 1,034 (truncated?)");
  refuse(header_text(kShardMagic, 1, 3) + four, "1,032 bytes, header says 1,030");
  refuse(header_text(kShardMagic, 2, 4) + four, "truncated");
  refuse(header_text(kShardMagic, 2, INT32_MAX) + four, "header says 8,589,935,612");
  refuse("To be, or not to be: that is the question\n" + std::string(2000, 'x'), "magic");
  expect_error(ErrorKind::input, "missing.bin", [&] { Shard shard(folder / "missing.bin"); });
  expect_error(ErrorKind::input, "regular", [&] { Shard shard(folder.path()); });
}

TEST(Shard, RefusesIdsBeyondTheVocabularyWithTheirOffset) {
  const TemporaryDirectory folder;
  std::vector<TokenId> tokens = counting_tokens(2000, 100);
  tokens[1500] = 40'000;
  const fs::path path = folder / "shard.bin";
  write_shard(path, tokens, 65536);
  const Shard shard(path);
  EXPECT_EQ(read_all(shard, 40'001)[1500], 40'000);
  EXPECT_EQ(read_all(shard, 0)[1500], 40'000);
  std::vector<TokenId> part(10);
  shard.read(1490, part, 40'000);
  expect_error(ErrorKind::input, "shard.bin: offset 4,024: token id 40,000",
               [&] { shard.read(1491, part, 40'000); });
  expect_error(ErrorKind::input, "offset 4,024", [&] { shard.check_block_ids(0, 40'000); });
  shard.check_block_ids(0, 40'001);

  // Ids that are negative as int32 are refused whatever the vocabulary.
  write_file(path, header_text(kShardMagic, 2, 1) + "\xFF\xFF\xFF\xFF");
  const Shard negative(path);
  expect_error(ErrorKind::input, "token id 4,294,967,295", [&] { read_all(negative, 0); });
  expect_error(ErrorKind::input, "offset 1,024", [&] { negative.check_block_ids(0, 0); });
}

TEST(Shard, ChecksIdsInEveryBlock) {
  const TemporaryDirectory folder;
  for (const int64_t vocab_size : {60'000, 70'000}) {
    const auto last = static_cast<TokenId>(vocab_size - 1);
    // Around the borders of the MiBs.
    const int64_t per_block = kCrcBlockBytes / (vocab_size > 65536 ? 4 : 2);
    const int64_t header = kShardHeaderBytes / (vocab_size > 65536 ? 4 : 2);
    for (const int64_t at : {int64_t{0}, per_block - header - 1, per_block - header,
                             2 * per_block - header - 1, 2 * per_block - header}) {
      std::vector<TokenId> tokens(static_cast<size_t>(2 * per_block), 5);
      tokens[static_cast<size_t>(at)] = last;
      write_shard(folder / "shard.bin", tokens, vocab_size);
      const Shard shard(folder / "shard.bin");
      const int64_t bad = (at + header) / per_block;
      for (int64_t block = 0; block < shard.blocks(); ++block) {
        if (block != bad) {
          shard.check_block_ids(block, vocab_size - 1);
        } else {
          const int64_t offset = (at + header) * (shard.wide() ? 4 : 2);
          expect_error(ErrorKind::input, "offset " + with_commas(offset) + ":",
                       [&] { shard.check_block_ids(block, vocab_size - 1); });
        }
      }
    }
  }
}

TEST(Shard, FindsEveryChangedBlock) {
  const TemporaryDirectory folder;
  const fs::path path = folder / "shard.bin";
  const std::vector<TokenId> tokens = counting_tokens(1'500'000, 1000);
  const std::vector<uint32_t> crcs = write_shard(path, tokens, 1000);
  ASSERT_EQ(crcs.size(), 3u);
  const std::string good = read_text_file(path);
  for (const size_t at : {size_t{900}, size_t{1030}, size_t{1} << 20, good.size() - 1}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    write_file(path, bad);
    const Shard shard(path);
    expect_error(ErrorKind::input, fmt::format("MiB {},", at >> 20), [&] { shard.verify(crcs); });
  }
  write_file(path, good);
  const Shard shard(path);
  shard.verify(crcs);
  expect_error(ErrorKind::input, "2 checksums", [&] { shard.verify(std::span(crcs).first(2)); });
}

TEST(TokenSequence, ReadsAcrossShards) {
  const TemporaryDirectory folder;
  const std::vector<TokenId> tokens = counting_tokens(43, 41);
  for (const int64_t per_shard : {3, 7, 20, 43, 50}) {
    const Dataset dataset = make_dataset(folder.path(), "train", tokens, 41, per_shard);
    ASSERT_EQ(dataset.train.size(), 43);
    EXPECT_EQ(all_tokens(dataset.train), tokens);
    for (size_t begin = 0; begin <= 33; ++begin) {
      std::vector<TokenId> part(10);
      dataset.train.read(static_cast<int64_t>(begin), part);
      EXPECT_TRUE(std::equal(part.begin(), part.end(), tokens.begin() + static_cast<long>(begin)));
    }
  }
}

}  // namespace
}  // namespace llm::test
