#include "weights/zip_file.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <set>

#include "base/byte_reader.h"
#include "base/error.h"
#include "weights/tensor_source.h"
#include "weights/zip_format.h"

namespace llm {
namespace {

using namespace zip;

constexpr int64_t kDirectoryEndBytes = 22, kZip64LocatorBytes = 20;
constexpr int64_t kMaxComment = 65'535;
constexpr uint16_t kEncrypted = 1, kSizesBehind = 8;  // flags

struct Directory {
  int64_t offset, size, entries;
};

// The end record is the last thing of a file; only a comment of known length may follow.
int64_t find_directory_end(Bytes bytes, const std::string& where) {
  const auto size = static_cast<int64_t>(bytes.size());
  const int64_t lowest = std::max<int64_t>(0, size - kDirectoryEndBytes - kMaxComment);
  for (int64_t at = size - kDirectoryEndBytes; at >= lowest; --at) {
    ByteReader reader(bytes.subspan(static_cast<size_t>(at)), where);
    if (reader.read<uint32_t>("end record") != kDirectoryEnd) continue;
    reader.seek(kDirectoryEndBytes - 2);
    if (reader.read<uint16_t>("comment length") == size - at - kDirectoryEndBytes) return at;
  }
  fail_input(where, "the directory at the end of the archive is not there", "truncated?");
}

int64_t checked_int64(uint64_t value, const char* what, const std::string& where) {
  if (value > static_cast<uint64_t>(INT64_MAX)) {
    fail_input(where, fmt::format("{} is {}, beyond any file", what, value));
  }
  return static_cast<int64_t>(value);
}

// The directory by the ZIP64 end record, which lies before its locator at `at`.
Directory read_zip64_end(ByteReader& reader, int64_t at, const std::string& where) {
  reader.seek(at + 4);
  const auto disk = reader.read<uint32_t>("disk");
  const int64_t end = checked_int64(reader.read<uint64_t>("offset"), "ZIP64 offset", where);
  const auto disks = reader.read<uint32_t>("disks");
  if (disk != 0 || disks > 1) fail_input(where, "an archive in several parts");
  if (end > at) reader.fail("the ZIP64 end record lies behind its locator");
  reader.seek(end);
  if (reader.read<uint32_t>("ZIP64 end record") != kZip64End) {
    reader.fail("no ZIP64 end record where the locator says");
  }
  reader.take(8 + 2 + 2, "ZIP64 end record");
  if (reader.read<uint32_t>("disk") != 0 || reader.read<uint32_t>("disk") != 0) {
    fail_input(where, "an archive in several parts");
  }
  reader.take(8, "entries here");
  Directory directory{};
  directory.entries = checked_int64(reader.read<uint64_t>("entries"), "number of entries", where);
  directory.size = checked_int64(reader.read<uint64_t>("size"), "directory size", where);
  directory.offset = checked_int64(reader.read<uint64_t>("offset"), "directory offset", where);
  if (directory.offset > end || directory.size != end - directory.offset) {
    reader.fail("the directory does not end where the ZIP64 end record begins");
  }
  return directory;
}

Directory find_directory(Bytes bytes, const std::string& where) {
  const int64_t end = find_directory_end(bytes, where);
  ByteReader reader(bytes, where);
  if (end >= kZip64LocatorBytes) {
    reader.seek(end - kZip64LocatorBytes);
    if (reader.read<uint32_t>("locator") == kZip64Locator) {
      return read_zip64_end(reader, end - kZip64LocatorBytes, where);
    }
  }
  reader.seek(end + 4);
  const auto disk = reader.read<uint16_t>("disk"), start_disk = reader.read<uint16_t>("disk");
  if (disk != 0 || start_disk != 0) fail_input(where, "an archive in several parts");
  reader.take(2, "entries here");
  Directory directory{};
  directory.entries = reader.read<uint16_t>("entries");
  directory.size = reader.read<uint32_t>("directory size");
  directory.offset = reader.read<uint32_t>("directory offset");
  if (directory.offset > end || directory.size != end - directory.offset) {
    reader.fail("the directory does not end where its end record begins");
  }
  return directory;
}

struct DirectoryEntry {
  std::string name;
  uint32_t crc = 0;
  int64_t size = 0, stored_size = 0, offset = 0;
};

// Numbers that do not fit 32 bits lie in the ZIP64 field, in this order, each only if it is needed.
void read_extra_fields(Bytes extra, DirectoryEntry& entry, const std::string& where) {
  ByteReader reader(extra, where);
  while (reader.remaining() >= 4) {
    const auto id = reader.read<uint16_t>("extra field");
    const auto length = reader.read<uint16_t>("extra field");
    ByteReader field(reader.take(length, "extra field"), where);
    if (id != kZip64Extra) continue;
    for (int64_t* value : {&entry.size, &entry.stored_size, &entry.offset}) {
      if (*value != kIn64Bits) continue;
      *value = checked_int64(field.read<uint64_t>("ZIP64 field"), "size or offset", where);
    }
    return;
  }
}

DirectoryEntry read_directory_entry(ByteReader& reader, const std::string& where) {
  if (reader.read<uint32_t>("directory entry") != kDirectoryEntry) {
    reader.fail("no directory entry here");
  }
  reader.take(4, "versions");
  const auto flags = reader.read<uint16_t>("flags");
  const auto method = reader.read<uint16_t>("method");
  reader.take(4, "time");
  DirectoryEntry entry;
  entry.crc = reader.read<uint32_t>("CRC");
  entry.stored_size = reader.read<uint32_t>("stored size");
  entry.size = reader.read<uint32_t>("size");
  const auto name_length = reader.read<uint16_t>("name length");
  const auto extra_length = reader.read<uint16_t>("extra length");
  const auto comment_length = reader.read<uint16_t>("comment length");
  reader.take(8, "attributes");
  entry.offset = reader.read<uint32_t>("offset");
  entry.name = reader.take_text(name_length, "name");
  read_extra_fields(reader.take(extra_length, "extra fields"), entry, where);
  reader.take(comment_length, "comment");
  if ((flags & kEncrypted) != 0) fail_input(where, quoted_name(entry.name) + " is encrypted");
  if (method != 0 || entry.stored_size != entry.size) {
    fail_input(where, quoted_name(entry.name) + " is compressed",
               "torch.save writes archives without compression");
  }
  return entry;
}

// The bytes of an entry, behind its local header, which must agree with the directory.
ZipEntry locate(const DirectoryEntry& entry, ByteReader& reader) {
  const auto refuse = [&](const char* what) {
    reader.fail(fmt::format("{}: {}", quoted_name(entry.name), what));
  };
  if (entry.offset > reader.size()) refuse("begins behind the directory");
  reader.seek(entry.offset);
  if (reader.read<uint32_t>("local header") != kLocalHeader) refuse("has no header there");
  reader.take(2, "version");
  const auto flags = reader.read<uint16_t>("flags");
  const auto method = reader.read<uint16_t>("method");
  reader.take(4, "time");
  const auto crc = reader.read<uint32_t>("CRC"), stored = reader.read<uint32_t>("stored size"),
             size = reader.read<uint32_t>("size");
  const auto name_length = reader.read<uint16_t>("name length");
  const auto extra_length = reader.read<uint16_t>("extra length");
  if (reader.take_text(name_length, "name") != entry.name) refuse("has another name there");
  reader.take(extra_length, "extra fields");
  const auto agrees = [&](uint32_t value) { return value == kIn64Bits || value == entry.size; };
  const bool known = (flags & kSizesBehind) == 0;
  if (method != 0 || (known && (crc != entry.crc || !agrees(stored) || !agrees(size)))) {
    refuse("its header differs from the directory");
  }
  return {entry.name, reader.take(entry.size, quoted_name(entry.name)), entry.crc};
}

}  // namespace

bool is_zip(Bytes bytes) {
  return bytes.size() >= 4 && ByteReader(bytes, "").read<uint32_t>("") == kLocalHeader;
}

std::vector<ZipEntry> parse_zip(Bytes bytes, const std::string& where) {
  const Directory directory = find_directory(bytes, where);
  ByteReader reader(
      bytes.subspan(static_cast<size_t>(directory.offset), static_cast<size_t>(directory.size)),
      where + ", directory");
  ByteReader data(bytes.first(static_cast<size_t>(directory.offset)), where);
  std::vector<ZipEntry> entries;
  std::set<std::string> names;
  for (int64_t i = 0; i < directory.entries; ++i) {
    const DirectoryEntry entry = read_directory_entry(reader, where);
    if (!names.insert(entry.name).second)
      fail_input(where, quoted_name(entry.name) + " comes twice");
    entries.push_back(locate(entry, data));
  }
  if (reader.remaining() > 0) reader.fail("bytes behind the last directory entry");
  std::sort(entries.begin(), entries.end(), [](const ZipEntry& a, const ZipEntry& b) {
    return std::pair(a.data.data(), a.data.size()) < std::pair(b.data.data(), b.data.size());
  });
  for (size_t i = 1; i < entries.size(); ++i) {
    const Bytes before = entries[i - 1].data;
    if (before.data() + before.size() > entries[i].data.data()) {
      fail_input(where, fmt::format("{} and {} overlap", quoted_name(entries[i - 1].name),
                                    quoted_name(entries[i].name)));
    }
  }
  return entries;
}

void verify_crc(const ZipEntry& entry, const std::string& where) {
  const auto* data = reinterpret_cast<const Bytef*>(entry.data.data());
  if (crc32_z(crc32_z(0, nullptr, 0), data, entry.data.size()) != entry.crc) {
    fail_input(where, fmt::format("{}: its checksum is wrong", quoted_name(entry.name)),
               "damaged: copy or download the file again");
  }
}

}  // namespace llm
