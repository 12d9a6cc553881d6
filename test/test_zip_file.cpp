#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/hostile_files.h"
#include "support/temporary_directory.h"
#include "weights/zip_file.h"

namespace llm {
namespace {

std::string number(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

// An archive by hand, whose fields can be made wrong.
struct Entry {
  std::string name = "a", data = "hello";
  uint16_t flags = 0, method = 0;
  uint32_t crc = 0x3610a686;                    // of "hello"
  int64_t size = -1, stored = -1, offset = -1;  // in the directory; -1: the right one
  std::string local_name = name, extra = {}, local_extra = {};
};

std::string archive(const std::vector<Entry>& entries, int64_t count = -1, int64_t size = -1,
                    int64_t offset = -1, const std::string& before_end = {},
                    const std::string& behind = {}) {
  std::string bytes, directory;
  for (const Entry& entry : entries) {
    const uint64_t right = entry.data.size();
    const auto or_right = [&](int64_t value) {
      return value < 0 ? right : static_cast<uint64_t>(value);
    };
    const uint64_t at = entry.offset < 0 ? bytes.size() : static_cast<uint64_t>(entry.offset);
    bytes += number(0x04034b50, 4) + number(20, 2) + number(entry.flags, 2) +
             number(entry.method, 2) + number(0, 4) + number(entry.crc, 4) + number(right, 4) +
             number(right, 4) + number(entry.local_name.size(), 2) +
             number(entry.local_extra.size(), 2) + entry.local_name + entry.local_extra +
             entry.data;
    directory += number(0x02014b50, 4) + number(20, 2) + number(20, 2) + number(entry.flags, 2) +
                 number(entry.method, 2) + number(0, 4) + number(entry.crc, 4) +
                 number(or_right(entry.stored), 4) + number(or_right(entry.size), 4) +
                 number(entry.name.size(), 2) + number(entry.extra.size(), 2) + number(0, 8) +
                 number(0, 2) + number(at, 4) + entry.name + entry.extra;
  }
  const uint64_t begin = offset < 0 ? bytes.size() : static_cast<uint64_t>(offset);
  const uint64_t length = size < 0 ? directory.size() : static_cast<uint64_t>(size);
  const uint64_t entries_said = count < 0 ? entries.size() : static_cast<uint64_t>(count);
  return bytes + directory + before_end + number(0x06054b50, 4) + number(0, 4) +
         number(entries_said, 2) + number(entries_said, 2) + number(length, 4) + number(begin, 4) +
         number(behind.size(), 2) + behind;
}

std::vector<ZipEntry> parse_zip_text(const std::string& bytes) {
  return parse_zip(as_bytes(bytes), "Z");
}

std::string text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(ZipFile, StoredEntriesAreFoundWhereTheyLie) {
  const std::string bytes = archive({{}, {"b/c", "world!"}}, -1, -1, -1, "", "a comment");
  const auto entries = parse_zip_text(bytes);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].name, "a");
  EXPECT_EQ(text_of(entries[0].data), "hello");
  EXPECT_EQ(entries[1].name, "b/c");
  EXPECT_EQ(text_of(entries[1].data), "world!");
  EXPECT_GE(reinterpret_cast<const char*>(entries[0].data.data()), bytes.data());
  EXPECT_NO_THROW(verify_crc(entries[0], "Z"));
  EXPECT_THROW(verify_crc(entries[1], "Z"), Error);
  EXPECT_TRUE(parse_zip_text(archive({})).empty());
}

// The numbers in 64 bits, as archives of more than 4 GiB have them.
TEST(ZipFile, Zip64NumbersAreRead) {
  const uint32_t in_64_bits = 0xffffffff;
  Entry entry;
  entry.size = entry.stored = entry.offset = in_64_bits;
  entry.extra = number(0x1234, 2) + number(2, 2) + "xx" + number(1, 2) + number(24, 2) +
                number(5, 8) + number(5, 8) + number(0, 8);
  const std::string plain = archive({entry});
  EXPECT_EQ(text_of(parse_zip_text(plain)[0].data), "hello");

  const size_t directory = plain.find("PK\x01\x02"), end = plain.find("PK\x05\x06");
  const std::string end64 = number(0x06064b50, 4) + number(44, 8) + number(45, 2) + number(45, 2) +
                            number(0, 8) + number(1, 8) + number(1, 8) +
                            number(end - directory, 8) + number(directory, 8);
  const auto with_locator = [&](uint64_t at) {
    return archive({entry}, 0xffff, in_64_bits, in_64_bits,
                   end64 + number(0x07064b50, 4) + number(0, 4) + number(at, 8) + number(1, 4));
  };
  EXPECT_EQ(text_of(parse_zip_text(with_locator(end))[0].data), "hello");
  for (const uint64_t wrong : {end - 1, end + 1, size_t{0}, plain.size() + 1000, SIZE_MAX}) {
    EXPECT_THROW(parse_zip_text(with_locator(wrong)), Error) << wrong;
  }
}

TEST(ZipFile, HostileArchivesAreRefused) {
  Entry encrypted, compressed, other_name, outside, overlapping, negative, sizes, crc, no_extra;
  encrypted.flags = 1;
  compressed.method = 8;
  other_name.local_name = "b";
  outside.offset = 1 << 20;
  overlapping.name = overlapping.local_name = "b";
  overlapping.offset = 0;
  overlapping.local_name = "a";
  sizes.size = sizes.stored = 6;
  negative.size = negative.stored = 0xfffffffe;
  crc.crc = 1;
  no_extra.size = no_extra.stored = 0xffffffff;
  Entry short_extra = no_extra, giant = no_extra;
  short_extra.extra = number(1, 2) + number(4, 2) + number(5, 4);
  giant.extra = number(1, 2) + number(16, 2) + number(UINT64_MAX, 8) + number(UINT64_MAX, 8);
  const std::string good = archive({{}});
  test::expect_refused(
      {
          {"empty", "", "not there"},
          {"no archive", std::string(100'000, 'P'), "not there"},
          {"end cut", good.substr(0, good.size() - 1), "not there"},
          {"bytes behind", good + "x", "not there"},
          {"end only, with entries", archive({}, 3), "directory entry"},
          {"many entries", archive({{}}, 65'000), "directory"},
          {"too few entries", archive({{}, {"b"}}, 1), "behind the last"},
          {"directory offset", archive({{}}, -1, -1, 1 << 30), "directory"},
          {"directory size", archive({{}}, -1, 5), "directory"},
          {"size and offset", archive({{}}, -1, 0xfffffff0, 0xfffffff0), "directory"},
          {"encrypted", archive({encrypted}), "\"a\" is encrypted"},
          {"compressed", archive({compressed}), "\"a\" is compressed"},
          {"two names", archive({other_name}), "another name"},
          {"outside", archive({outside}), "\"a\""},
          {"sizes differ", archive({sizes}), "differs from the directory"},
          {"too long", archive({negative}), "\"a\""},
          {"same name twice", archive({{}, {}}), "\"a\" comes twice"},
          {"ZIP64 without field", archive({no_extra}), "differs"},
          {"ZIP64 field cut", archive({short_extra}), "ZIP64 field"},
          {"ZIP64 giant", archive({giant}), "beyond any file"},
          {"comment of 64 KiB of nothing", std::string(200'000, '\0'), "not there"},
      },
      "Z", parse_zip_text);
  // Two names for the same bytes: a local header that agrees with one of them cannot with the
  // other.
  EXPECT_THROW(parse_zip_text(archive({{}, overlapping})), Error);
  // An entry within the data of another.
  Entry outer, inner;
  inner.name = inner.local_name = "b";
  outer.data = archive({inner});
  inner.offset = 30 + 1;
  test::expect_error(ErrorKind::input, "\"a\" and \"b\" overlap", [&] {
    parse_zip_text(archive({outer, inner}));
  });
  EXPECT_THROW(verify_crc(parse_zip_text(archive({crc}))[0], "Z"), Error);
}

TEST(ZipFile, EveryTruncationIsRefused) {
  const std::string bytes = archive({{}, {"b/c", "world!"}});
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(parse_zip_text(bytes.substr(0, size)), Error) << size;
  }
}

TEST(ZipWriter, WritesWhatIsReadAtAlignedPlaces) {
  const test::TemporaryDirectory directory;
  const fs::path path = directory / "a.zip";
  ZipWriter writer(path);
  writer.add("first", "text");
  writer.begin("data/0", 5);
  writer.write(as_bytes("he"));
  writer.write(as_bytes("llo"));
  writer.end();
  writer.add("empty", "");
  writer.finish();
  const MappedFile file(path);
  EXPECT_TRUE(is_zip(file.bytes()));
  const auto entries = parse_zip(file.bytes(), "Z");
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(text_of(entries[0].data), "text");
  EXPECT_EQ(text_of(entries[1].data), "hello");
  EXPECT_EQ(entries[1].crc, 0x3610a686u);
  EXPECT_EQ(entries[2].data.size(), 0u);
  for (const ZipEntry& entry : entries) {
    EXPECT_EQ((entry.data.data() - file.bytes().data()) % 64, 0) << entry.name;
    EXPECT_NO_THROW(verify_crc(entry, "Z"));
  }
}

}  // namespace
}  // namespace llm
