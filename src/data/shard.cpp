#include "data/shard.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/byte_reader.h"
#include "base/error.h"
#include "base/hash.h"

namespace llm {
namespace {

constexpr int64_t kMaxNarrowVocab = 65536;
constexpr int64_t kMaxTokenId = INT32_MAX;

std::array<int32_t, kShardHeaderBytes / 4> make_header(bool wide, int64_t tokens) {
  std::array<int32_t, kShardHeaderBytes / 4> header{};
  header[0] = kShardMagic;
  header[1] = wide ? 2 : 1;
  header[2] = static_cast<int32_t>(tokens);
  return header;
}

// The largest of `count` ids stored from `data` on.
template <typename Stored>
uint32_t largest(const std::byte* data, int64_t count) {
  Stored result = 0;
  for (int64_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, data + i * static_cast<int64_t>(sizeof(Stored)), sizeof(Stored));
    result = std::max(result, value);
  }
  return result;
}

template <typename Stored>
uint32_t copy_tokens(std::span<TokenId> into, const std::byte* data) {
  Stored result = 0;
  for (size_t i = 0; i < into.size(); ++i) {
    Stored value;
    std::memcpy(&value, data + i * sizeof(Stored), sizeof(Stored));
    result = std::max(result, value);
    into[i] = static_cast<TokenId>(value);
  }
  return result;
}

}  // namespace

ShardWriter::ShardWriter(const fs::path& path, int64_t vocab_size)
    : file_(path), wide_(vocab_size > kMaxNarrowVocab), vocab_size_(vocab_size) {
  const auto header = make_header(wide_, 0);
  put(std::as_bytes(std::span(header)));
}

void ShardWriter::append(std::span<const TokenId> tokens) {
  LLM_ASSERT(tokens_ + static_cast<int64_t>(tokens.size()) <= kMaxShardTokens);
  std::array<std::byte, 1 << 15> buffer;
  const size_t width = wide_ ? 4 : 2;
  while (!tokens.empty()) {
    const size_t count = std::min(tokens.size(), buffer.size() / width);
    for (size_t i = 0; i < count; ++i) {
      const auto id = static_cast<uint32_t>(tokens[i]);
      LLM_ASSERT(id < static_cast<uint64_t>(vocab_size_), "token id {}", id);
      // Little-endian: the low bytes come first in either width.
      std::memcpy(buffer.data() + i * width, &id, width);
    }
    put(std::span(buffer).first(count * width));
    tokens_ += static_cast<int64_t>(count);
    tokens = tokens.subspan(count);
  }
}

void ShardWriter::put(Bytes bytes) {
  file_.write(bytes);
  while (!bytes.empty()) {
    const size_t part = std::min(bytes.size(), static_cast<size_t>(kCrcBlockBytes - block_bytes_));
    // The first block is kept, because finish() changes its header.
    if (crcs_.empty()) {
      first_block_.append(reinterpret_cast<const char*>(bytes.data()), part);
    } else {
      block_crc_ = crc32c(bytes.first(part), block_crc_);
    }
    block_bytes_ += static_cast<int64_t>(part);
    if (block_bytes_ == kCrcBlockBytes) end_block();
    bytes = bytes.subspan(part);
  }
}

void ShardWriter::end_block() {
  crcs_.push_back(block_crc_);
  block_crc_ = 0;
  block_bytes_ = 0;
}

std::vector<uint32_t> ShardWriter::finish() {
  if (block_bytes_ > 0) end_block();
  const auto header = make_header(wide_, tokens_);
  const Bytes header_bytes = std::as_bytes(std::span(header));
  file_.write_at(0, header_bytes);
  std::memcpy(first_block_.data(), header_bytes.data(), header_bytes.size());
  crcs_[0] = crc32c(as_bytes(first_block_));
  file_.sync();
  file_.close();
  return std::move(crcs_);
}

Shard::Shard(const fs::path& path) : file_(path) {
  ByteReader reader(file_.bytes(), path.string());
  if (reader.size() < kShardHeaderBytes) {
    reader.fail(fmt::format("{} bytes, a token shard has a header of {} (truncated?)",
                            with_commas(reader.size()), with_commas(kShardHeaderBytes)),
                "write it again with `llm data prepare`");
  }
  const auto magic = reader.read<int32_t>("magic");
  if (magic != kShardMagic) {
    reader.seek(0);
    reader.fail(fmt::format("magic number {}, a token shard begins with {}", magic, kShardMagic),
                "shards are made by `llm data prepare`; text files are its input");
  }
  const auto version = reader.read<int32_t>("version");
  if (version != 1 && version != 2) {
    reader.seek(4);
    reader.fail(fmt::format("shard version {}, known are 1 (uint16) and 2 (uint32)", version),
                "written by a later version of the program?");
  }
  wide_ = version == 2;
  tokens_ = reader.read<int32_t>("token count");
  if (tokens_ < 0) {
    reader.seek(8);
    reader.fail(fmt::format("token count {} in the header is negative", tokens_),
                "the file is damaged: write it again with `llm data prepare`");
  }
  const int64_t expected = kShardHeaderBytes + tokens_ * width();
  if (reader.size() != expected) {
    fail_input(path.string(),
               fmt::format("{} bytes, header says {} ({})", with_commas(reader.size()),
                           with_commas(expected),
                           reader.size() < expected ? "truncated?" : "something was appended?"),
               "write it again with `llm data prepare`");
  }
}

void Shard::read(int64_t begin, std::span<TokenId> into, int64_t vocab_size) const {
  const auto count = static_cast<int64_t>(into.size());
  LLM_ASSERT(begin >= 0 && count <= tokens_ && begin <= tokens_ - count, "begin {} count {} of {}",
             begin, count, tokens_);
  const std::byte* data = file_.bytes().data() + kShardHeaderBytes + begin * width();
  const uint32_t found =
      wide_ ? copy_tokens<uint32_t>(into, data) : copy_tokens<uint16_t>(into, data);
  if (found > largest_allowed(vocab_size)) fail_token(begin, begin + count, vocab_size);
}

uint32_t Shard::largest_allowed(int64_t vocab_size) {
  const int64_t limit = vocab_size > 0 ? vocab_size - 1 : kMaxTokenId;
  return static_cast<uint32_t>(std::min(limit, kMaxTokenId));
}

void Shard::fail_token(int64_t begin, int64_t end, int64_t vocab_size) const {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t offset = kShardHeaderBytes + i * width();
    uint32_t id = 0;
    std::memcpy(&id, file_.bytes().data() + offset, static_cast<size_t>(width()));
    if (id <= largest_allowed(vocab_size)) continue;
    fail_input(fmt::format("{}: offset {}", path().string(), with_commas(offset)),
               fmt::format("token id {} is beyond the vocabulary of {} tokens", with_commas(id),
                           with_commas(vocab_size > 0 ? vocab_size : kMaxTokenId)),
               "the shard was made with another tokenizer than the model's, or is damaged");
  }
  LLM_ASSERT(false, "no token beyond the vocabulary in [{}, {})", begin, end);
}

int64_t Shard::blocks() const {
  const auto size = static_cast<int64_t>(file_.bytes().size());
  return (size + kCrcBlockBytes - 1) / kCrcBlockBytes;
}

Bytes Shard::block(int64_t index) const {
  const Bytes all = file_.bytes();
  const auto begin = static_cast<size_t>(index * kCrcBlockBytes);
  return all.subspan(begin, std::min(all.size() - begin, static_cast<size_t>(kCrcBlockBytes)));
}

uint32_t Shard::block_crc(int64_t index) const { return crc32c(block(index)); }

void Shard::verify_block(int64_t index, uint32_t crc) const {
  const uint32_t found = block_crc(index);
  if (found == crc) return;
  fail_input(fmt::format("{}: offset {}", path().string(), with_commas(index * kCrcBlockBytes)),
             fmt::format("checksum {:08x} of MiB {}, dataset.json says {:08x}", found, index, crc),
             "the file was damaged or changed: write it again with `llm data prepare`");
}

void Shard::check_block_ids(int64_t index, int64_t vocab_size) const {
  Bytes bytes = block(index);
  const int64_t header = index == 0 ? kShardHeaderBytes : 0;
  bytes = bytes.subspan(static_cast<size_t>(header));
  const auto count = static_cast<int64_t>(bytes.size()) / width();
  const uint32_t found =
      wide_ ? largest<uint32_t>(bytes.data(), count) : largest<uint16_t>(bytes.data(), count);
  if (found <= largest_allowed(vocab_size)) return;
  const int64_t begin = (index * kCrcBlockBytes + header - kShardHeaderBytes) / width();
  fail_token(begin, begin + count, vocab_size);
}

void Shard::verify(std::span<const uint32_t> crcs) const {
  if (static_cast<int64_t>(crcs.size()) != blocks()) {
    fail_input(path().string(),
               fmt::format("{} MiB of data, dataset.json has {} checksums", with_commas(blocks()),
                           with_commas(static_cast<long long>(crcs.size()))),
               "the file is not the one that dataset.json describes");
  }
  for (int64_t i = 0; i < blocks(); ++i) verify_block(i, crcs[static_cast<size_t>(i)]);
}

TokenSequence::TokenSequence(std::vector<Shard> shards, int64_t vocab_size)
    : shards_(std::move(shards)), vocab_size_(vocab_size) {
  for (const Shard& shard : shards_) {
    starts_.push_back(total_);
    total_ += shard.tokens();
  }
}

void TokenSequence::read(int64_t begin, std::span<TokenId> into) const {
  const auto count = static_cast<int64_t>(into.size());
  LLM_ASSERT(begin >= 0 && count <= total_ && begin <= total_ - count, "begin {} count {} of {}",
             begin, count, total_);
  if (into.empty()) return;
  auto index = static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), begin) -
                                   starts_.begin() - 1);
  int64_t at = begin - starts_[index];
  while (!into.empty()) {
    const Shard& shard = shards_[index++];
    const auto part = std::min<int64_t>(static_cast<int64_t>(into.size()), shard.tokens() - at);
    shard.read(at, into.first(static_cast<size_t>(part)), vocab_size_);
    into = into.subspan(static_cast<size_t>(part));
    at = 0;
  }
}

}  // namespace llm
