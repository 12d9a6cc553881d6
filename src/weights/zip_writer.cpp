#include <zlib.h>

#include <algorithm>

#include "base/error.h"
#include "weights/zip_file.h"
#include "weights/zip_format.h"

namespace llm {
namespace {

using namespace zip;

constexpr int64_t kLocalHeaderBytes = 30, kAlignment = 64;
constexpr uint16_t kPaddingExtra = 0x4246;  // "FB", as PyTorch calls it
constexpr uint16_t kVersion = 45;           // of the format: with ZIP64

void append_number(std::string& text, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
}

uint32_t in_32_bits(int64_t value) {
  return value < static_cast<int64_t>(kIn64Bits) ? static_cast<uint32_t>(value) : kIn64Bits;
}

// What a local header and a directory entry have in common: version needed, flags, method, the
// time (the first of January 1980, so that equal models are equal files), CRC, sizes and name.
void append_description(std::string& text, const std::string& name, int64_t size, uint32_t crc,
                        size_t extra_bytes) {
  append_number(text, kVersion, 2);
  append_number(text, 0, 2 + 2 + 2);
  append_number(text, 1 << 5 | 1, 2);
  append_number(text, crc, 4);
  append_number(text, in_32_bits(size), 4);
  append_number(text, in_32_bits(size), 4);
  append_number(text, name.size(), 2);
  append_number(text, extra_bytes, 2);
}

std::string local_header(const std::string& name, int64_t size, int64_t offset) {
  std::string extra;
  if (in_32_bits(size) == kIn64Bits) {
    append_number(extra, kZip64Extra, 2);
    append_number(extra, 16, 2);
    append_number(extra, static_cast<uint64_t>(size), 8);
    append_number(extra, static_cast<uint64_t>(size), 8);
  }
  const int64_t data = offset + kLocalHeaderBytes + static_cast<int64_t>(name.size()) +
                       static_cast<int64_t>(extra.size()) + 4;
  const int64_t padding = (kAlignment - data % kAlignment) % kAlignment;
  append_number(extra, kPaddingExtra, 2);
  append_number(extra, static_cast<uint64_t>(padding), 2);
  extra.append(static_cast<size_t>(padding), 'Z');
  std::string header;
  append_number(header, kLocalHeader, 4);
  append_description(header, name, size, 0, extra.size());
  return header + name + extra;
}

std::string directory_entry(const std::string& name, int64_t size, uint32_t crc, int64_t offset) {
  std::string numbers;  // those that do not fit
  for (const int64_t value : {size, size, offset}) {
    if (in_32_bits(value) == kIn64Bits) append_number(numbers, static_cast<uint64_t>(value), 8);
  }
  std::string extra;
  if (!numbers.empty()) {
    append_number(extra, kZip64Extra, 2);
    append_number(extra, numbers.size(), 2);
    extra += numbers;
  }
  std::string entry;
  append_number(entry, kDirectoryEntry, 4);
  append_number(entry, kVersion, 2);
  append_description(entry, name, size, crc, extra.size());
  append_number(entry, 0, 2 + 2 + 2);  // comment, disk, attributes
  append_number(entry, 0, 4);
  append_number(entry, in_32_bits(offset), 4);
  return entry + name + extra;
}

std::string directory_end(int64_t entries, int64_t offset, int64_t size) {
  std::string end;
  const bool large =
      in_32_bits(offset) == kIn64Bits || in_32_bits(size) == kIn64Bits || entries >= 0xffff;
  if (large) {
    append_number(end, kZip64End, 4);
    append_number(end, 44, 8);
    append_number(end, kVersion, 2);
    append_number(end, kVersion, 2);
    append_number(end, 0, 8);  // disks
    for (const int64_t value : {entries, entries, size, offset}) {
      append_number(end, static_cast<uint64_t>(value), 8);
    }
    append_number(end, kZip64Locator, 4);
    append_number(end, 0, 4);
    append_number(end, static_cast<uint64_t>(offset + size), 8);
    append_number(end, 1, 4);
  }
  append_number(end, kDirectoryEnd, 4);
  append_number(end, 0, 4);  // disks
  const auto count = static_cast<uint64_t>(std::min<int64_t>(entries, 0xffff));
  append_number(end, count, 2);
  append_number(end, count, 2);
  append_number(end, in_32_bits(size), 4);
  append_number(end, in_32_bits(offset), 4);
  append_number(end, 0, 2);  // comment
  return end;
}

}  // namespace

ZipWriter::ZipWriter(const fs::path& path) : file_(path) {}

void ZipWriter::begin(const std::string& name, int64_t size) {
  LLM_ASSERT(pending_ == 0 && size >= 0);
  entries_.push_back({name, file_.size(), size, 0});
  file_.write(local_header(name, size, file_.size()));
  pending_ = size;
}

void ZipWriter::write(Bytes bytes) {
  pending_ -= static_cast<int64_t>(bytes.size());
  LLM_ASSERT(pending_ >= 0);
  Written& entry = entries_.back();
  entry.crc = static_cast<uint32_t>(
      crc32_z(entry.crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  file_.write(bytes);
}

void ZipWriter::end() {
  constexpr int64_t kCrcOffset = 14;  // in the local header
  LLM_ASSERT(pending_ == 0);
  const uint32_t crc = entries_.back().crc;
  file_.write_at(entries_.back().offset + kCrcOffset, std::as_bytes(std::span(&crc, 1)));
}

void ZipWriter::add(const std::string& name, std::string_view text) {
  begin(name, static_cast<int64_t>(text.size()));
  write(as_bytes(text));
  end();
}

void ZipWriter::finish() {
  const int64_t offset = file_.size();
  for (const Written& entry : entries_) {
    file_.write(directory_entry(entry.name, entry.size, entry.crc, entry.offset));
  }
  file_.write(directory_end(static_cast<int64_t>(entries_.size()), offset, file_.size() - offset));
  file_.sync();
  file_.close();
}

}  // namespace llm
