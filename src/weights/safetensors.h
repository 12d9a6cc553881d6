// The safetensors format: u64 header length, a JSON header, then the data of all tensors without
// gap.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "backend/dtype.h"
#include "base/file.h"
#include "base/json.h"
#include "weights/tensor_source.h"

namespace llm {

struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  int64_t begin = 0, end = 0;  // bytes, relative to the data section

  int64_t elements() const;
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in the order of their data
  std::map<std::string, size_t> by_name;
  std::map<std::string, std::string> metadata;
  int64_t data_begin = 0;  // offset of the data section in the file
};

// Validates all of a file's bytes but the values: header at most 100,000,000 bytes and starting
// with '{', no duplicate or unknown keys, known dtypes, sizes that match shapes without overflow,
// tensors that cover the data section without hole or overlap, file size exact. Throws Error{input}
// naming `where` and the tensor. Takes memory in proportion to the header that is really there.
SafetensorsHeader parse_safetensors(Bytes bytes, const std::string& where);

// A mapped file, fully validated on opening by parse_safetensors().
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const fs::path& path);

  std::span<const TensorInfo> tensors() const { return header_.tensors; }
  const TensorInfo* find(const std::string& name) const;  // null if there is none
  Bytes bytes(const TensorInfo& tensor) const;
  // The values from element `begin` on as float32 (from f32, bf16 or f16), as many as `into` has.
  // Throws Error{input} for other types. What was read no longer counts as memory of the process.
  void read_f32(const TensorInfo& tensor, std::span<float> into, int64_t begin = 0) const;
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const fs::path& path() const { return file_.path(); }

 private:
  MappedFile file_;
  SafetensorsHeader header_;
};

std::vector<SourceTensor> tensors_of(const SafetensorsHeader& header, Bytes bytes,
                                     const std::string& where);
// The tensors of a file as parse_safetensors() accepts it.
TensorSource open_safetensors(const fs::path& path);
// The same for a model in several files, shards, which an index file (model.safetensors.index.json)
// tells: its "weight_map" names for each tensor the file beside it. Throws Error{input} if a shard
// lies elsewhere, is missing or damaged, or if index and shards do not have the same tensors.
TensorSource open_sharded_safetensors(const fs::path& index);

// The names of such files in a model folder.
inline constexpr const char* kWeightsFile = "model.safetensors";
inline constexpr const char* kIndexFile = "model.safetensors.index.json";

// An index: for each shard, in order, the tensors it should have.
using ShardIndex = std::map<std::string, std::vector<std::string>>;
// Throws Error{input} with `where`.
ShardIndex parse_shard_index(std::string_view text, const std::string& where);

// Writes a file tensor by tensor, without holding all of them in memory. The bytes depend on names,
// shapes and values only.
class SafetensorsWriter {
 public:
  // `tensors` in the order of writing; begin and end are computed.
  SafetensorsWriter(const fs::path& path, const std::vector<TensorInfo>& tensors,
                    const std::map<std::string, std::string>& metadata = {{"format", "pt"}});
  // The next tensor's data, in one or several pieces.
  void write(Bytes bytes);
  // Asserts that all data came; syncs and closes.
  void finish();

 private:
  FileWriter file_;
  int64_t expected_ = 0, written_ = 0;
};

}  // namespace llm
