// ZIP archives as torch.save writes them: entries that are stored, not compressed, so that tensors
// can be read where they lie. Sizes beyond 32 bits (ZIP64) included.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"

namespace llm {

struct ZipEntry {
  std::string name;
  Bytes data;
  uint32_t crc = 0;  // that the archive claims
};

bool is_zip(Bytes bytes);  // by its first bytes

// The entries in the order of their data. Throws Error{input} with `where` for an archive that is
// damaged, in parts, encrypted or compressed, whose entries overlap or share a name, or whose
// directory disagrees with the entries. Takes memory in proportion to the directory that is there.
std::vector<ZipEntry> parse_zip(Bytes bytes, const std::string& where);

// Throws Error{input} naming the entry if its bytes are not those that were stored.
void verify_crc(const ZipEntry& entry, const std::string& where);

// Writes an archive entry by entry, without holding one in memory. Data begins at multiples of 64
// bytes. All failures throw Error{disk}.
class ZipWriter {
 public:
  explicit ZipWriter(const fs::path& path);

  void begin(const std::string& name, int64_t size);
  void write(Bytes bytes);  // `size` bytes in all
  void end();
  void add(const std::string& name, std::string_view text);
  void finish();  // writes the directory; syncs and closes

 private:
  struct Written {
    std::string name;
    int64_t offset, size;
    uint32_t crc;
  };
  FileWriter file_;
  std::vector<Written> entries_;
  int64_t pending_ = 0;  // bytes of the open entry that have not come yet
};

}  // namespace llm
