#include "weights/safetensors.h"

#include "base/byte_reader.h"
#include "base/error.h"

namespace llm {
namespace {

const char* type_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::bf16:
      return "BF16";
    case DType::f16:
      return "F16";
    case DType::i32:
      return "I32";
    case DType::i64:
      return "I64";
    case DType::u8:
      return "U8";
  }
  return "";
}

constexpr const char* kDamaged = "damaged: copy or download the file again";

}  // namespace

SafetensorsFile::SafetensorsFile(const fs::path& path)
    : file_(path),
      header_(
          with_hint(kDamaged, [&] { return parse_safetensors(file_.bytes(), path.string()); })) {}

const TensorInfo* SafetensorsFile::find(const std::string& name) const {
  const auto found = header_.by_name.find(name);
  return found == header_.by_name.end() ? nullptr : &header_.tensors[found->second];
}

Bytes SafetensorsFile::bytes(const TensorInfo& tensor) const {
  return file_.bytes().subspan(static_cast<size_t>(header_.data_begin + tensor.begin),
                               static_cast<size_t>(tensor.end - tensor.begin));
}

void SafetensorsFile::read_f32(const TensorInfo& tensor, std::span<float> into,
                               int64_t begin) const {
  LLM_ASSERT(begin >= 0 && static_cast<int64_t>(into.size()) <= tensor.elements() - begin);
  if (!is_floating(tensor.dtype)) {
    fail_input(path().string(), fmt::format("tensor \"{}\": {} values where floating point belongs",
                                            tensor.name, dtype_name(tensor.dtype)));
  }
  if (into.empty()) return;
  const auto size = static_cast<size_t>(dtype_bytes(tensor.dtype));
  const Bytes from = bytes(tensor).subspan(static_cast<size_t>(begin) * size, into.size() * size);
  const auto count = static_cast<int64_t>(into.size());
  read_block(into, {from.data(), tensor.dtype, 1, count, count, 1}, 0, 1, 0, count);
  file_.release(from);
}

std::vector<SourceTensor> tensors_of(const SafetensorsHeader& header, Bytes bytes,
                                     const std::string& where) {
  std::vector<SourceTensor> tensors;
  tensors.reserve(header.tensors.size());
  for (const TensorInfo& info : header.tensors) {
    const Bytes data = bytes.subspan(static_cast<size_t>(header.data_begin + info.begin),
                                     static_cast<size_t>(info.end - info.begin));
    tensors.push_back(
        {info.name, where, info.dtype, info.shape, contiguous_strides(info.shape), data});
  }
  return tensors;
}

TensorSource open_safetensors(const fs::path& path) {
  const std::string where = path.string();
  std::vector<MappedFile> files;
  files.emplace_back(path);
  const Bytes bytes = files.front().bytes();
  auto tensors = with_hint(
      kDamaged, [&] { return tensors_of(parse_safetensors(bytes, where), bytes, where); });
  return TensorSource(where, std::move(files), std::move(tensors));
}

SafetensorsWriter::SafetensorsWriter(const fs::path& path, const std::vector<TensorInfo>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  Json header;
  for (const auto& [key, value] : metadata) header["__metadata__"][key] = value;
  std::string text = header.is_null() ? "{" : header.dump();
  if (text.size() > 1) text.pop_back();  // entries follow
  for (const TensorInfo& tensor : tensors) {
    std::optional<int64_t> bytes = dtype_bytes(tensor.dtype);
    for (int64_t size : tensor.shape) {
      bytes = checked_multiply(*bytes, size);
      LLM_ASSERT(size >= 0 && bytes, "shape of {}", tensor.name);
    }
    Json entry;
    entry["dtype"] = type_name(tensor.dtype);
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {expected_, expected_ + *bytes};
    expected_ += *bytes;
    if (text.size() > 1) text += ',';
    text += Json(tensor.name).dump() + ':' + entry.dump();
  }
  text += '}';
  text.append((8 - text.size() % 8) % 8, ' ');  // the data begins at a multiple of 8 bytes
  const uint64_t length = text.size();
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(text);
}

void SafetensorsWriter::write(Bytes bytes) {
  written_ += static_cast<int64_t>(bytes.size());
  LLM_ASSERT(written_ <= expected_, "{} of {} bytes", written_, expected_);
  file_.write(bytes);
}

void SafetensorsWriter::finish() {
  LLM_ASSERT(written_ == expected_, "{} of {} bytes", written_, expected_);
  file_.sync();
  file_.close();
}

}  // namespace llm
