// Any bytes as a file of torch.save: refused, or tensors whose elements all lie in the bytes. An
// input that does not begin like an archive is the pickle in an archive with one storage.
#include <cstdint>

#include "base/error.h"
#include "weights/torch_file.h"

namespace {

void append_number(std::string& text, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
}

uint32_t crc_of(const std::string& data) {
  uint32_t crc = 0xffffffff;
  for (const char c : data) {
    crc ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

std::string archive_with(const std::string& pickle) {
  std::string bytes, directory;
  int entries = 0;
  const auto add = [&](const std::string& name, const std::string& data) {
    std::string common;  // from the flags to the length of the extra fields
    append_number(common, 0, 8);
    append_number(common, crc_of(data), 4);
    append_number(common, data.size(), 4);
    append_number(common, data.size(), 4);
    append_number(common, name.size(), 2);
    append_number(common, 0, 2);
    append_number(directory, 0x02014b50, 4);
    append_number(directory, 0, 4);
    directory += common;
    append_number(directory, 0, 8);
    append_number(directory, 0, 2);
    append_number(directory, bytes.size(), 4);
    directory += name;
    append_number(bytes, 0x04034b50, 4);
    append_number(bytes, 0, 2);
    bytes += common + name + data;
    ++entries;
  };
  add("m/data.pkl", pickle);
  add("m/data/0", std::string(64, 'x'));
  const size_t begin = bytes.size(), size = directory.size();
  bytes += directory;
  append_number(bytes, 0x06054b50, 4);
  append_number(bytes, 0, 4);
  append_number(bytes, static_cast<uint64_t>(entries), 2);
  append_number(bytes, static_cast<uint64_t>(entries), 2);
  append_number(bytes, size, 4);
  append_number(bytes, begin, 4);
  append_number(bytes, 0, 2);
  return bytes;
}

// Reads every tensor of floating point from end to end.
void read_all(const llm::SourceTensor& tensor) {
  LLM_ASSERT(tensor.shape.size() == tensor.strides.size());
  const bool readable = tensor.shape.size() == 1 || tensor.shape.size() == 2;
  if (!readable || !llm::is_floating(tensor.dtype)) return;
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  const llm::MatrixView view = llm::matrix_of(tensor, false);
  llm::read_block(values, view, 0, view.rows, 0, view.columns);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (!bytes.starts_with("PK")) bytes = archive_with(bytes);
  try {
    for (const llm::SourceTensor& tensor : llm::parse_torch_file(llm::as_bytes(bytes), "input")) {
      read_all(tensor);
    }
  } catch (const llm::Error&) {
  }
  return 0;
}
